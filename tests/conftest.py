"""
Settings for all tests, and the fixtures that folders of tests share.

Property tests give the same examples every time, and no deadline measures the machine.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.cluster.fixtures import cluster, development_cluster, namespace

__all__ = ["cluster", "development_cluster", "namespace"]

settings.register_profile(
    "steady", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")
