"""
The VPA of Kubernetes autoscaler 1.8: sizes by percentiles of use; replicas are left alone.

Sources: vertical-pod-autoscaler `pkg/recommender/logic` and `pkg/utils/vpa`;
see `vertical`, `capping` and `limits` for the rules. On purpose unlike the
peer: a resource that was never measured gets no size (the peer would shrink it
to the pod minimum), and no size is larger than the largest node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from autoscaler.interfaces import WorkloadView
from autoscaler.model.bounds import amounts_of, container_rule, request_bounds
from autoscaler.model.pod import Container, Pod, Termination
from autoscaler.model.policy import Limits, MpaSpec
from autoscaler.model.readings import PodSamples, Series, Signal, SignalKind
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import Condition, ContainerSize, Recommendation
from autoscaler.model.resources import CPU, MEMORY, Resources, format_amount
from autoscaler.model.workload import Workload
from autoscaler.recommend.capping import SizeBounds, fit_to_pod, fit_to_total
from autoscaler.recommend.limits import SIZED, limits_for
from autoscaler.recommend.updater import has_quick_oom
from autoscaler.recommend.usage_history import UsageHistory, VpaMemory, is_due, seed_from_history
from autoscaler.recommend.vertical import ContainerHistory, VpaParams, estimate

_SIGNALS = {CPU: SignalKind.POD_CPU, MEMORY: SignalKind.POD_MEMORY}
_OFF = "Off"


class VpaRecommender:
    """Recommends requests as the VerticalPodAutoscaler would; `updater` tells which pods to act on."""

    name: ClassVar[str] = "vpa"
    Params: ClassVar[type[msgspec.Struct]] = VpaParams
    Memory: ClassVar[type[msgspec.Struct]] = VpaMemory

    def signals(self, workload: Workload, spec: MpaSpec, params: VpaParams) -> Sequence[Signal]:
        """Return CPU and memory of all pods: how sure memory bounds are follows from CPU samples."""
        return tuple(Signal(workload.key, kind) for kind in _SIGNALS.values())

    def seed(self, history: Mapping[str, Mapping[SignalKind, Series]], params: VpaParams) -> VpaMemory:
        """Return a memory of what one pod used before, by container; raises ValueError as `seed_from_history`."""
        return seed_from_history(history, params)

    def recommend(self, view: WorkloadView, params: VpaParams, memory: VpaMemory) -> tuple[Recommendation, VpaMemory]:
        """
        Take in this cycle's samples and return the sizes that follow from all of them.

        Raises:
            ValueError: the memory is damaged.
        """
        controlled = controlled_resources(view.spec)
        kills: list[tuple[Pod, Termination]] = []
        too_short: list[Reason] = []
        estimated: Sequence[ContainerSize] = memory.estimates
        if not self._stands(view, params, memory, controlled):
            containers = sized_containers(view)
            history = UsageHistory(memory, params, view.pods, containers=[one.name for one in containers])
            kills = history.note_kills(view.now)
            readings = [view.readings.get(Signal(view.workload.key, kind)) for kind in _SIGNALS.values()]
            history.feed(readings[0], readings[1], now=view.now, period=view.period)
            estimated, too_short = _estimates(containers, history, controlled, params)
            fed = history.freeze(view.now)
            memory = memory if fed is memory else replace(fed, estimates=tuple(estimated))
        sizes, capped = fit_sizes(estimated, view)
        missing = _missing(view, controlled)
        reasons = (
            *missing,
            *too_short,
            *(_why(size, view.workload, kills) for size in sizes),
            *capped,
        )
        return (
            Recommendation(
                workload=view.workload.key,
                engine=self.name,
                containers=sizes,
                urgent=MEMORY in controlled and _is_urgent(view, sizes),
                held=bool(missing or too_short),
                reasons=reasons or (Reason(Code.UNCHANGED, "no resource of any container is controlled"),),
                conditions=(_condition(provided=bool(sizes)),),
            ),
            memory,
        )

    def _stands(self, view: WorkloadView, params: VpaParams, memory: VpaMemory, controlled: Sequence[str]) -> bool:
        """Tell whether nothing can have changed since the last estimates: no sample is due, nothing was killed."""
        names = tuple(sorted(controlled))
        return (
            bool(memory.estimates)
            and not is_due(memory, params, now=view.now, period=view.period)
            and [size.container for size in memory.estimates] == [one.name for one in sized_containers(view)]
            and all(size.target.names() == names for size in memory.estimates)
            and not any(pod.terminations for pod in view.pods)
        )


def controlled_resources(spec: MpaSpec) -> tuple[str, ...]:
    """Return which of cpu and memory are sized; both where the spec does not say."""
    named = spec.constraints.container_controlled_resources
    return SIZED if named is None else tuple(name for name in SIZED if name in named)


def sized_containers(view: WorkloadView) -> list[Container]:
    """Return the containers of the template that are not switched off."""
    return [
        one for one in view.workload.template.containers if container_rule(view.spec.constraints, one.name).mode != _OFF
    ]


def _estimates(
    containers: Sequence[Container], history: UsageHistory, controlled: Sequence[str], params: VpaParams
) -> tuple[list[ContainerSize], list[Reason]]:
    sizes: list[ContainerSize] = []
    too_short: list[Reason] = []
    for container in containers:
        own = history.of(container.name)
        known = [name for name in controlled if own is not None and not _is_empty(own, name)]
        unknown = [name for name in controlled if name not in known]
        if unknown:
            names = " and ".join(unknown)
            too_short.append(Reason(Code.HISTORY_TOO_SHORT, f"container {container.name}: no {names} was measured yet"))
        if own is not None and known:
            sizes.append(_estimated(container.name, own, known, params, containers=len(containers)))
    return sizes, too_short


def _estimated(
    container: str, history: ContainerHistory, names: Sequence[str], params: VpaParams, *, containers: int
) -> ContainerSize:
    found = estimate(history, params, containers=containers)
    steps = {CPU: params.round_cpu_millicores, MEMORY: params.round_memory_bytes}
    target, lower, upper = (
        Resources(tuple((name, -(-amounts.get(name) // steps[name]) * steps[name]) for name in names))
        for amounts in (found.target, found.lower, found.upper)
    )
    return ContainerSize(container=container, target=target, lower=lower, upper=upper, uncapped=target)


def _is_empty(history: ContainerHistory, name: str) -> bool:
    return history.cpu.is_empty if name == CPU else history.memory.is_empty


def fit_sizes(sizes: Sequence[ContainerSize], view: WorkloadView) -> tuple[tuple[ContainerSize, ...], list[Reason]]:
    """Fit to the policy, to limits that stay, to the pod's bounds and to the largest node, in this order."""
    template = view.workload.template.containers
    by_name = {container.name: container for container in template}
    fitted = fit_to_pod(sizes, template, [_bounds(view.spec, size.container) for size in sizes])
    reasons = [
        Reason(Code.CAPPED_BY_POLICY, f"container {name}: {note}") for name, notes in fitted.notes for note in notes
    ]
    pod = view.spec.constraints.pod.requests if view.spec.constraints.pod is not None else None
    if pod is not None:
        most, least = (_left(view, fitted.sizes, amounts_of(side)) for side in (pod.max_allowed, pod.min_allowed))
        within = fit_to_total(fitted.sizes, most, least=least)
        reasons += _changes(fitted.sizes, within, Code.CAPPED_BY_POLICY, "by the bounds of the pod")
    else:
        within = fitted.sizes
    held = fit_to_total(within, _left(view, within, view.largest_node))
    reasons += _changes(within, held, Code.CAPPED_BY_NODE, "which is what the largest node can hold")
    return tuple(_with_limits(size, by_name[size.container], view.spec) for size in held), reasons


