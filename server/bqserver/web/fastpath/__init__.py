"""The HTTP server: it accepts connections, and serves plain POSTs without Tornado's handlers."""
