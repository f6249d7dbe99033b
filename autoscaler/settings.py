"""What `autoscaler run` can be told: flags and environment variables, as one value."""
