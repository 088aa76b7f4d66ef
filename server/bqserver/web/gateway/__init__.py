"""Requests that a gateway, such as Jupyter's extension, has authenticated and forwards."""
