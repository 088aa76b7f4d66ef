"""The HTML pages: the list of rooms, and a room."""
