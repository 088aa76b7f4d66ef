"""Authentication and authorization. Independent of HTTP and of the hub."""
