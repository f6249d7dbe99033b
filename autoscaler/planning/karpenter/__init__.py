"""Karpenter's decisions on nodes as an engine of this planner: scheduling simulation, claims, instance types."""
