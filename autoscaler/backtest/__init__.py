"""Scenarios, baselines and the frontier between cost and service."""
