"""
What a pod counts for on a node: effective requests and limits.

Four figures differ on purpose: `effective_requests` (the spec alone; what
NodeResourcesFit asks for the incoming pod), `placed_requests` (what a pod that
is on a node takes, in-place resizes included), `nonzero_requests` (what
LeastAllocated counts) and `effective_limits`.

Sources: k8s.io/component-helpers `resource/helpers.go`; KEP-753 (sidecars),
KEP-1287 (in-place resize), KEP-2837 and KEP-5419 (pod-level resources);
kube-scheduler `framework/types.go` and `util/pod_resources.go`; v1.37.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from autoscaler.model.pod import Container, Pod, PodShape, Resize
from autoscaler.model.resources import CPU, HUGEPAGES_PREFIX, MEMORY, NOTHING, PODS, Resources

DEFAULT_CPU = 100
"""Millicores that scoring takes for a container that requests none."""
DEFAULT_MEMORY = 200 << 20
"""Bytes that scoring takes for a container that requests none."""
INFEASIBLE = "Infeasible"

_SCORING_DEFAULTS = Resources.of({CPU: DEFAULT_CPU, MEMORY: DEFAULT_MEMORY})
_Pick = Callable[[Container], Resources]


def is_pod_level(name: str) -> bool:
    """Tell whether a resource may be set for the pod as a whole."""
    return name in (CPU, MEMORY) or name.startswith(HUGEPAGES_PREFIX)


@lru_cache(maxsize=1 << 16)
def effective_requests(shape: PodShape) -> Resources:
    """
    Return what the incoming pod asks of a node by its spec, overhead included.

    Containers and sidecars add up; an init container counts with the sidecars
    before it, and the larger of the two sums is taken for each resource.
    Pod-level requests replace the sum for cpu, memory and huge pages.
    """
    return containers_requests(shape) + shape.overhead


@lru_cache(maxsize=1 << 16)
def node_demand(shape: PodShape) -> Resources:
    """Return `effective_requests` without zeros and with one `pods` slot: what must fit in a node's room."""
    demand = {name: amount for name, amount in effective_requests(shape).items() if amount > 0}
    return Resources.of({**demand, PODS: 1})


def containers_requests(shape: PodShape) -> Resources:
    """Return `effective_requests` without the overhead."""
    return _with_pod_level(containers_sum(shape), shape.pod_requests)


def containers_sum(shape: PodShape) -> Resources:
    """Return what the containers request together, whatever the pod as a whole requests."""
    return _aggregate(shape, lambda container: container.requests)


def containers_limits(shape: PodShape) -> Resources:
    """Return the containers' limits together, whatever the limits of the pod as a whole."""
    return _aggregate(shape, lambda container: container.limits)


def placed_requests(pod: Pod) -> Resources:
    """
    Return what a pod that is on a node takes of it, overhead included.

    With resize statuses it is, by resource, the largest of three sums over the
    pod: spec, allocated, actuated; the spec's is left out when the resize is
    infeasible. Pod-level statuses, when both are there, replace the latter two.
    """
    if pod.resize is None:
        return effective_requests(pod.shape)
    return placed_without_overhead(pod) + pod.shape.overhead


def placed_without_overhead(pod: Pod) -> Resources:
    """Return `placed_requests` without the overhead."""
    return _placed(pod, NOTHING)


def nonzero_requests(pod: Pod) -> Resources:
    """
    Return cpu and memory that scoring counts for a pod on a node.

    A container that names no cpu counts as 100m, one that names no memory as
    200 MiB; with pod-level requests only where the pod as a whole names none.
    """
    if pod.resize is None:
        return _nonzero_of_shape(pod.shape)
    defaults = _defaults_for(pod.shape, placed_requests(pod))
    return (_placed(pod, defaults) + pod.shape.overhead).only((CPU, MEMORY))


@lru_cache(maxsize=1 << 16)
def scoring_requests(shape: PodShape) -> Resources:
    """
    Return cpu and memory that LeastAllocated counts for the incoming pod.

    Defaults apply to each container. Pod-level requests are not looked at:
    NodeResourcesFit scores without them although it filters with them.
    """
    total = _aggregate(shape, lambda container: _filled(container.requests, _SCORING_DEFAULTS))
    return (total + shape.overhead).only((CPU, MEMORY))


