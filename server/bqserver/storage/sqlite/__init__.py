"""The default engine: one SQLite file with one writer thread."""