def _left(view: WorkloadView, sizes: Sequence[ContainerSize], total: Resources) -> Resources:
    """Return what of *total* is left by the requests that are not sized; amounts of 0 are no bounds and left out."""
    sized = {(size.container, name) for size in sizes for name in size.target.names()}
    taken = {
        name: sum(
            container.requests.get(name)
            for container in view.workload.template.containers
            if (container.name, name) not in sized
        )
        for name in SIZED
    }
    return Resources.of({name: max(0, total.get(name) - taken[name]) for name in SIZED if total.get(name) > 0})


def _changes(before: Sequence[ContainerSize], after: Sequence[ContainerSize], code: Code, why: str) -> list[Reason]:
    return [
        Reason(code, f"container {new.container}: {name} moved from {_text(name, old)} to {_text(name, new)}, {why}")
        for old, new in zip(before, after, strict=True)
        for name in new.target.names()
        if old.target.get(name) != new.target.get(name)
    ]


def _text(name: str, size: ContainerSize) -> str:
    return format_amount(name, size.target.get(name))


def _with_limits(size: ContainerSize, container: Container, spec: MpaSpec) -> ContainerSize:
    policy = container_rule(spec.constraints, container.name).limits
    limits = limits_for(policy, container.limits, container.requests, size.target)
    if limits is None:
        return size
    return replace(size, limits=Resources.of({**dict(container.limits.amounts), **dict(limits.amounts)}))


