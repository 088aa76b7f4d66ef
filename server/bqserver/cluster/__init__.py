"""What the nodes of a cluster share besides the log: members, rate limits, invites and revoked tokens."""
