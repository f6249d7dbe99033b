"""What one workload should have. Pure."""
