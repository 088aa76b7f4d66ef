"""Callbacks of a room: what is registered, what replaces what, and which Room of a member calls them."""
