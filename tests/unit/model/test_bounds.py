from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.bounds import MAX_REPLICAS, container_rule, replica_bounds, request_bounds
from autoscaler.model.policy import Constraints, Limits
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.spec import decode_hook


def constraints(**document: Any) -> Constraints:
    return msgspec.convert(document, Constraints, dec_hook=decode_hook)


@pytest.mark.parametrize(
    ("given", "bounds"),
    [
        pytest.param({}, (1, MAX_REPLICAS), id="nothing-given"),
        pytest.param({"minReplicas": 0}, (0, MAX_REPLICAS), id="zero-is-given"),
        pytest.param({"minReplicas": 2, "maxReplicas": 9}, (2, 9), id="both"),
        pytest.param({"minReplicas": 9, "maxReplicas": 2}, (2, 2), id="the-maximum-wins"),
    ],
)
def test_replica_bounds(given: dict[str, int], bounds: tuple[int, int]) -> None:
    assert replica_bounds(constraints(**{"global": given})) == bounds


def test_a_container_has_its_own_rule_or_that_of_all_others() -> None:
    rules = constraints(container=[{"name": "app", "limits": "KeepRatio"}, {"name": "*", "limits": "Guaranteed"}])
    assert container_rule(rules, "app").limits is Limits.KEEP_RATIO
    assert container_rule(rules, "log").limits is Limits.GUARANTEED
    assert container_rule(constraints(), "app").limits is Limits.REQUESTS_ONLY


def test_global_bounds_hold_for_what_the_rule_does_not_name() -> None:
    rules = constraints(
        **{"global": {"requests": {"minAllowed": {"cpu": "50m", "memory": "64Mi"}, "maxAllowed": {"cpu": "4"}}}},
        container=[{"name": "app", "requests": {"minAllowed": {"cpu": "0.1"}}}],
    )
    assert request_bounds(rules, "app") == (Resources.of(cpu=100, memory=64 << 20), Resources.of(cpu=4000))
    assert request_bounds(rules, "log") == (Resources.of(cpu=50, memory=64 << 20), Resources.of(cpu=4000))


def test_a_rule_without_bounds_does_not_take_those_of_all_others() -> None:
    rules = constraints(container=[{"name": "app"}, {"name": "*", "requests": {"maxAllowed": {"cpu": "1"}}}])
    assert request_bounds(rules, "app") == (NOTHING, NOTHING)
    assert request_bounds(rules, "log")[1] == Resources.of(cpu=1000)
