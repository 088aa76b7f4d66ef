"""How far members have read."""
