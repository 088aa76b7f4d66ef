"""The parts of NATS JetStream that the server uses; knows no chat."""
