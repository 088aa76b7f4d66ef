"""What is unread in a room, and marking it as read."""
