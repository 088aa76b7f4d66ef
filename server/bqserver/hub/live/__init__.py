"""Messages that grow while their author writes them: what members are sent meanwhile, and what the log gets."""
