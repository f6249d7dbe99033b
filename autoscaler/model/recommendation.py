"""What one workload should have, with the room in which it is right."""

from __future__ import annotations

import msgspec

from autoscaler.model.reasons import Reason
from autoscaler.model.resources import NOTHING, Resources


class ContainerSize(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Requests of one container: act when the present ones are outside
    `lower`..`upper`. Only controlled resources are named. `limits` is what
    goes with the target; None leaves limits alone.
    """

    container: str
    target: Resources
    lower: Resources = NOTHING
    upper: Resources = NOTHING
    uncapped: Resources = NOTHING
    limits: Resources | None = None


class Condition(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A status condition, in the words of the Kubernetes API."""

    type: str
    status: str
    reason: str
    message: str = ""


class Recommendation(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    Replicas and sizes for one workload.

    `replicas` None means: no opinion, hold. `containers` empty means the same
    for sizes. `forecast_replicas` is how many it should need by the time a new
    node is ready, `headroom_replicas` how many it may need if the forecast errs
    (both at least `replicas`, or 0 for no opinion); the planner keeps room.
    `held` tells that something was missing: nothing may shrink because of it.
    `urgent` tells that new pods need the sizes at once: a container was killed.
    """

    workload: str
    engine: str
    replicas: int | None = None
    lower_replicas: int | None = None
    upper_replicas: int | None = None
    forecast_replicas: int = 0
    headroom_replicas: int = 0
    containers: tuple[ContainerSize, ...] = ()
    urgent: bool = False
    held: bool = False
    reasons: tuple[Reason, ...] = ()
    conditions: tuple[Condition, ...] = ()
