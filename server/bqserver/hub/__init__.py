"""Rooms, peers, fan-out, presence and catch-up of one process."""
