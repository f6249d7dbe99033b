from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from autoscaler.model.readings import Missing, MissingReason
from autoscaler.model.reasons import Code
from autoscaler.model.snapshot import DemandModel, WorkloadModel
from autoscaler.recommend.demand import safe_utilisation
from autoscaler.recommend.joint_view import (
    JointMemory,
    JointParams,
    declared_parallelism,
    lacks_requests,
    observed_work,
    pod_capacity,
)
from autoscaler.recommend.outlook import node_factor
from autoscaler.testing.builders import NOW, make_workload
from tests.unit.recommend.joint_views import (
    GAP,
    LEARNED,
    SEEN,
    ask,
    later,
    model,
    readings,
    season,
    settled,
    spec,
    view,
)


def codes(advice: object) -> set[Code]:
    return {reason.code for reason in advice.reasons}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("cpu", "replicas"),
    [
        pytest.param(0.0, 1, id="no-load-needs-the-minimum"),
        pytest.param(0.44, 1, id="just-full"),
        pytest.param(0.45, 2, id="a-little-more-than-one-holds"),
        pytest.param(4.4, 10, id="ten-are-just-full"),
    ],
)
def test_replicas_follow_the_load_in_the_end(cpu: float, replicas: int) -> None:
    advice, _ = settled(view(readings(**{**SEEN, "Cpu": cpu}), replicas=20))
    assert advice.replicas == replicas


def test_it_grows_at_once_and_says_why() -> None:
    advice, _ = ask(view(readings(**{**SEEN, "Cpu": 4.4})))
    assert advice.replicas == 10
    assert advice.reasons[0].code is Code.LOAD_NEEDS_MORE
    assert not advice.held


def test_a_first_sight_shrinks_nothing() -> None:
    advice, memory = ask(view(replicas=10))
    assert advice.replicas == 10
    assert Code.STABILIZED in codes(advice)
    advice, _ = ask(later(view(replicas=10), 299.0), memory)
    assert advice.replicas == 10


def test_an_outage_longer_than_the_window_is_a_first_sight_again() -> None:
    busy = view(readings(**{**SEEN, "Cpu": 4.4}), replicas=10)
    _, memory = settled(busy)
    quiet = later(view(readings(**{**SEEN, "Cpu": 0.4}), replicas=10), 600.0)
    blind = msgspec.structs.replace(quiet, readings=readings(Cpu=GAP))
    for minutes in range(10):
        _, memory = ask(later(blind, 60.0 * minutes), memory)
    advice, _ = ask(later(quiet, 700.0), memory)
    assert advice.replicas == 10


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({}, id="absent"),
        pytest.param({"Cpu": GAP, "Requests": GAP}, id="missing"),
        pytest.param({"Cpu": Missing(MissingReason.STALE)}, id="stale"),
        pytest.param({"Cpu": math.nan}, id="not-a-number"),
        pytest.param({"Cpu": math.inf}, id="infinite"),
        pytest.param({"Cpu": -1.0}, id="negative"),
    ],
)
def test_without_a_usable_reading_it_holds(values: dict[str, float | Missing]) -> None:
    advice, memory = settled(view(readings(**values), replicas=7))
    assert advice.replicas is None
    assert advice.held
    assert Code.SIGNAL_MISSING in codes(advice)
    assert memory.work == ()


def test_a_forecast_raises_replicas_also_while_blind() -> None:
    rising = model(season=season(base=1.0, peak=6.0, at=0))
    _, memory = settled(view(readings(**{**SEEN, "Cpu": 1.0}), model=model(season=season()), replicas=3), minutes=5)
    advice, _ = ask(later(view(readings(Cpu=GAP), model=rising, replicas=3), 360.0), memory)
    assert advice.held
    assert advice.replicas is not None
    assert advice.replicas >= 3


def test_cpu_alone_shrinks_nothing_where_requests_should_be_there() -> None:
    costed = model(demand=msgspec.structs.replace(LEARNED, cores_per_request=0.01))
    blind = view(readings(**SEEN, Requests=GAP), model=costed, replicas=9)
    advice, _ = settled(blind)
    assert lacks_requests(blind)
    assert advice.replicas == 9
    assert advice.held


def test_requests_that_queue_count_as_work() -> None:
    costed = model(demand=msgspec.structs.replace(LEARNED, cores_per_request=0.01))
    assert observed_work(view(readings(**SEEN, Requests=300.0), model=costed)) == pytest.approx(3.0)


def test_idle_cores_are_no_work() -> None:
    idle = model(demand=DemandModel(idle_cores=0.1))
    assert observed_work(view(model=idle)) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("bounds", "cpu", "replicas", "code"),
    [
        pytest.param({"minReplicas": 4}, 0.0, 4, Code.AT_MINIMUM, id="the-minimum-binds"),
        pytest.param({"minReplicas": 1, "maxReplicas": 5}, 9.0, 5, Code.AT_MAXIMUM, id="the-maximum-binds"),
        pytest.param({"minReplicas": 0}, 0.0, 0, Code.LOAD_NEEDS_FEWER, id="zero-is-allowed"),
    ],
)
def test_bounds(bounds: dict[str, int], cpu: float, replicas: int, code: Code) -> None:
    advice, _ = settled(view(readings(**{**SEEN, "Cpu": cpu}), spec=spec(constraints={"global": bounds})))
    assert advice.replicas == replicas
    assert code in codes(advice)
    assert replicas <= advice.headroom_replicas or replicas == 0


