"""The ``bqserver`` command line."""
