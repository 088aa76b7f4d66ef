"""Who is asking, and what may they do; knows no HTTP and no hub."""
