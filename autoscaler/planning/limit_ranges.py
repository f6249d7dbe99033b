"""
What a namespace's LimitRanges leave of the bounds on requests, before engines see them.

The API server refuses every pod outside a LimitRange (kube-apiserver
`plugin/pkg/admission/limitranger`): a request must lie between minimum and
maximum, a limit must not exceed the maximum, and so must the pod's sums. So
these bounds are harder than a document's own, and win over them; where limits
keep their ratio, the maximum bounds the request by its limit (VPA 1.8,
`pkg/utils/vpa/capping.go`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from msgspec.structs import replace

from autoscaler.model.bounds import amounts_of, container_rule, request_bounds
from autoscaler.model.pod import Container, PodShape
from autoscaler.model.policy import ContainerConstraints, Limits, MpaSpec, PodConstraints, RequestBounds
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import NOTHING, Resources, format_amount
from autoscaler.model.spec import Quantity
from autoscaler.model.workload import LimitRange
from autoscaler.recommend.limits import SIZED, boundary_request

Ranges = tuple[LimitRange, ...]


def ranges_by_namespace(ranges: Iterable[LimitRange]) -> Mapping[str, Ranges]:
    """Return the LimitRanges of each namespace that has some, by name."""
    found: dict[str, Ranges] = {}
    for one in sorted(ranges, key=lambda each: (each.namespace, each.name)):
        found[one.namespace] = (*found.get(one.namespace, ()), one)
    return found


class _Same:
    """A spec, told apart by identity: it holds mappings and cannot be hashed."""

    __slots__ = ("spec",)

    def __init__(self, spec: MpaSpec) -> None:
        self.spec = spec

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.spec is other.spec

    def __hash__(self) -> int:
        return id(self.spec)


def within_ranges(spec: MpaSpec, template: PodShape, ranges: Ranges) -> MpaSpec:
    """Return *spec* with bounds on requests that lie within *ranges*; what it names no bound for gets theirs."""
    return _within(_Same(spec), template.containers, ranges) if ranges else spec


def told_ranges(advice: Recommendation, template: PodShape, ranges: Ranges) -> Recommendation:
    """Return *advice* with limits that *ranges* allow, and a reason for each size at which one of them binds."""
    if not ranges or not advice.containers:
        return advice
    sizes = _limited(advice.containers, template.containers, ranges)
    reasons = [
        reason
        for size in sizes
        for name, amount in size.target.items()
        for reason in _binding(size, name, amount, ranges)
    ]
    reasons += _pod_binding(sizes, template.containers, ranges)
    return replace(advice, containers=sizes, reasons=(*advice.reasons, *reasons))


@lru_cache(maxsize=1 << 14)
def _within(same: _Same, containers: Sequence[Container], ranges: Ranges) -> MpaSpec:
    spec = same.spec
    rules = tuple(_rule(spec, container, ranges) for container in containers)
    constraints = replace(spec.constraints, container=rules)
    least, most = _most_of(ranges, "pod_min", max), _most_of(ranges, "pod_max", min)
    if least.amounts or most.amounts:
        own = (constraints.pod.requests if constraints.pod is not None else None) or RequestBounds()
        bounds = _joined(amounts_of(own.min_allowed), amounts_of(own.max_allowed), least, most)
        constraints = replace(constraints, pod=PodConstraints(requests=bounds))
    return replace(spec, constraints=constraints)


def _rule(spec: MpaSpec, container: Container, ranges: Ranges) -> ContainerConstraints:
    rule = container_rule(spec.constraints, container.name)
    least, most = _most_of(ranges, "container_min", max), _most_of(ranges, "container_max", min)
    if rule.limits is Limits.KEEP_RATIO:
        by_limit = {
            name: boundary_request(container.requests.get(name), container.limits.get(name), amount)
            for name, amount in most.items()
        }
        most = Resources.of({name: by_limit[name] or amount for name, amount in most.items()})
    low, high = request_bounds(spec.constraints, container.name)
    return replace(rule, name=container.name, requests=_joined(low, high, least, most))


def _joined(low: Resources, high: Resources, least: Resources, most: Resources) -> RequestBounds:
    """Return the bounds *low* to *high* within *least* to *most*; 0 is no bound."""
    top = {name: amount for name, amount in high.items() if amount}
    for name, amount in most.items():
        top[name] = min(top.get(name, amount), amount)
    bottom = low.largest(least)
    top = {name: max(amount, least.get(name)) for name, amount in top.items()}
    return RequestBounds(min_allowed=_quantities(bottom), max_allowed=_quantities(Resources.of(top)))


def _quantities(amounts: Resources) -> dict[str, Quantity]:
    return {name: Quantity(format_amount(name, amount)) for name, amount in amounts.items()}


def _most_of(ranges: Ranges, field: str, choose: Callable[[int, int], int]) -> Resources:
    """Return the narrowest of the ranges' bounds on cpu and memory."""
    found: dict[str, int] = {}
    for one in ranges:
        amounts: Resources = getattr(one, field)
        for name, amount in amounts.only(SIZED).items():
            found[name] = choose(found.get(name, amount), amount)
    return Resources.of(found)


