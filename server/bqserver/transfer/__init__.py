"""Copies and compares histories between a SQLite file and a NATS stream."""