@lru_cache(maxsize=1 << 16)
def _nonzero_of_shape(shape: PodShape) -> Resources:
    defaults = _defaults_for(shape, effective_requests(shape))
    total = _aggregate(shape, lambda container: _filled(container.requests, defaults))
    return (_with_pod_level(total, shape.pod_requests) + shape.overhead).only((CPU, MEMORY))


def effective_limits(pod: Pod) -> Resources:
    """
    Return the pod's limits; overhead is added only to limits that are set and not 0.

    Statuses of limits are not kept in the model: a resized pod's limits are
    those of its spec, none while the resize is infeasible.
    """
    shape = pod.shape
    infeasible = pod.resize is not None and pod.resize.state == INFEASIBLE
    limits = _aggregate(shape, lambda container: NOTHING if infeasible else container.limits)
    if _sets_pod_level(shape.pod_requests) or _sets_pod_level(shape.pod_limits):
        limits = _with_pod_level(limits, shape.pod_limits)
    overhead = shape.overhead.only(name for name, amount in limits.items() if amount)
    return limits + overhead


def _aggregate(shape: PodShape, pick: _Pick) -> Resources:
    """Sum containers and sidecars, and take the largest with each init container's peak (KEP-753)."""
    total, sidecars, peak = NOTHING, NOTHING, NOTHING
    for container in shape.containers:
        total += pick(container)
    for container in shape.init_containers:
        amount = pick(container)
        if container.restart_always:
            total += amount
            sidecars += amount
            peak = peak.largest(sidecars)
        else:
            peak = peak.largest(amount + sidecars)
    return total.largest(peak)


def _placed(pod: Pod, defaults: Resources) -> Resources:
    """Return the largest of the three sums, with *defaults* for what a container does not name."""
    shape, resize = pod.shape, pod.resize or Resize()
    infeasible = resize.state == INFEASIBLE
    statuses = {status.name: status for status in resize.containers}

    def spec(container: Container) -> Resources:
        return _filled(container.requests, defaults)

    def allocated(container: Container) -> Resources:
        status = statuses.get(container.name)
        if status is not None and status.allocated is not None:
            return _filled(status.allocated, defaults)
        return _filled(NOTHING if infeasible else container.requests, defaults)

    def actuated(container: Container) -> Resources:
        status = statuses.get(container.name)
        if status is not None and status.actual is not None:
            return _filled(status.actual, defaults)
        return allocated(container)

    if resize.pod_allocated is not None and resize.pod_actual is not None:
        total = resize.pod_allocated.largest(resize.pod_actual)
    else:
        total = _aggregate(shape, allocated).largest(_aggregate(shape, actuated))
    if not infeasible:
        total = total.largest(_aggregate(shape, spec))
    return _with_pod_level(total, _pod_level_in_force(shape, resize))


def _pod_level_in_force(shape: PodShape, resize: Resize) -> Resources | None:
    """Return the largest of the pod-level requests in the spec and in the statuses."""
    reported = [amounts for amounts in (resize.pod_actual, resize.pod_allocated) if amounts is not None]
    if not _sets_pod_level(shape.pod_requests) or not reported:
        return shape.pod_requests
    largest = NOTHING if resize.state == INFEASIBLE else shape.pod_requests or NOTHING
    for amounts in reported:
        largest = largest.largest(amounts)
    return largest


def _with_pod_level(total: Resources, pod_level: Resources | None) -> Resources:
    if pod_level is None:
        return total
    return Resources.of({**dict(total.items()), **{n: a for n, a in pod_level.items() if is_pod_level(n)}})


def _sets_pod_level(amounts: Resources | None) -> bool:
    return amounts is not None and any(map(is_pod_level, amounts.names()))


def _defaults_for(shape: PodShape, requests: Resources) -> Resources:
    if not _sets_pod_level(shape.pod_requests):
        return _SCORING_DEFAULTS
    return _SCORING_DEFAULTS.only(name for name in (CPU, MEMORY) if not requests.has(name))


def _filled(amounts: Resources, defaults: Resources) -> Resources:
    """Return *amounts* with *defaults* for the names it lacks."""
    if not defaults.amounts:
        return amounts
    return Resources.of({**dict(defaults.items()), **dict(amounts.items())})
