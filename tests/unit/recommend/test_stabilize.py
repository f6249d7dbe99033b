from __future__ import annotations

import pytest

from autoscaler.model.spec import Behavior, Quantity, RulePolicy, ScalingRules
from autoscaler.recommend.stabilize import (
    BehaviorRules,
    Bounds,
    DirectionRules,
    History,
    RateRule,
    allow,
    behavior_rules,
    down_limit,
    first_sight,
    plain_up_limit,
    record_change,
    up_limit,
)

NOW = 1_700_000_000.0
BOUNDS = Bounds(minimum=1, maximum=100)
DEFAULTS = behavior_rules(Behavior(), downscale_window=300.0)
assert DEFAULTS is not None


def rules(*policies: RateRule, select: str = "Max", window: float = 0.0) -> DirectionRules:
    return DirectionRules(policies=policies, window=window, select=select)


def test_an_empty_behavior_has_the_defaults_of_the_api() -> None:
    found = behavior_rules(Behavior(), downscale_window=300.0)
    assert found == BehaviorRules(
        up=rules(RateRule("Pods", 4, 15.0), RateRule("Percent", 100, 15.0)),
        down=rules(RateRule("Percent", 100, 15.0), window=300.0),
    )
    assert behavior_rules(None, downscale_window=300.0) is None


def test_a_given_field_leaves_the_defaults_of_the_others() -> None:
    given = Behavior(
        scale_up=ScalingRules(policies=(RulePolicy(type="Pods", value=1, period_seconds=60),)),
        scale_down=ScalingRules(select_policy="Disabled", tolerance=Quantity("50m")),
    )
    found = behavior_rules(given, downscale_window=60.0)
    assert found is not None
    assert found.up == rules(RateRule("Pods", 1, 60.0))
    assert found.down == DirectionRules(
        policies=(RateRule("Percent", 100, 15.0),), window=60.0, select="Disabled", tolerance=0.05
    )


@pytest.mark.parametrize(
    ("current", "limit"),
    [
        pytest.param(1, 4, id="at-least-four"),
        pytest.param(10, 20, id="double"),
        pytest.param(2**31, 2**31 - 1, id="cut"),
    ],
)
def test_plain_up_limit(current: int, limit: int) -> None:
    assert plain_up_limit(current) == limit


@pytest.mark.parametrize(
    ("direction", "ups", "downs", "limit"),
    [
        pytest.param(rules(RateRule("Pods", 4, 60.0)), (), (), 14, id="pods"),
        pytest.param(rules(RateRule("Percent", 25, 60.0)), (), (), 13, id="percent-rounds-up"),
        pytest.param(rules(RateRule("Pods", 4, 60.0)), ((NOW - 59, 3),), (), 11, id="less-what-was-added"),
        pytest.param(rules(RateRule("Pods", 4, 60.0)), ((NOW - 60, 3),), (), 14, id="not-at-the-edge-of-the-period"),
        pytest.param(rules(RateRule("Pods", 4, 60.0)), (), ((NOW - 1, 2),), 16, id="plus-what-was-removed"),
        pytest.param(rules(RateRule("Pods", 1, 60.0), RateRule("Percent", 100, 9.0)), (), (), 20, id="the-larger"),
        pytest.param(
            rules(RateRule("Pods", 1, 60.0), RateRule("Percent", 100, 9.0), select="Min"), (), (), 11, id="the-smaller"
        ),
        pytest.param(rules(RateRule("Pods", 1, 60.0), select="Disabled"), (), (), 10, id="disabled"),
        pytest.param(rules(RateRule("Pods", 4, 60.0)), ((NOW - 9, 9),), (), 5, id="below-current-when-used-up"),
    ],
)
def test_up_limit(
    direction: DirectionRules, ups: tuple[tuple[float, int], ...], downs: tuple[tuple[float, int], ...], limit: int
) -> None:
    assert up_limit(10, History(ups=ups, downs=downs), direction, NOW) == limit


