"""Live messages that this member writes: by hand, or as the result of a handler."""
