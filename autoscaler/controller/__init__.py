"""Observe, decide, actuate."""
