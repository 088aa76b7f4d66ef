"""The server as a Jupyter Server extension and as a JupyterHub service."""
