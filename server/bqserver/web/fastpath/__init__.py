"""Plain POSTs, served before Tornado's handlers."""
