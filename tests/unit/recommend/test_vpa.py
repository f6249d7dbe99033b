from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from autoscaler.model.pod import Container, Pod
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Series, Signal, SignalKind
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.units import DAY, GIB, MIB
from autoscaler.recommend.usage_history import VpaMemory, seed_from_history
from autoscaler.recommend.vertical import VpaParams
from autoscaler.recommend.vpa import VpaRecommender
from tests.unit.recommend.vpa_views import APP, KEY, NOW, kill, pods, spec, used, view

VPA = VpaRecommender()
PARAMS = VpaParams()
RULES = spec()


def warm(*names: str, cpu: float = 200.0, memory: float = 300.0 * MIB, days: int = 8) -> VpaMemory:
    """Return the memory of *days* of steady use that ended now."""
    start, steps = NOW - days * DAY, days * 24
    series = {
        SignalKind.POD_CPU: Series(start, 3600.0, np.full(steps, cpu)),
        SignalKind.POD_MEMORY: Series(start, 3600.0, np.full(steps, memory)),
    }
    return seed_from_history(dict.fromkeys(names or ("app",), series), PARAMS)


def advise(rules: MpaSpec, seen: Sequence[Pod], memory: VpaMemory, **fields: Any) -> Recommendation:
    return VPA.recommend(view(rules, used(NOW, seen), seen, **fields), PARAMS, memory)[0]


def codes(recommendation: Recommendation) -> list[Code]:
    return [reason.code for reason in recommendation.reasons]


def test_it_wants_cpu_and_memory_of_the_pods() -> None:
    workload = view(RULES, {}, pods(1)).workload
    kinds = [signal.kind for signal in VPA.signals(workload, RULES, PARAMS)]
    assert kinds == [SignalKind.POD_CPU, SignalKind.POD_MEMORY]


def test_sizes_follow_use() -> None:
    found = advise(RULES, pods(3), warm())
    (size,) = found.containers
    assert 200 * 1.15 <= size.target.cpu <= 200 * 1.15 * 1.08
    assert 300 * MIB * 1.15 <= size.target.memory <= 300 * MIB * 1.15 * 1.08
    assert size.uncapped == size.target
    assert size.limits is None
    assert found.replicas is None
    assert not found.held
    assert codes(found) == [Code.USAGE_BELOW_REQUEST]
    assert found.conditions[0].status == "True"


def test_requests_in_range_are_in_range() -> None:
    found = advise(RULES, pods(3, Container(name="app", requests=Resources.of(cpu=260, memory=390 * MIB))), warm())
    assert codes(found) == [Code.IN_RANGE]


@pytest.mark.parametrize("requests", [Resources.of(cpu=100, memory=390 * MIB), Resources.of(cpu=260)])
def test_requests_too_small_or_absent_rise(requests: Resources) -> None:
    assert codes(advise(RULES, pods(1, Container(name="app", requests=requests)), warm())) == [Code.USAGE_ABOVE_REQUEST]


def test_nothing_is_said_of_what_was_never_measured() -> None:
    found, memory = VPA.recommend(view(RULES, {}, pods(2)), PARAMS, VpaMemory())
    assert found.containers == ()
    assert found.held
    assert codes(found) == [Code.SIGNAL_MISSING, Code.SIGNAL_MISSING, Code.HISTORY_TOO_SHORT]
    assert found.conditions[0].status == "False"
    assert memory == VpaMemory()


def test_a_resource_never_measured_gets_no_size() -> None:
    seen = pods(2)
    found, _ = VPA.recommend(view(RULES, used(NOW, seen, cpu=None), seen), PARAMS, VpaMemory())
    assert found.containers[0].target.names() == ("memory",)
    assert found.held


def test_an_outage_leaves_the_sizes_of_before_and_holds() -> None:
    memory, seen = warm(), pods(2)
    absent = {Signal(KEY, kind): Missing(MissingReason.STALE) for kind in (SignalKind.POD_CPU, SignalKind.POD_MEMORY)}
    found, after = VPA.recommend(view(RULES, absent, seen), PARAMS, memory)
    assert found.containers[0].target == advise(RULES, seen, memory).containers[0].target
    assert found.held
    assert codes(found)[0] is Code.SIGNAL_MISSING
    assert after == memory


