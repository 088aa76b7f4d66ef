"""The bqserver command line."""
