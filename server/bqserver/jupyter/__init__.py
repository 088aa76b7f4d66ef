"""The server inside Jupyter Server and as a JupyterHub service."""
