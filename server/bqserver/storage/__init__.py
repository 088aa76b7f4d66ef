"""The log of entries and the attachments: the interface and its engines."""
