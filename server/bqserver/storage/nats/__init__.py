"""The distributed engine: rooms in one JetStream stream, served by every node from a local replica."""
