"""
What the API server fills in when it stores a pod: needed for pods read from templates and files.

Source: kubernetes `pkg/apis/core/v1/defaults.go` (SetDefaults_Pod and the
pod-level functions it calls), v1.37.
"""

from __future__ import annotations

from msgspec.structs import replace

from autoscaler.model.pod import Container, PodShape
from autoscaler.model.resources import CPU, HUGEPAGES_PREFIX, MEMORY, NOTHING, Resources
from autoscaler.scheduling.requests import containers_limits, containers_sum, is_pod_level


def with_api_defaults(shape: PodShape) -> PodShape:
    """Return the shape with each container's limits as its missing requests; twice is the same as once."""
    return replace(
        shape,
        containers=tuple(map(_container, shape.containers)),
        init_containers=tuple(map(_container, shape.init_containers)),
    )


def with_pod_level_defaults(shape: PodShape) -> PodShape:
    """
    Return the shape with what is missing of its pod-level resources, where some are set.

    Missing requests come from the containers' sum (cpu and memory), else from
    the pod's limits; huge pages limits come from the containers'. It comes
    after `with_api_defaults`; servers differ in whether they do it, and it
    never lowers what a pod counts for by its spec.
    """
    requests, limits = shape.pod_requests or NOTHING, shape.pod_limits or NOTHING
    if not requests.amounts and not limits.amounts:
        return shape
    limits = _huge_page_limits(shape, requests, limits)
    if limits.amounts:
        requests = _pod_requests(shape, requests, limits)
    return replace(
        shape,
        pod_requests=requests if requests.amounts else shape.pod_requests,
        pod_limits=limits if limits.amounts else shape.pod_limits,
    )


def _container(container: Container) -> Container:
    return replace(container, requests=_filled(container.requests, container.limits))


def _huge_page_limits(shape: PodShape, requests: Resources, limits: Resources) -> Resources:
    sums = containers_limits(shape)
    missing = [n for n in sums.names() if n.startswith(HUGEPAGES_PREFIX) and not requests.has(n)]
    return _filled(limits, sums.only(missing))


def _pod_requests(shape: PodShape, requests: Resources, limits: Resources) -> Resources:
    # Only cpu and memory may be over-committed; huge pages keep request and limit equal.
    requests = _filled(requests, containers_sum(shape).only((CPU, MEMORY)))
    return _filled(requests, limits.only(filter(is_pod_level, limits.names())))


def _filled(amounts: Resources, defaults: Resources) -> Resources:
    return Resources.of({**dict(defaults.items()), **dict(amounts.items())})
