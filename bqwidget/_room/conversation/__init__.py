"""A room's messages as the messages of a language model's API."""
