"""The verbs of a room: sending, receiving, questions, history, progress and live outputs."""