@pytest.mark.parametrize(
    ("direction", "downs", "limit"),
    [
        pytest.param(rules(RateRule("Pods", 4, 60.0)), (), 6, id="pods"),
        pytest.param(rules(RateRule("Percent", 25, 60.0)), (), 7, id="percent-truncates"),
        pytest.param(rules(RateRule("Pods", 4, 60.0)), ((NOW - 9, 3),), 9, id="less-what-was-removed"),
        pytest.param(rules(RateRule("Pods", 40, 60.0)), (), -30, id="may-be-negative"),
        pytest.param(
            rules(RateRule("Pods", 1, 60.0), RateRule("Pods", 3, 60.0), select="Min"), (), 9, id="the-gentler"
        ),
        pytest.param(rules(select="Disabled"), (), 10, id="disabled"),
    ],
)
def test_down_limit(direction: DirectionRules, downs: tuple[tuple[float, int], ...], limit: int) -> None:
    assert down_limit(10, History(downs=downs), direction, NOW) == limit


@pytest.mark.parametrize(
    ("age", "replicas"),
    [
        pytest.param(300.0, 9, id="an-entry-at-the-edge-still-counts-without-behavior"),
        pytest.param(300.001, 3, id="an-older-one-does-not"),
    ],
)
def test_window_without_behavior(age: float, replicas: int) -> None:
    history = History(recommendations=((NOW - age, 9),))
    allowed, _ = allow(3, history, None, current=9, bounds=BOUNDS, window=300.0, now=NOW)
    assert allowed.replicas == replicas


@pytest.mark.parametrize(
    ("age", "replicas"),
    [
        pytest.param(300.0, 3, id="an-entry-at-the-edge-no-longer-counts-with-behavior"),
        pytest.param(299.999, 9, id="a-newer-one-does"),
    ],
)
def test_window_with_behavior(age: float, replicas: int) -> None:
    history = History(recommendations=((NOW - age, 9),))
    allowed, _ = allow(3, history, DEFAULTS, current=9, bounds=BOUNDS, window=0.0, now=NOW)
    assert allowed.replicas == replicas


def test_the_size_moves_only_into_the_range_of_recent_recommendations() -> None:
    both = BehaviorRules(
        up=rules(RateRule("Percent", 900, 15.0), window=60.0), down=rules(RateRule("Percent", 100, 15.0), window=60.0)
    )
    history = History(recommendations=((NOW - 30, 12), (NOW - 20, 18)))
    allowed, after = allow(20, history, both, current=10, bounds=BOUNDS, window=0.0, now=NOW)
    assert (allowed.replicas, allowed.able_reason) == (12, "ScaleUpStabilized")
    assert after.recommendations[-1] == (NOW, 20)


@pytest.mark.parametrize(
    ("desired", "current", "replicas", "reason"),
    [
        pytest.param(500, 60, 100, "TooManyReplicas", id="the-maximum-binds"),
        pytest.param(50, 2, 4, "ScaleUpLimit", id="the-rate-binds"),
        pytest.param(0, 2, 1, "TooFewReplicas", id="the-minimum-binds"),
        pytest.param(3, 2, 3, "DesiredWithinRange", id="nothing-binds"),
    ],
)
def test_reason_of_the_limit(desired: int, current: int, replicas: int, reason: str) -> None:
    allowed, _ = allow(desired, History(), None, current=current, bounds=BOUNDS, window=0.0, now=NOW)
    assert (allowed.replicas, allowed.limit_reason, allowed.limited) == (replicas, reason, replicas != desired)


def test_first_sight_is_recorded_once() -> None:
    seen = first_sight(History(), 7, NOW)
    assert seen.recommendations == ((NOW, 7),)
    assert first_sight(seen, 9, NOW + 15) is seen


def test_an_old_slot_is_used_again() -> None:
    history = History(recommendations=((NOW - 900, 5), (NOW - 400, 6), (NOW - 100, 7)))
    _, after = allow(8, history, None, current=8, bounds=BOUNDS, window=300.0, now=NOW)
    assert after.recommendations == ((NOW - 900, 5), (NOW, 8), (NOW - 100, 7))


def test_events_use_slots_by_the_longest_period_of_their_own_direction() -> None:
    uneven = BehaviorRules(up=rules(RateRule("Pods", 4, 15.0)), down=rules(RateRule("Pods", 4, 600.0)))
    before = History(ups=((NOW - 100, 3),), downs=((NOW - 100, 2),))
    grown = record_change(before, uneven, before=5, after=8, now=NOW)
    assert (grown.ups, grown.downs) == (((NOW, 3),), before.downs)
    shrunk = record_change(before, uneven, before=5, after=4, now=NOW)
    assert (shrunk.ups, shrunk.downs) == (before.ups, ((NOW - 100, 2), (NOW, 1)))


def test_without_behavior_no_event_is_kept() -> None:
    assert record_change(History(), None, before=1, after=2, now=NOW) == History()