def test_a_workload_at_rest_misses_nothing() -> None:
    found, _ = VPA.recommend(view(RULES, {}, []), PARAMS, warm())
    assert not found.held
    assert found.containers


def test_samples_count_once_a_minute() -> None:
    seen, memory = pods(2), VpaMemory()
    for cycle in range(9):
        at = NOW + 15.0 * cycle
        _, memory = VPA.recommend(view(RULES, used(at, seen), seen, at=at), PARAMS, memory)
    assert memory.containers[0].samples == 3 * 2
    assert memory.fed_at == NOW + 120.0
    assert [window.pod for window in memory.windows] == ["web-0", "web-1"]


def test_windows_of_gone_pods_are_forgotten_but_not_their_use() -> None:
    _, memory = VPA.recommend(view(RULES, used(NOW, pods(3)), pods(3)), PARAMS, VpaMemory())
    at = NOW + 60.0
    _, after = VPA.recommend(view(RULES, used(at, pods(1)), pods(1), at=at), PARAMS, memory)
    assert len(after.windows) == 1
    assert after.containers[0].samples == 4


def test_a_history_without_new_samples_is_forgotten_after_eight_days() -> None:
    seen = pods(1, Container(name="new"))
    at = NOW + 9 * DAY
    _, memory = VPA.recommend(view(RULES, used(at, seen), seen, at=at), PARAMS, warm("app"))
    assert [one.container for one in memory.containers] == ["new"]


@pytest.mark.parametrize(
    "sample",
    [
        pytest.param(PodSample("web-0", -1, NOW, 30.0, "app"), id="negative"),
        pytest.param(PodSample("web-0", 1, float("nan"), 30.0, "app"), id="no-time"),
        pytest.param(PodSample("web-0", 1, float("inf"), 30.0, "app"), id="endless-time"),
        pytest.param(PodSample("web-0", 1, NOW + 3600.0, 30.0, "app"), id="from-the-future"),
        pytest.param(PodSample("gone", 1, NOW, 30.0, "app"), id="of-another-pod"),
        pytest.param(PodSample("web-0", 1, NOW, 30.0, "other"), id="of-another-container"),
    ],
)
def test_what_cannot_be_true_does_not_count(sample: PodSample) -> None:
    readings = {Signal(KEY, kind): PodSamples((sample,)) for kind in (SignalKind.POD_CPU, SignalKind.POD_MEMORY)}
    found, memory = VPA.recommend(view(RULES, readings, pods(1)), PARAMS, VpaMemory())
    assert found.containers == ()
    assert memory.containers == ()


def test_a_container_that_does_not_run_yet_does_not_hide_its_later_peak() -> None:
    seen = pods(1)
    _, memory = VPA.recommend(view(RULES, used(NOW, seen, memory=0), seen), PARAMS, VpaMemory())
    at = NOW + 60.0
    found, _ = VPA.recommend(view(RULES, used(at, seen, memory=2 * GIB), seen, at=at), PARAMS, memory)
    assert found.containers[0].target.memory > 2 * GIB


def test_a_whole_pods_sample_is_that_of_its_only_container() -> None:
    readings = {Signal(KEY, SignalKind.POD_CPU): PodSamples((PodSample("web-0", 100, NOW),))}
    _, memory = VPA.recommend(view(RULES, readings, pods(1)), PARAMS, VpaMemory())
    assert memory.containers[0].samples == 1


def test_a_kill_raises_memory_once_and_is_urgent() -> None:
    seen = pods(1, terminations=(kill(NOW - 30.0),))
    memory = warm()
    found, after = VPA.recommend(view(RULES, used(NOW, seen), seen), PARAMS, memory)
    assert found.containers[0].target.memory >= GIB * 1.2
    assert found.urgent
    assert codes(found) == [Code.OOM_KILLED]
    again, last = VPA.recommend(view(RULES, used(NOW, seen), seen, at=NOW + 15.0), PARAMS, after)
    assert again.containers[0].target.memory == found.containers[0].target.memory
    assert again.urgent
    assert last.windows == after.windows


def test_only_controlled_resources_and_containers_are_sized() -> None:
    seen = pods(1, APP, Container(name="log"))
    rules = spec(containerControlledResources=["memory"], container=[{"name": "log", "mode": "Off"}])
    found = advise(rules, seen, warm("app", "log"))
    assert [(size.container, size.target.names()) for size in found.containers] == [("app", ("memory",))]


