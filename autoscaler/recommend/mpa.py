"""
HPA and VPA on one workload, each on its own resources, so that they do not fight.

`mpa` has the semantics of GKE's autoscaling.gke.io/v1beta1
MultidimPodAutoscaler: replicas by CPU, requests by memory only. `hpa+vpa` takes
all metrics of the spec for replicas and sizes what none of them scales on. The
vertical side decides first (AEP-5342), yet both see the same observation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from autoscaler.interfaces import WorkloadView
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import Series, Signal, SignalKind
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import CPU, MEMORY, NOTHING, Resources
from autoscaler.model.workload import Workload
from autoscaler.recommend.hpa import HpaMemory, HpaParams, HpaRecommender
from autoscaler.recommend.hpa_metrics import metrics_of
from autoscaler.recommend.usage_history import VpaMemory
from autoscaler.recommend.vertical import VpaParams
from autoscaler.recommend.vpa import VpaRecommender

_HORIZONTAL = HpaRecommender()
_VERTICAL = VpaRecommender()


class MpaParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of both sides."""

    hpa: HpaParams = HpaParams()
    vpa: VpaParams = VpaParams()


class MpaMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The memories of both sides."""

    hpa: HpaMemory = HpaMemory()
    vpa: VpaMemory = VpaMemory()


class HpaVpaRecommender:
    """
    Replicas by the spec's metrics, requests of the resources that no metric scales on.

    Without `containerControlledResources` that is memory alone.
    """

    name: ClassVar[str] = "hpa+vpa"
    Params: ClassVar[type[msgspec.Struct]] = MpaParams
    Memory: ClassVar[type[msgspec.Struct]] = MpaMemory

    def horizontal_spec(self, spec: MpaSpec) -> MpaSpec:
        """Return the spec that the horizontal side sees."""
        return spec

    def vertical_spec(self, spec: MpaSpec) -> MpaSpec:
        """Return the spec that the vertical side sees."""
        named = spec.constraints.container_controlled_resources
        scaled_on = scaling_resources(self.horizontal_spec(spec))
        return _controlling(spec, [name for name in ((MEMORY,) if named is None else named) if name not in scaled_on])

    def signals(self, workload: Workload, spec: MpaSpec, params: MpaParams) -> Sequence[Signal]:
        vertical = _VERTICAL.signals(workload, self.vertical_spec(spec), params.vpa)
        horizontal = _HORIZONTAL.signals(workload, self.horizontal_spec(spec), params.hpa)
        return tuple(dict.fromkeys((*vertical, *horizontal)))

    def seed(self, history: Mapping[str, Mapping[SignalKind, Series]], params: MpaParams) -> MpaMemory:
        """Return memories of which the vertical side knows what one pod used before, by container."""
        return MpaMemory(vpa=_VERTICAL.seed(history, params.vpa))

    def recommend(self, view: WorkloadView, params: MpaParams, memory: MpaMemory) -> tuple[Recommendation, MpaMemory]:
        """
        Return what both sides say, the vertical reasons and conditions first.

        Where only the vertical side misses something, it just shrinks nothing;
        replicas do not wait for it.

        Raises:
            ValueError: the memory is damaged.
        """
        sizes, vpa = _VERTICAL.recommend(replace(view, spec=self.vertical_spec(view.spec)), params.vpa, memory.vpa)
        scale, hpa = _HORIZONTAL.recommend(replace(view, spec=self.horizontal_spec(view.spec)), params.hpa, memory.hpa)
        both = replace(
            scale,
            engine=self.name,
            containers=not_smaller(sizes.containers, view) if sizes.held else sizes.containers,
            urgent=sizes.urgent or scale.urgent,
            reasons=sizes.reasons + scale.reasons,
            conditions=sizes.conditions + scale.conditions,
        )
        return both, MpaMemory(hpa=hpa, vpa=vpa)


class MpaRecommender(HpaVpaRecommender):
    """
    GKE's MultidimPodAutoscaler: replicas by CPU only, requests by memory only.

    Metrics on anything but CPU do not count; without one, CPU use is held at
    the HPA's default of 80 % of the requests.
    """

    name: ClassVar[str] = "mpa"

    def horizontal_spec(self, spec: MpaSpec) -> MpaSpec:
        kept = tuple(metric for metric in spec.goals.metrics if metric.resource and metric.resource.name == CPU)
        return replace(spec, goals=replace(spec.goals, metrics=kept, formula=""))

    def vertical_spec(self, spec: MpaSpec) -> MpaSpec:
        return _controlling(spec, [MEMORY])


def scaling_resources(spec: MpaSpec) -> frozenset[str]:
    """Return the resources (cpu, memory) that a metric of the spec, or the default metric, scales on."""
    resources = (metric.resource or metric.container_resource for metric in metrics_of(spec))
    return frozenset(resource.name for resource in resources if resource is not None)


def not_smaller(sizes: Sequence[ContainerSize], view: WorkloadView) -> tuple[ContainerSize, ...]:
    """Return *sizes* without the resources of which the template or a pod now asks for more."""
    shapes = [view.workload.template, *(pod.shape for pod in view.pods if pod.is_active)]
    asked: dict[str, Resources] = {}
    for shape in dict.fromkeys(shapes):
        for container in shape.containers:
            asked[container.name] = asked.get(container.name, NOTHING).largest(container.requests)
    kept = []
    for size in sizes:
        most = asked.get(size.container, NOTHING)
        names = [name for name, target in size.target.items() if target >= most.get(name)]
        if names:
            kept.append(
                replace(
                    size,
                    target=size.target.only(names),
                    lower=size.lower.only(names),
                    upper=size.upper.only(names),
                    uncapped=size.uncapped.only(names),
                )
            )
    return tuple(kept)


def _controlling(spec: MpaSpec, names: Sequence[str]) -> MpaSpec:
    constraints = replace(spec.constraints, container_controlled_resources=tuple(names))
    return replace(spec, constraints=constraints)
