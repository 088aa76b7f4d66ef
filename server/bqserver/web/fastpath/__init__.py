"""The fast path: plain POSTs are served without Tornado's handlers."""
