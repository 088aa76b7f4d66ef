"""What the nodes of a cluster tell each other in addition to the log."""
