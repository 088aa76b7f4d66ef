"""How members share what a server has: memory, threads and time. Knows no room and no route."""
