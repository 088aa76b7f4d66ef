"""What the nodes of a cluster share in addition to the log: members, live messages, rate limits, invites and revoked tokens."""
