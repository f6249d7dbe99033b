"""The least that new nodes cost, found without packing."""

from __future__ import annotations

import math

import msgspec
import pytest

from autoscaler.model.resources import Resources
from autoscaler.planning.price_floor import PriceFloor
from autoscaler.planning.removals import Demand
from autoscaler.testing.builders import make_group, make_shape

GIB = 1 << 30
SMALL = make_group("small", cpu=2000, memory=8 * GIB, usd_per_hour=0.1)
LARGE = make_group("large", cpu=8000, memory=32 * GIB, usd_per_hour=0.3)


@pytest.mark.parametrize(
    ("demand", "least"),
    [
        pytest.param([], 0.0, id="nothing-costs-nothing"),
        pytest.param([(make_shape(cpu=100), 0)], 0.0, id="no-pods-cost-nothing"),
        pytest.param([(make_shape(cpu=100, memory=GIB), 1)], 0.1, id="no-less-than-the-cheapest-node"),
        pytest.param([(make_shape(cpu=1000, memory=GIB), 32)], 1.2, id="by-the-cheapest-core"),
        pytest.param([(make_shape(cpu=100, memory=8 * GIB), 8)], 0.6, id="by-the-cheapest-byte"),
        pytest.param([(make_shape(cpu=4000), 2), (make_shape("db", cpu=8000), 3)], 1.2, id="shapes-add-up"),
    ],
)
def test_price_floor(demand: Demand, least: float) -> None:
    assert PriceFloor([SMALL, LARGE]).of(demand) == pytest.approx(least)


def test_whole_nodes_are_bought() -> None:
    demand = [(make_shape(cpu=1000, memory=GIB), 9)]
    assert PriceFloor([LARGE]).of(demand) == pytest.approx(0.6)


def test_what_no_group_has_cannot_be_bought() -> None:
    assert PriceFloor([]).of([(make_shape(), 1)]) == math.inf


def test_what_daemon_sets_take_cannot_be_used() -> None:
    template = msgspec.structs.replace(LARGE.template, overhead=Resources.of(cpu=4000))
    group = msgspec.structs.replace(LARGE, template=template)
    assert PriceFloor([group]).of([(make_shape(cpu=1000), 8)]) == pytest.approx(0.6)
