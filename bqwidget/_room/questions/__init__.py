"""Questions and polls: a running cell asks, and members answer from a window, from the page, or from Python."""
