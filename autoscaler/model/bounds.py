"""What the bounds in a document say: replicas, and requests by container."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.model.policy import Constraints, ContainerConstraints, RequestBounds
from autoscaler.model.resources import CPU, Resources
from autoscaler.model.spec import Quantity

MAX_REPLICAS = 2**31 - 1
"""The scale subresource counts in 32 bits."""
ANY_CONTAINER = "*"
_NO_RULE, _UNBOUNDED = ContainerConstraints(), RequestBounds()


def replica_bounds(constraints: Constraints) -> tuple[int, int]:
    """Return the fewest (1 if not given) and the most replicas; the maximum wins a conflict."""
    given = constraints.global_
    low = given.min_replicas if given is not None and given.min_replicas is not None else 1
    high = given.max_replicas if given is not None and given.max_replicas is not None else MAX_REPLICAS
    return min(low, high), high


def container_rule(constraints: Constraints, container: str) -> ContainerConstraints:
    """Return the rule for *container*: its own, else that of `*`, else one that bounds nothing."""
    rules = {rule.name: rule for rule in constraints.container}
    return rules.get(container) or rules.get(ANY_CONTAINER) or _NO_RULE


def request_bounds(constraints: Constraints, container: str) -> tuple[Resources, Resources]:
    """
    Return the least and the most that *container* may ask for; what is 0 or absent is unbounded.

    Those of its own rule, and the global ones for resources that the rule does not name.
    """
    own = container_rule(constraints, container).requests or _UNBOUNDED
    everywhere = (constraints.global_.requests if constraints.global_ is not None else None) or _UNBOUNDED
    return (
        amounts_of({**everywhere.min_allowed, **own.min_allowed}),
        amounts_of({**everywhere.max_allowed, **own.max_allowed}),
    )


def amounts_of(quantities: Mapping[str, Quantity]) -> Resources:
    """Return quantities by resource name as amounts in base units, rounded up (millicores for cpu)."""
    return Resources.of({name: each.milli if name == CPU else each.whole for name, each in quantities.items()})
