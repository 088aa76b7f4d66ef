"""The bqwidget server: rooms over REST and WebSocket, on Tornado, with a durable log."""
