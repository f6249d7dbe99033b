from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from autoscaler.simulator.market import make_cloud
from autoscaler.simulator.spec import InitialNodes, WorldSpec, check_world
from autoscaler.testing.builders import NOW, make_pool, make_service, make_world


def test_a_good_spec_passes() -> None:
    check_world(make_world(make_service(), make_service("api")))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"step_seconds": 0.5}, "step_seconds", id="step-too-short"),
        pytest.param({"step_seconds": math.nan}, "step_seconds", id="step-nan"),
        pytest.param({"length_seconds": math.inf}, "length_seconds", id="endless"),
        pytest.param({"length_seconds": 0.0}, "length_seconds", id="no-length"),
        pytest.param({"start": math.nan}, "start", id="no-start"),
        pytest.param({"warmup_seconds": 60.0}, "warmup_seconds", id="warm-up-beyond-history"),
        pytest.param({"history_seconds": -60.0}, "history_seconds", id="negative-history"),
        pytest.param({"period_seconds": 45.0}, "period_seconds", id="period-between-steps"),
        pytest.param({"pools": ()}, "pools", id="no-machines"),
        pytest.param({"services": (make_service(), make_service())}, "two services", id="the-same-name-twice"),
        pytest.param({"initial_nodes": (InitialNodes(instance_type="x", count=1),)}, "x", id="unknown-type"),
    ],
)
def test_worlds_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_world(msgspec.structs.replace(make_world(make_service()), **fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"requests": np.zeros(7, np.float32)}, "120 values", id="wrong-length"),
        pytest.param({"requests": np.full(120, np.nan, np.float32)}, "finite", id="nan"),
        pytest.param({"requests": np.full(120, -1, np.float32)}, "at least 0", id="negative"),
        pytest.param({"cores": np.zeros(120, np.float32)}, "not both", id="requests-and-cores"),
        pytest.param({"parallelism": 0.0}, "parallelism", id="no-parallelism"),
        pytest.param({"parallelism": math.nan}, "parallelism", id="parallelism-nan"),
        pytest.param({"min_replicas": 5, "max_replicas": 3}, "min_replicas", id="bounds-crossed"),
        pytest.param({"slowdown": 1.0}, "slowdown", id="nothing-may-take-longer-than-idle"),
    ],
)
def test_services_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    service = msgspec.structs.replace(make_service(), **fields)
    with pytest.raises(ValueError, match=f"default/Deployment/web: .*{message}"):
        check_world(make_world(service))


def _groups(spec: WorldSpec) -> list[tuple[str, int]]:
    return [(group.name, group.target_size) for group in make_cloud(spec, seed=0, now=NOW).groups]


def test_each_offering_is_a_group_with_its_initial_nodes() -> None:
    initial = (
        InitialNodes(instance_type="m.xl", count=2),
        InitialNodes(instance_type="m.xl", count=1, zone="b"),
        InitialNodes(instance_type="big", count=3, capacity_type="spot"),
    )
    pools = (make_pool(zones=("a", "b")), make_pool("big", zones=("",), capacity_type="spot"))
    assert _groups(make_world(pools=pools, initial_nodes=initial)) == [
        ("big-spot", 3),
        ("m.xl-a-on-demand", 2),
        ("m.xl-b-on-demand", 1),
    ]


def test_initial_nodes_that_nobody_offers() -> None:
    initial = (InitialNodes(instance_type="m.xl", count=1, zone="z"),)
    with pytest.raises(ValueError, match="nobody offers"):
        _groups(make_world(initial_nodes=initial))