def test_containers_share_the_minimum_of_the_pod() -> None:
    seen = pods(1, APP, Container(name="log"))
    memory = warm("app", "log", cpu=1.0, memory=1.0)
    found, _ = VPA.recommend(view(RULES, {}, seen), PARAMS, memory)
    assert [size.target for size in found.containers] == [Resources.of(cpu=12, memory=125 * MIB)] * 2


def test_bounds_of_the_container_then_the_global_ones() -> None:
    everywhere: Any = {"global": {"requests": {"minAllowed": {"memory": "1Gi"}, "maxAllowed": {"cpu": "50m"}}}}
    rules = spec(container=[{"name": "app", "requests": {"maxAllowed": {"cpu": "100m"}}}], **everywhere)
    found = advise(rules, pods(1), warm())
    assert found.containers[0].target == Resources.of(cpu=100, memory=GIB)
    assert found.containers[0].uncapped.cpu > 200
    assert codes(found).count(Code.CAPPED_BY_POLICY) == 2


def test_bounds_of_the_pod_count_what_is_not_sized() -> None:
    seen = pods(1, APP, Container(name="log", requests=Resources.of(cpu=100)))
    rules = spec(container=[{"name": "log", "mode": "Off"}], pod={"requests": {"maxAllowed": {"cpu": "150m"}}})
    assert advise(rules, seen, warm("app")).containers[0].target.cpu == 50


def test_no_size_is_larger_than_the_largest_node() -> None:
    found = advise(RULES, pods(1), warm(), largest_node=Resources.of(cpu=150, memory=GIB))
    assert found.containers[0].target.cpu == 150
    assert Code.CAPPED_BY_NODE in codes(found)


@pytest.mark.parametrize(
    ("limits", "target", "after"),
    [
        pytest.param("RequestsOnly", 200, None, id="requests-stay-below-limits-that-stay"),
        pytest.param("KeepRatio", 247, 494, id="the-ratio-is-kept"),
        pytest.param("Guaranteed", 247, 247, id="limits-are-requests"),
    ],
)
def test_limits(limits: str, target: int, after: int | None) -> None:
    container = Container(name="app", requests=Resources.of(cpu=100), limits=Resources.of({"cpu": 200, "gpu": 1}))
    rules = spec(container=[{"name": "*", "limits": limits}], containerControlledResources=["cpu"])
    (size,) = advise(rules, pods(1, container), warm()).containers
    assert size.target.cpu == pytest.approx(target, abs=5)
    assert size.limits == (
        None if after is None else Resources.of({"cpu": size.target.cpu * after // target, "gpu": 1})
    )


def test_sizes_are_rounded_up() -> None:
    params = VpaParams(round_cpu_millicores=50, round_memory_bytes=64 * MIB)
    found, _ = VPA.recommend(view(RULES, used(NOW, pods(1)), pods(1)), params, warm())
    assert found.containers[0].target == Resources.of(cpu=250, memory=384 * MIB)


def test_a_seeded_memory_has_the_confidence_of_its_time() -> None:
    (size,) = advise(RULES, pods(1), warm(days=7)).containers
    assert size.upper.cpu / size.target.cpu == pytest.approx(1.14, abs=0.02)


def test_gaps_in_the_history_are_skipped() -> None:
    values = np.array([np.nan, 100.0, -1.0, np.inf])
    memory = seed_from_history({"app": {SignalKind.POD_CPU: Series(NOW, 60.0, values)}}, PARAMS)
    assert memory.containers[0].samples == 1


def test_memory_survives_json() -> None:
    _, memory = VPA.recommend(view(RULES, used(NOW, pods(2)), pods(2)), PARAMS, warm())
    assert msgspec.json.decode(msgspec.json.encode(memory), type=VpaMemory) == memory


def test_damaged_memory_is_an_error() -> None:
    (history,) = warm().containers
    broken = msgspec.structs.replace(history, cpu=msgspec.structs.replace(history.cpu, values=b"?"))
    with pytest.raises(ValueError):
        advise(RULES, pods(1), VpaMemory(containers=(broken,)))
