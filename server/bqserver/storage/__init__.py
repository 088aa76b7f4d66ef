"""The message log and its attachments: interfaces, and the in-memory, SQLite and NATS engines."""
