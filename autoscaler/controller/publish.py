"""Tells the cluster's users what was decided: statuses and events."""

from __future__ import annotations

from autoscaler.controller.gate import Gate
from autoscaler.controller.in_force import PoliciesInForce
from autoscaler.controller.loop import Cycle
from autoscaler.interfaces import Clock
from autoscaler.kube.client import ApiServer
from autoscaler.telemetry.metrics import Metrics


class Publisher:
    def __init__(
        self, api: ApiServer, clock: Clock, *, policies: PoliciesInForce, gate: Gate, metrics: Metrics
    ) -> None:
        self._api = api

    async def publish(self, cycle: Cycle) -> None:
        """Publish."""