def _limited(
    sizes: Sequence[ContainerSize], containers: Sequence[Container], ranges: Ranges
) -> tuple[ContainerSize, ...]:
    """Lower limits that the ranges refuse: to a container's maximum, or to the request where the pod's is exceeded."""
    most = _most_of(ranges, "container_max", min)
    sizes = tuple(_capped(size, most) for size in sizes)
    by_name = {size.container: size for size in sizes}
    pod_most = _most_of(ranges, "pod_max", min)
    limits = [_limits_after(container, by_name.get(container.name)) for container in containers]
    over = [name for name, amount in pod_most.items() if sum(each.get(name) for each in limits) > amount]
    return tuple(_capped(size, size.target.only(over)) for size in sizes)


def _limits_after(container: Container, size: ContainerSize | None) -> Resources:
    return container.limits if size is None or size.limits is None else size.limits


def _capped(size: ContainerSize, most: Resources) -> ContainerSize:
    if size.limits is None or not most.amounts:
        return size
    # A limit below its request is refused, too.
    limits = {
        name: max(min(limit, most.get(name)), size.target.get(name)) if most.has(name) else limit
        for name, limit in size.limits.items()
    }
    return replace(size, limits=Resources.of(limits))


def _binding(size: ContainerSize, name: str, amount: int, ranges: Ranges) -> Iterable[Reason]:
    uncapped = size.uncapped.get(name, amount)
    for one in ranges:
        low, high = one.container_min, one.container_max
        if uncapped > amount and high.has(name) and amount >= high.get(name):
            yield _reason(one, f"container {size.container}: {name} is at most {format_amount(name, high.get(name))}")
        if uncapped < amount and low.has(name) and amount <= low.get(name):
            yield _reason(one, f"container {size.container}: {name} is at least {format_amount(name, low.get(name))}")


def _pod_binding(sizes: Sequence[ContainerSize], containers: Sequence[Container], ranges: Ranges) -> list[Reason]:
    by_name = {size.container: size.target for size in sizes}
    after = [by_name.get(each.name, NOTHING) for each in containers]
    reasons = []
    for one in ranges:
        for name, high in one.pod_max.items():
            total = sum(
                amounts.get(name, container.requests.get(name))
                for amounts, container in zip(after, containers, strict=True)
            )
            wanted = any(size.uncapped.get(name) > size.target.get(name) for size in sizes)
            if wanted and total >= high:
                reasons.append(_reason(one, f"{name} of a pod is at most {format_amount(name, high)}"))
    return reasons


def _reason(one: LimitRange, what: str) -> Reason:
    return Reason(Code.CAPPED_BY_POLICY, f"{what}, as LimitRange {one.namespace}/{one.name} says")
