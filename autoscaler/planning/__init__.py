"""What to change. Pure."""
