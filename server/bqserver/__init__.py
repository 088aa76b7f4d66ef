"""The bqwidget server: chat rooms over REST and WebSocket, on Tornado, with a durable log."""
