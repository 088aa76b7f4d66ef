"""Commands such as ``/mean 3 4 8``, which people write to a room and code answers; and mentions. Pure except for verbs."""
