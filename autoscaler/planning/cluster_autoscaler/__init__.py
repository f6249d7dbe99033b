"""Cluster Autoscaler as an engine of this core: its rules, its names, its defaults (1.36)."""
