"""A development cluster of real components on loopback: see docs/how-to/development-cluster.md."""
