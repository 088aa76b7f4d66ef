"""Copies a history from one engine to another."""