def test_a_workload_scaled_to_zero_by_hand_stays_there_and_keeps_no_room() -> None:
    advice, _ = settled(view(readings(**{**SEEN, "Cpu": 3.0}), replicas=0, model=model(season=season(base=9.0))))
    assert (advice.replicas, advice.forecast_replicas, advice.headroom_replicas) == (0, 0, 0)


def test_the_season_raises_the_target_before_the_load_comes() -> None:
    # The rise begins 165 s from now, which is the reaction time.
    rising = model(season=season(base=1.0, peak=4.0, at=0))
    before = msgspec.structs.replace(view(readings(**{**SEEN, "Cpu": 1.0}), model=rising, replicas=3), now=NOW - 160.0)
    advice, _ = ask(before, JointMemory(work=((NOW - 220.0, 1.0),)))
    assert advice.replicas is not None
    assert advice.replicas > 3
    assert advice.reasons[0].code is Code.FORECAST_RISE


@pytest.mark.parametrize("changes", [{"trusted": False}, {"peak": b"", "mean": b""}], ids=["not-trusted", "no-profile"])
def test_a_season_that_is_not_believed_raises_nothing(changes: dict[str, object]) -> None:
    doubted = msgspec.structs.replace(season(base=1.0, peak=9.0), **changes)
    advice, _ = settled(view(model=model(season=doubted)))
    assert advice.replicas == 2
    assert advice.forecast_replicas == 2


def test_forecast_off_is_obeyed() -> None:
    off = spec(policy={"forecast": "Off"})
    advice, _ = settled(view(spec=off, model=model(season=season(base=9.0, peak=9.0))))
    assert advice.replicas == 2


def test_missing_the_objective_widens_the_head_room_up_to_a_cap() -> None:
    slow = view(readings(**SEEN, SlowShare=0.5))
    advice, memory = settled(slow, minutes=60)
    assert memory.margin == pytest.approx(0.4)
    assert Code.SLO_CORRECTION in codes(advice)
    assert advice.replicas == math.ceil(0.8 * math.exp(0.4) / 0.44)
    healthy = view(readings(**SEEN, SlowShare=0.0))
    _, after = ask(later(healthy, 3700.0), memory)
    assert after.margin < memory.margin


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0], ids=str)
def test_an_unusable_share_of_slow_requests_changes_no_margin(value: float) -> None:
    _, memory = settled(view(readings(**SEEN, SlowShare=value)))
    assert memory.margin == 0.0


def test_capacity_of_a_pod_is_within_its_request_and_its_safe_load() -> None:
    params = JointParams()
    assert pod_capacity(view(cpu=500), params) == pytest.approx(0.44)
    safe = safe_utilisation(1.0, 4.0)
    bursting = spec(goals={"slo": {"parallelism": "1"}})
    assert pod_capacity(view(cpu=4000, spec=bursting), params) == pytest.approx(0.9 * safe)
    assert pod_capacity(view(cpu=0), params) == pytest.approx(0.9 * safe)


def test_a_smaller_shape_to_come_needs_more_pods_at_once() -> None:
    shrinking, _ = ask(view(readings(**{**SEEN, "Cpu": 1.7}), replicas=4, model=model(cpu=250)))
    assert shrinking.containers[0].target.cpu == 250
    assert shrinking.replicas == math.ceil(1.7 / 0.22)
    growing, _ = settled(view(readings(**{**SEEN, "Cpu": 1.7}), replicas=4, model=model(cpu=1000)), minutes=4)
    assert growing.replicas == 4


@pytest.mark.parametrize(
    ("document", "fields", "cores"),
    [
        pytest.param({"goals": {"slo": {"parallelism": "2.5"}}}, {}, 2.5, id="as-declared-in-the-policy"),
        pytest.param({}, {"parallelism": 3.0}, 3.0, id="as-declared-on-the-workload"),
        pytest.param({}, {}, 1.0, id="at-least-one"),
    ],
)
def test_parallelism(document: dict[str, Any], fields: dict[str, Any], cores: float) -> None:
    assert declared_parallelism(make_workload(**fields), spec(**document)) == cores


@pytest.mark.parametrize(
    ("boot", "headroom", "share"),
    [
        pytest.param(90.0, 0.95, 0.8, id="short-boots-need-less"),
        pytest.param(1800.0, 0.95, 0.95, id="no-more-than-the-policy-asks"),
        pytest.param(1800.0, 0.99, 0.97, id="no-more-than-0.97"),
    ],
)
def test_room_for_errors_while_nodes_boot(boot: float, headroom: float, share: float) -> None:
    rows = tuple((255.0, tau, tau) for tau in (0.5, 0.8, 0.95, 0.97, 0.99))
    given = view(
        model=model(season=season(quantiles=rows)),
        reaction_seconds=165.0,
        node_seconds=165.0 + boot,
        headroom=headroom,
    )
    assert node_factor(given) == pytest.approx(math.exp(share))
    assert node_factor(msgspec.structs.replace(given, headroom=0.0)) == 1.0


def test_work_is_remembered_a_value_a_minute_for_half_an_hour() -> None:
    _, memory = settled(view(), minutes=90)
    assert 29 <= len(memory.work) <= 32
    assert all(cores == pytest.approx(0.8) for _, cores in memory.work)


def test_what_the_engine_asks_for_does_not_change_what_a_pod_can_do() -> None:
    """An undeclared parallelism is the developer's request, not the one that the engine chose since."""
    shrunk = make_workload()
    learned = WorkloadModel(workload=shrunk.key, fitted_at=0.0, demand=DemandModel(parallelism=4.0))
    assert declared_parallelism(shrunk, spec(), learned) == 4.0
    assert declared_parallelism(shrunk, spec()) == 1.0
