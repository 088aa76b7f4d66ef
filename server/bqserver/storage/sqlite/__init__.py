"""The default engine: one SQLite file and one writer thread."""
