"""Expected numbers: the peer's rules by hand, and of Holt-Winters those of statsmodels, which the peer asks."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from statsmodels.tsa.api import ExponentialSmoothing

from autoscaler.interfaces import Recommender
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading
from autoscaler.model.reasons import Code
from autoscaler.recommend.phpa import Decision, PhpaMemory, PhpaParams, PhpaRecommender, decide_replicas
from autoscaler.recommend.phpa_models import Component, enough_for_seasons, holt_winters_next, line_at
from tests.unit.recommend.hpa_views import NOW, QUEUE_10, queue, spec, view

ENGINE = PhpaRecommender()
AT_ONCE = {
    "scaleDown": {"stabilizationWindowSeconds": 0},
    "scaleUp": {"policies": [{"type": "Pods", "value": 1000, "periodSeconds": 15}]},
}
FAILED = Missing(MissingReason.FAILED, "api down")


def params(*models: dict[str, Any], **fields: Any) -> PhpaParams:
    return msgspec.convert({"models": list(models), **fields}, PhpaParams)


def linear(**fields: Any) -> dict[str, Any]:
    return {"type": "Linear", "name": "line", **fields}


def seasonal(**fields: Any) -> dict[str, Any]:
    return {"type": "HoltWinters", "name": "season", **fields}


class Played:
    """A queue of ten a replica, followed cycle by cycle."""

    def __init__(self, settings: PhpaParams, *, replicas: int = 1, period: float = 15.0) -> None:
        self.settings, self.replicas, self.period = settings, replicas, period
        self.memory, self.at, self.codes = PhpaMemory(), 0.0, set[Code]()
        # Known before, so that a first sight does not hold the size.
        self.memory = msgspec.structs.replace(
            self.memory, hpa=msgspec.structs.replace(self.memory.hpa, recommendations=((NOW - 9000, 1),))
        )

    def turn(self, amount: int | Reading) -> int:
        reading = PodSamples((PodSample("", amount * 1000, NOW + self.at),)) if isinstance(amount, int) else amount
        rules = spec(QUEUE_10, behavior=AT_ONCE)
        shown = view(rules, queue(reading), replicas=self.replicas, at=self.at)
        advice, self.memory = ENGINE.recommend(shown, self.settings, self.memory)
        assert advice.replicas is not None
        assert advice.engine == "phpa"
        self.codes = {reason.code for reason in advice.reasons}
        self.replicas = advice.replicas
        self.at += self.period
        return self.replicas

    def turns(self, *amounts: int | Reading) -> list[int]:
        return [self.turn(amount) for amount in amounts]


def test_it_is_a_recommender() -> None:
    assert isinstance(ENGINE, Recommender)
    assert ENGINE.Params() == PhpaParams()
    assert ENGINE.Memory() == PhpaMemory()


def test_without_models_it_is_an_hpa() -> None:
    assert Played(params()).turns(30, 50, 20) == [3, 5, 2]


def test_a_line_looks_ahead() -> None:
    played = Played(params(linear(look_ahead_seconds=15)))
    # One more each time: the line is one ahead, from the second record on.
    assert played.turns(20, 30, 40, 50) == [2, 4, 5, 6]
    assert Code.FORECAST_RISE in played.codes


def test_the_maximum_keeps_a_falling_line_from_lowering() -> None:
    assert Played(params(linear(look_ahead_seconds=60))).turns(80, 60, 40) == [8, 6, 4]


def test_the_minimum_lets_it_lower() -> None:
    played = Played(params(linear(look_ahead_seconds=15), decision="minimum"))
    assert played.turns(80, 60, 40) == [8, 4, 2]
    assert Code.FORECAST_RISE not in played.codes


def test_a_line_forgets_what_is_older_than_its_history() -> None:
    played = Played(params(linear(history_size=2, look_ahead_seconds=15)))
    played.turns(10, 10, 10, 20)
    assert [count for _, count in played.memory.models[0].records] == [1, 2]
    # The prediction sees the new record and the two kept: 1, 2, 3 goes on with 4.
    assert played.turn(30) == 4


def test_a_model_may_predict_less_often_than_it_records() -> None:
    played = Played(params(linear(per_sync=3, look_ahead_seconds=15)))
    # It predicts at the third decision, and then at each third one after it.
    assert played.turns(20, 30, 40, 50, 60, 70) == [2, 3, 5, 5, 6, 8]


def test_seasons_that_are_not_known_yet_say_nothing_which_counts() -> None:
    # With two numbers, of which one is 0, the mean is half.
    assert Played(params(seasonal(), decision="mean")).turns(80, 80) == [4, 4]
    assert Played(params(seasonal())).turns(80, 80) == [8, 8]


def test_seasons_come_back() -> None:
    played = Played(params(seasonal(seasonal_periods=4, alpha=0.1, beta=0.1, gamma=0.1)))
    wave = (20, 20, 90, 20)
    played.turns(*wave * 5)
    # 9 is wanted one decision before it is needed.
    assert played.turns(20, 20) == [2, 9]


def test_old_seasons_go_as_a_whole() -> None:
    played = Played(params(seasonal(seasonal_periods=6, stored_seasons=2)))
    played.turns(*[20] * 17)
    assert len(played.memory.models[0].records) == 17
    played.turn(20)
    assert len(played.memory.models[0].records) == 12


def test_a_model_that_starts_later_records_nothing_before() -> None:
    played = Played(params(linear(start_interval_seconds=60)))
    played.turn(20)
    start = played.memory.models[0].starts_at
    assert 0 <= start - NOW < 60
    assert math.isclose(start % 60, 0, abs_tol=1e-6)
    played.turns(20, 20, 20, 20)
    assert all(at >= start for at, _ in played.memory.models[0].records)


def test_a_gap_makes_a_model_forget() -> None:
    played = Played(params(linear(reset_seconds=40), seasonal(reset_seconds=40, start_interval_seconds=15)))
    played.turns(20, 20, 20)
    played.at += 60
    played.turn(20)
    line, season = played.memory.models
    assert len(line.records) == 1
    assert season.records == ()


def test_without_metrics_nothing_is_recorded_and_nothing_lowered() -> None:
    played = Played(params(linear()))
    played.turns(50)
    before = played.memory.models
    assert played.turns(FAILED, FAILED) == [5, 5]
    assert played.memory.models == before


def test_models_that_are_gone_are_forgotten_and_another_kind_starts_anew() -> None:
    played = Played(params(linear(), seasonal()))
    played.turns(20, 20)
    played.settings = params(seasonal(name="line"))
    played.turn(20)
    (only,) = played.memory.models
    assert (only.name, len(only.records)) == ("line", 1)


@pytest.mark.parametrize(
    ("decision", "counts", "chosen"),
    [
        pytest.param("maximum", [3, 1, 2], 3, id="maximum"),
        pytest.param("minimum", [3, 1, 2], 1, id="minimum"),
        pytest.param("mean", [3, 4], 4, id="mean-rounds-half-up"),
        pytest.param("mean", [-5, 1], 0, id="mean-below-nothing-is-nothing"),
        pytest.param("median", [9, 1, 2], 2, id="median-of-three"),
        pytest.param("median", [1, 2, 5, 9], 3, id="median-of-four-is-cut-off"),
    ],
)
def test_decisions(decision: str, counts: list[int], chosen: int) -> None:
    assert decide_replicas(Decision(decision), counts) == chosen


def test_a_line_through_one_moment_is_its_mean() -> None:
    assert line_at(10.0, [5.0, 5.0], [2, 4]) == 3.0


@pytest.mark.parametrize("trend", list(Component))
@pytest.mark.parametrize("season", list(Component))
def test_holt_winters_is_that_of_statsmodels(trend: Component, season: Component) -> None:
    random = np.random.default_rng(7)
    compared = 0
    for _ in range(25):
        periods = int(random.integers(2, 9))
        values = random.integers(1, 20, int(random.integers(max(2 * periods, 18), 60))).astype(float)
        alpha, beta, gamma = random.random(3).round(2).tolist()
        model = ExponentialSmoothing(
            values,
            trend=trend.value,
            seasonal=season.value,
            seasonal_periods=periods,
            initialization_method="estimated",
        )
        with np.errstate(all="ignore"):
            fitted = model.fit(smoothing_level=alpha, smoothing_trend=beta, smoothing_seasonal=gamma, optimized=False)
            expected = float(fitted.forecast(1)[0])
        found = holt_winters_next(
            values.tolist(), periods=periods, factors=(alpha, beta, gamma), trend=trend, seasonal=season
        )
        if math.isfinite(expected) and abs(expected) < 1e9:
            assert found == pytest.approx(expected, rel=1e-7, abs=1e-7)
            compared += 1
    assert compared > 15


def test_a_multiplicative_series_with_zero_has_no_next() -> None:
    values = [0.0, *[2.0] * 20]
    found = holt_winters_next(
        values, periods=2, factors=(0.5, 0.5, 0.5), trend=Component.MULTIPLICATIVE, seasonal=Component.ADDITIVE
    )
    assert math.isnan(found)
    played = Played(params(seasonal(trend="multiplicative", seasonal_periods=2)))
    assert played.turns(0, *[20] * 15)[-1] == 2


def test_too_few_values_are_a_mistake() -> None:
    assert not enough_for_seasons(11, 6)
    with pytest.raises(ValueError, match="not enough for seasons of 6"):
        holt_winters_next(
            [1.0] * 11, periods=6, factors=(0.5, 0.5, 0.5), trend=Component.ADDITIVE, seasonal=Component.ADDITIVE
        )
