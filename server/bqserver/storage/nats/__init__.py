"""The distributed engine: rooms in one JetStream stream; every node serves them from a local replica."""
