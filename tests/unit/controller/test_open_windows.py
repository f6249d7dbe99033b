"""Calendars are read at the edge: which schedules are open when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from autoscaler.controller.open_windows import open_windows
from autoscaler.planning.windows import window_key
from autoscaler.policy_files import parse_policies

SALE = """
apiVersion: podnode.io/v1alpha1
kind: MultidimPodAutoscaler
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  policy:
    schedules:
    - {name: sale, schedule: "0 8 27 11 *", timeZone: Europe/Berlin, duration: 12h, minReplicas: 20}
"""


@pytest.mark.parametrize(
    ("when", "is_open"),
    [
        pytest.param(datetime(2026, 11, 27, 6, 59, tzinfo=UTC), False, id="a-minute-before-eight-in-berlin"),
        pytest.param(datetime(2026, 11, 27, 7, 0, tzinfo=UTC), True, id="eight-in-berlin"),
        pytest.param(datetime(2026, 11, 27, 18, 59, tzinfo=UTC), True, id="in-the-last-minute"),
        pytest.param(datetime(2026, 11, 27, 19, 0, tzinfo=UTC), False, id="after-twelve-hours"),
        pytest.param(datetime(2026, 11, 28, 7, 0, tzinfo=UTC), False, id="another-day"),
    ],
)
def test_a_schedule_is_open_for_its_duration(when: datetime, is_open: bool) -> None:
    """The schedule's own time zone counts, not the machine's."""
    policies = parse_policies(SALE, "sale.yaml")
    key = window_key(("0 8 27 11 *", "Europe/Berlin", 43200.0))
    assert (key in open_windows(policies, when.timestamp())) is is_open
