"""Builders, contracts and strategies for plug-in authors."""
