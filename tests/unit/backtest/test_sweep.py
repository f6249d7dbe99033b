"""Knobs and their values."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from autoscaler.backtest.engines import ENGINES, Settings, settings_of
from autoscaler.backtest.runner import check_settings, jobs_of
from autoscaler.backtest.scenario import load_scenario
from autoscaler.backtest.sweep import Value, read_knobs
from autoscaler.errors import InputError
from autoscaler.model.spec import Duration

ALL = tuple(ENGINES)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param([], {}, id="none"),
        pytest.param(["target=0.5, 0.7"], {"target": (0.5, 0.7)}, id="shares"),
        pytest.param(["history=6,20"], {"history": (6, 20)}, id="whole-numbers-stay-whole"),
        pytest.param(["use_oom_data=true,false"], {"use_oom_data": (True, False)}, id="flags"),
        pytest.param(["nodes.expander=price,random"], {"nodes.expander": ("price", "random")}, id="words"),
        pytest.param(["target=1", "fill=0.5"], {"target": (1,), "fill": (0.5,)}, id="several"),
    ],
)
def test_knobs(texts: Sequence[str], expected: dict[str, tuple[Value, ...]]) -> None:
    assert read_knobs(texts, ALL) == expected


@pytest.mark.parametrize(
    ("texts", "engines", "said"),
    [
        pytest.param(["target"], ALL, "knob=value,value", id="no-values"),
        pytest.param(["target="], ALL, "knob=value,value", id="empty"),
        pytest.param(["target=0.5,0.5"], ALL, "different values", id="twice"),
        pytest.param(["target=0.5", "target=0.6"], ALL, "each once of", id="a-knob-twice"),
        pytest.param(["speed=3"], ALL, "'speed' is not valid", id="unknown"),
        pytest.param(["quantile=0.5"], ("hpa",), "each once of safe, target", id="not-of-these-engines"),
        pytest.param(["target=0"], ALL, "above 0, at most 1", id="zero"),
        pytest.param(["target=70"], ALL, "above 0, at most 1", id="percent"),
        pytest.param(["target=nan"], ALL, "above 0, at most 1", id="not-a-number"),
        pytest.param(["polling=soon"], ALL, "a number", id="a-word-for-a-number"),
        pytest.param(["use_oom_data=1"], ALL, "true or false", id="a-number-for-a-flag"),
    ],
)
def test_what_is_no_knob(texts: Sequence[str], engines: Sequence[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_knobs(texts, engines)


@pytest.mark.parametrize(
    ("engine", "further"),
    [
        pytest.param("hpa", [{"target": 0.5}], id="the-default-is-not-run-twice"),
        pytest.param(
            "cron+hpa",
            [
                {"target": 0.5, "quantile": 0.8},
                {"target": 0.5, "quantile": 0.95},
                {"target": 0.7, "quantile": 0.8},
            ],
            id="all-combinations",
        ),
        pytest.param("krr", [], id="without-the-knob"),
    ],
)
def test_knobs_take_the_place_of_the_engine_s_points(engine: str, further: list[Settings]) -> None:
    entry = ENGINES[engine]
    knobs = {"target": (0.5, 0.7), "quantile": (0.8, 0.95)}
    assert settings_of(entry, sweep=True, knobs=knobs) == (entry.settings, *further)


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_each_engine_has_three_to_six_points_of_its_own(engine: str) -> None:
    assert 3 <= len(settings_of(ENGINES[engine], sweep=True, knobs={})) <= 6


def test_points_of_all_engines_make_valid_documents() -> None:
    scenario = load_scenario("tiny")
    jobs = jobs_of(scenario, ALL, path="tiny", sweep=True)
    check_settings([msgspec.structs.replace(job, preset=False) for job in jobs], scenario.world())


def test_a_value_that_the_engine_refuses_is_bad_input() -> None:
    scenario = load_scenario("tiny")
    jobs = jobs_of(scenario, ["joint"], path="tiny", sweep=True, knobs={"utilisation": (5,)})
    with pytest.raises(InputError, match="utilisation"):
        check_settings(jobs, scenario.world())


def test_the_first_part_of_a_scenario_has_the_faults_that_fall_into_it() -> None:
    scenario = load_scenario("s9-dirty-input")
    short = scenario.first(Duration("6h"))
    assert short.file.length.seconds == 6 * 3600
    assert len(short.file.faults) == 1
    assert scenario.first(Duration("30d")).file.length == scenario.file.length