def _bounds(spec: MpaSpec, container: str) -> SizeBounds:
    """Return the container's own bounds, and the global ones for what these do not name."""
    least, most = request_bounds(spec.constraints, container)
    keep_limits = container_rule(spec.constraints, container).limits is Limits.REQUESTS_ONLY
    return SizeBounds(container=container, min_allowed=least, max_allowed=most, keep_limits=keep_limits)


def _missing(view: WorkloadView, controlled: Sequence[str]) -> list[Reason]:
    """Return a reason for each controlled resource that was not measured although pods run."""
    if not any(pod.is_active for pod in view.pods):
        return []
    reasons = []
    for name in controlled:
        reading = view.readings.get(Signal(view.workload.key, _SIGNALS[name]))
        if not isinstance(reading, PodSamples) or not reading.samples:
            reasons.append(Reason(Code.SIGNAL_MISSING, f"{name} of the pods was not read; sizes are those of before"))
    return reasons


def _why(size: ContainerSize, workload: Workload, kills: Sequence[tuple[Pod, Termination]]) -> Reason:
    """Return the reason for the most pressing resource: first what must grow, then what may shrink."""
    container = next(one for one in workload.template.containers if one.name == size.container)
    above = [name for name in size.target.names() if _position(size, container, name) > 0]
    below = [name for name in size.target.names() if _position(size, container, name) < 0]
    facts = "; ".join(_fact(size, container, name) for name in above or below or size.target.names())
    killed = any(end.container == size.container for _, end in kills)
    code = Code.IN_RANGE
    if above:
        code = Code.OOM_KILLED if killed and MEMORY in above else Code.USAGE_ABOVE_REQUEST
    elif below:
        code = Code.USAGE_BELOW_REQUEST
    return Reason(code, f"container {size.container}: {facts}")


def _fact(size: ContainerSize, container: Container, name: str) -> str:
    low, high = format_amount(name, size.lower.get(name)), format_amount(name, size.upper.get(name))
    asked = format_amount(name, container.requests.get(name)) if container.requests.has(name) else "nothing"
    return f"{name} {_text(name, size)} is recommended, {low} to {high} is right, {asked} is requested"


def _position(size: ContainerSize, container: Container, name: str) -> int:
    """Return 1 where the request is below the range or not set, -1 where it is above, else 0."""
    request = container.requests.get(name)
    if not container.requests.has(name) or request < size.lower.get(name):
        return 1
    return -1 if request > size.upper.get(name) else 0


def _is_urgent(view: WorkloadView, sizes: Sequence[ContainerSize]) -> bool:
    """A container that was killed soon after its start needs more memory than it has: new pods die alike."""
    targets = {size.container: size.target.memory for size in sizes}
    return any(
        has_quick_oom(pod, [one.name], now=view.now)
        for pod in view.pods
        if pod.terminations
        for one in pod.shape.containers
        if targets.get(one.name, 0) > one.requests.memory
    )


def _condition(*, provided: bool) -> Condition:
    if provided:
        return Condition(type="RecommendationProvided", status="True", reason="Provided")
    return Condition(
        type="RecommendationProvided", status="False", reason="NoHistory", message="nothing was measured yet"
    )
