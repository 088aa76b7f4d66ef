"""One room's connection to its server: the outbox, the message list, HTTP and the WebSocket."""
