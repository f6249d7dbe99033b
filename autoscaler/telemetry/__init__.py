"""Records, metrics and logs."""
