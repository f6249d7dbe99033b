"""A decision with all that went into it."""

from __future__ import annotations

import msgspec

from autoscaler.model.plan import Decision
from autoscaler.model.policy import Policies
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """
    A decision with all that went into it: debug dump, golden vector and
    benchmark input at once. Replaying it gives the same bytes.
    """

    version: int
    snapshot: ClusterSnapshot
    policies: Policies
    state: DecisionState
    decision: Decision
    digest: str = ""
