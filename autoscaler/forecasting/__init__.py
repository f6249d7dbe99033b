"""Fits models off the decision loop and hands them over as values."""
