"""Live messages: those that members read while they grow, and those that this member writes."""
