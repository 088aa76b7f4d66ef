"""The HTTP routes: requests are checked, turned into calls of the hub, and answered as JSON."""
