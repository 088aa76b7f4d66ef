"""Configuration shared by the command and the Jupyter extension."""
