"""
What recommenders share that run now and then over what was measured, rather than all the time.

KRR is started by hand or by a schedule, Crane's rule has a `runInterval`: in
between the sizes of the last run stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autoscaler.interfaces import WorkloadView
from autoscaler.model.pod import Container, Pod, Termination
from autoscaler.model.readings import PodSamples, Signal, SignalKind
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import CPU, MEMORY, NOTHING, Resources, format_amount
from autoscaler.recommend.updater import OOM_KILLED
from autoscaler.recommend.usage_history import CLOCK_SKEW_SECONDS
from autoscaler.recommend.vpa import controlled_resources, fit_sizes, sized_containers

_SIGNALS = {CPU: SignalKind.POD_CPU, MEMORY: SignalKind.POD_MEMORY}


def usage_signals(workload: str) -> tuple[Signal, ...]:
    return tuple(Signal(workload, kind) for kind in _SIGNALS.values())


def is_time(last: float, *, every: float, now: float, period: float) -> bool:
    """Tell whether *every* seconds have passed since *last*; half a decision's *period* early is in time."""
    return not 0.0 <= now - last < every - period / 2.0


def usage_of(view: WorkloadView, resource: str) -> Iterator[tuple[str, str, int, float]]:
    """Yield (pod, container, millicores or bytes, epoch seconds) of the workload's own pods, as they were measured."""
    reading = view.readings.get(Signal(view.workload.key, _SIGNALS[resource]))
    if not isinstance(reading, PodSamples):
        return
    names = [one.name for one in sized_containers(view)]
    only = names[0] if len(names) == 1 else ""
    pods = {pod.name for pod in view.pods}
    for sample in reading.samples:
        container = sample.container or only
        in_time = 0.0 < sample.at <= view.now + CLOCK_SKEW_SECONDS
        if container in names and sample.pod in pods and sample.value >= 0 and in_time:
            yield sample.pod, container, sample.value, sample.at


def oom_kills(view: WorkloadView) -> Iterator[tuple[Container, Termination]]:
    """Yield the kills for want of memory that the pods report, each with its container as it was."""
    for pod in view.pods:
        for end in pod.terminations:
            container = _container(pod, end.container)
            if end.reason == OOM_KILLED and container is not None:
                yield container, end


def point(container: str, amounts: Resources) -> ContainerSize:
    """Return a size without room: these peers name one amount, not a range."""
    return ContainerSize(container=container, target=amounts, lower=amounts, upper=amounts, uncapped=amounts)


def batch_advice(
    view: WorkloadView, engine: str, sizes: Sequence[ContainerSize], unknown: Sequence[Reason]
) -> Recommendation:
    """
    Return what is controlled of the last run's *sizes*, within policy and nodes.

    Nothing shrinks while something is *unknown*, or not measured now.
    """
    wanted = {one.name for one in sized_containers(view)}
    kept = [size for size in sizes if size.container in wanted and size.target.amounts]
    fitted, capped = fit_sizes(kept, view)
    missing = (*unknown, *_unread(view))
    reasons = (*missing, *(_why(size, view) for size in fitted), *capped)
    return Recommendation(
        workload=view.workload.key,
        engine=engine,
        containers=fitted,
        held=bool(missing),
        reasons=reasons or (Reason(Code.UNCHANGED, "no resource of any container is controlled"),),
    )


def only(size: ContainerSize, names: Sequence[str]) -> ContainerSize:
    """Return *size* of these resources alone."""
    return point(size.container, size.target.only(names))


def _unread(view: WorkloadView) -> list[Reason]:
    """Return a reason for each controlled resource that was not measured although pods run."""
    if not any(pod.is_active for pod in view.pods):
        return []
    return [
        Reason(Code.SIGNAL_MISSING, f"{name} of the pods was not read; sizes are those of before")
        for name in controlled_resources(view.spec)
        if next(usage_of(view, name), None) is None
    ]


def _container(pod: Pod, name: str) -> Container | None:
    return next((one for one in pod.shape.containers if one.name == name), None)


def _why(size: ContainerSize, view: WorkloadView) -> Reason:
    container = next(one for one in view.workload.template.containers if one.name == size.container)
    requests = container.requests if container.requests.amounts else NOTHING
    grows = any(target > requests.get(name) for name, target in size.target.items())
    shrinks = any(target < requests.get(name) for name, target in size.target.items())
    code = Code.USAGE_ABOVE_REQUEST if grows else Code.USAGE_BELOW_REQUEST if shrinks else Code.UNCHANGED
    facts = "; ".join(
        f"{name} {format_amount(name, target)} is recommended, {format_amount(name, requests.get(name))} is requested"
        for name, target in size.target.items()
    )
    return Reason(code, f"container {size.container}: {facts}")
