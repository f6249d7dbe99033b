"""
What a document of another autoscaler says about one workload, in our words.

Sources: autoscaling/v1 and v2 HorizontalPodAutoscaler; autoscaling.k8s.io/v1
VerticalPodAutoscaler (and its updater, version 1.8); autoscaling.gke.io/v1beta1
MultidimPodAutoscaler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from autoscaler.kube.convert_fields import Fields, Note, Source, given

_V2_IN_V1 = "autoscaling.alpha.kubernetes.io/"
_VPA_MODES = {
    "Off": ("Recommend", None),
    "Initial": ("Initial", None),
    "Recreate": ("Auto", "Recreate"),
    "Auto": ("Auto", "Recreate"),
    "InPlaceOrRecreate": ("Auto", "InPlaceOrRecreate"),
    "InPlace": ("Auto", "InPlace"),
}
"""`Auto` is a deprecated name of Recreate."""
_LIMITS = {"RequestsAndLimits": "KeepRatio", "RequestsOnly": "RequestsOnly"}
_RESOURCES = ("cpu", "memory")


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """What takes the place of a part's own under an engine that is not its own, and what that loses."""

    bounds: dict[str, Any]
    policy: dict[str, Any]
    notes: tuple[Note, ...] = ()


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """
    Parts of an mpa's spec. `horizontal` and `vertical` tell which sides it decides on.

    `target` is a scaleTargetRef, `mode` an updateMode, `params` are those of `engine`.
    """

    source: Source
    target: dict[str, str]
    horizontal: bool = False
    vertical: bool = False
    engine: str
    mode: str = "Auto"
    goals: dict[str, Any] = {}
    bounds: dict[str, Any] = {}
    constraints: dict[str, Any] = {}
    policy: dict[str, Any] = {}
    params: dict[str, Any] = {}
    elsewhere: Elsewhere | None = None

    @property
    def workload(self) -> tuple[str, str, str]:
        """Namespace, kind and name of the workload."""
        return self.source.namespace, self.target["kind"], self.target["name"]


def part_of_hpa(source: Source, spec: Fields, metadata: Fields) -> Part:
    """Read a HorizontalPodAutoscaler of any version but v2beta1."""
    target = target_of(spec, "scaleTargetRef")
    metrics = spec.take("metrics") or []
    if source.version == "autoscaling/v1":
        percent = spec.count("targetCPUUtilizationPercentage")
        metrics = [_utilization("cpu", percent)] if percent else []
        for name in metadata.part("annotations").names(_V2_IN_V1):
            if name.removeprefix(_V2_IN_V1) in ("metrics", "behavior"):
                metadata.note(f"annotations[{name}]", "v1 cannot say it: give the object as autoscaling/v2")
    if not metrics:
        # What the API server fills in (pkg/apis/autoscaling/v2/defaults.go).
        metrics = [_utilization("cpu", 80)]
    low = spec.count("minReplicas")
    bounds = {"minReplicas": 1 if low is None else low, **given(maxReplicas=spec.count("maxReplicas"))}
    behavior = spec.take("behavior")
    spec.left()
    return Part(
        source=source,
        target=target,
        horizontal=True,
        engine="hpa",
        goals={"metrics": metrics},
        bounds=bounds,
        policy=given(behavior=behavior),
    )


def part_of_vpa(source: Source, spec: Fields) -> Part:
    """Read a VerticalPodAutoscaler."""
    target = target_of(spec, "targetRef")
    update = spec.part("updatePolicy")
    word = update.text("updateMode", "Recreate")
    if word not in _VPA_MODES:
        update.note("updateMode", f"{word} is not known: taken as Off")
    mode, resize = _VPA_MODES.get(word, _VPA_MODES["Off"])
    if (update.count("minReplicas") or 2) != 2:
        update.note("minReplicas", "pods are moved as the disruption budget of the ScalingPolicy allows")
    update.lose("evictionRequirements", "pods may be evicted in either direction")
    update.left()
    _note_recommenders(spec)
    constraints = _containers(spec.part("resourcePolicy"))
    spec.left()
    return Part(
        source=source,
        target=target,
        vertical=True,
        engine="vpa",
        mode=mode,
        constraints=constraints,
        policy=given(resize=resize),
    )


def part_of_gke(source: Source, spec: Fields) -> Part:
    """Read GKE's MultidimPodAutoscaler: its words are ours."""
    target = target_of(spec, "scaleTargetRef")
    policy = spec.part("policy")
    limits = spec.part("constraints")
    bounds = limits.mapping("global")
    constraints = limits.others()
    mode = policy.text("updateMode", "Auto")
    policy.left()
    goals = spec.take("goals") or {}
    spec.left()
    return Part(
        source=source,
        target=target,
        horizontal=True,
        vertical=True,
        engine="mpa",
        mode=mode,
        goals=goals,
        bounds=bounds,
        constraints=constraints,
    )


def target_of(spec: Fields, name: str, *, unused: Sequence[str] = ()) -> dict[str, str]:
    """Return a reference to a workload; without a kind it is a Deployment. Fields in *unused* mean nothing to us."""
    target = spec.part(name)
    target.ignore(unused)
    found = {
        "apiVersion": target.text("apiVersion", "apps/v1"),
        "kind": target.text("kind", "Deployment"),
        "name": target.text("name"),
    }
    target.left()
    return found


def _utilization(resource: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}


def _note_recommenders(spec: Fields) -> None:
    for recommender in spec.parts("recommenders"):
        name = recommender.text("name")
        if name != "default":
            recommender.note("name", f"{name} is not asked: the engine decides")


def _containers(resources: Fields) -> dict[str, Any]:
    """Return `container` and `containerControlledResources` of a VPA's resource policy."""
    containers: list[dict[str, Any]] = []
    controlled: list[tuple[Fields, list[str]]] = []
    for rule in resources.parts("containerPolicies"):
        name, mode = rule.text("containerName", "*"), rule.text("mode", "Auto")
        bounds = given(minAllowed=rule.take("minAllowed"), maxAllowed=rule.take("maxAllowed"))
        limits = _LIMITS.get(rule.text("controlledValues", "RequestsAndLimits"), "KeepRatio")
        own = rule.words("controlledResources")
        if mode != "Off":
            controlled.append((rule, list(_RESOURCES if own is None else own)))
        containers.append({"name": name, **given(requests=bounds), "limits": limits, "mode": mode})
        rule.left()
    if not any(each["name"] == "*" for each in containers):
        containers.append({"name": "*", "limits": "KeepRatio"})
        controlled.append((resources, list(_RESOURCES)))
    resources.left()
    together = [name for name in _RESOURCES if any(name in names for _, names in controlled)]
    for rule, names in controlled:
        if sorted(names) != sorted(together):
            shown = " and ".join(names) or "nothing"
            rule.note("", f"it controls {shown}: one list holds for all containers, {' and '.join(together)}")
    return {"containerControlledResources": together, "container": containers}
