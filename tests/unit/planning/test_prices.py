from __future__ import annotations

import pytest

from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.snapshot import Prices
from autoscaler.model.units import GIB
from autoscaler.planning.prices import prices_or_estimate, worth
from autoscaler.testing.builders import make_group


def test_shadow_prices_are_kept() -> None:
    given = Prices(usd_per_core_hour=0.0, usd_per_gib_hour=0.01)
    assert prices_or_estimate(given, [make_group()]) == given


def test_the_cheapest_group_gives_the_estimate() -> None:
    groups = [
        make_group("a", cpu=4000, memory=16 * GIB, usd_per_hour=0.6),
        make_group("b", cpu=4000, memory=16 * GIB, usd_per_hour=0.3),
        make_group("free", usd_per_hour=0.0),
    ]
    found = prices_or_estimate(Prices(), groups)
    # 4 cores and 16 GiB, which are worth 2 more, for 0.30 an hour.
    assert (found.usd_per_core_hour, found.usd_per_gib_hour) == pytest.approx((0.05, 0.05 / 8))


@pytest.mark.parametrize("groups", [[], [make_group(usd_per_hour=0.0)], [make_group(cpu=0, memory=0)]], ids=len)
def test_without_a_price_nothing_has_one(groups: list[object]) -> None:
    assert prices_or_estimate(Prices(), groups) == Prices()  # type: ignore[arg-type]


def test_a_pod_is_worth_what_it_asks_for() -> None:
    prices = Prices(usd_per_core_hour=0.04, usd_per_gib_hour=0.005, usd_per_pod_hour=0.001)
    assert worth(Resources.of(cpu=500, memory=2 * GIB), prices) == pytest.approx(0.02 + 0.01 + 0.001)
    assert worth(NOTHING, prices) == pytest.approx(0.001)
