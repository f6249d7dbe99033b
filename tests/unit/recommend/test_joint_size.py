from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from autoscaler.interfaces import WorkloadView
from autoscaler.model.pod import Termination
from autoscaler.model.readings import Missing
from autoscaler.model.reasons import Code
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import DemandModel
from autoscaler.model.units import GIB, MIB
from autoscaler.recommend.joint_size import main_container, memory_at
from autoscaler.recommend.joint_view import JointMemory
from autoscaler.testing.builders import NOW
from tests.unit.recommend.joint_views import GAP, LEARNED, SEEN, ask, later, model, readings, sidecar, spec, view


def killed(given: WorkloadView, *, container: str = "app", at: float = NOW - 60.0) -> WorkloadView:
    """Return the view with its first pod's container killed for want of memory."""
    end = Termination(container=container, reason="OOMKilled", started_at=at - 600, finished_at=at)
    first, *rest = given.pods
    return msgspec.structs.replace(given, pods=(msgspec.structs.replace(first, terminations=(end,)), *rest))


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        pytest.param(500, None, id="it-has-that-shape"),
        pytest.param(1000, 1000, id="a-larger-shape"),
        pytest.param(250, 250, id="a-smaller-shape"),
        pytest.param(0, 10, id="never-nothing"),
    ],
)
def test_cpu_is_that_of_the_chosen_shape(wanted: int, target: int | None) -> None:
    advice, _ = ask(view(model=model(cpu=wanted)))
    assert [size.target.get("cpu") for size in advice.containers] == ([] if target is None else [target])


def test_a_new_shape_is_kept_for_hours() -> None:
    _, memory = ask(view(model=model(cpu=250)))
    assert memory.sized_at == NOW
    soon, _ = ask(later(view(model=model(cpu=1000)), 3600.0), memory)
    assert soon.containers == ()
    then, _ = ask(later(view(model=model(cpu=1000)), 21_600.0), memory)
    assert then.containers[0].target.cpu == 1000


@pytest.mark.parametrize("cpu", [GAP, math.nan, -1.0], ids=["missing", "nan", "negative"])
def test_cpu_is_not_lowered_while_the_work_is_unknown(cpu: float | Missing) -> None:
    lower, _ = ask(view(readings(**{**SEEN, "Cpu": cpu}), model=model(cpu=250)))
    assert lower.containers == ()
    higher, _ = ask(view(readings(**{**SEEN, "Cpu": cpu}), model=model(cpu=1000)))
    assert higher.containers[0].target.cpu == 1000


@pytest.mark.parametrize("peak", [GAP, math.nan, math.inf], ids=["missing", "nan", "infinite"])
def test_memory_is_not_lowered_while_its_peak_is_unknown(peak: float | Missing) -> None:
    advice, _ = ask(view(readings(**{**SEEN, "MemoryPeak": peak}), model=model(), memory=4 * GIB))
    assert advice.containers == ()


@pytest.mark.parametrize(
    ("now", "peak", "target", "code"),
    [
        pytest.param(384, 300, None, None, id="in-range"),
        pytest.param(256, 300, 352, Code.USAGE_ABOVE_REQUEST, id="below-what-was-seen"),
        pytest.param(512, 600, 704, Code.USAGE_ABOVE_REQUEST, id="a-new-peak"),
        pytest.param(4096, 300, 352, Code.USAGE_BELOW_REQUEST, id="far-above"),
    ],
)
def test_memory_follows_the_learned_and_the_seen_peak(
    now: int, peak: int, target: int | None, code: Code | None
) -> None:
    advice, _ = ask(view(readings(**{**SEEN, "MemoryPeak": peak * MIB}), model=model(), memory=now * MIB))
    assert [size.target.memory for size in advice.containers] == ([] if target is None else [target * MIB])
    assert code is None or code in {reason.code for reason in advice.reasons}


def test_without_a_model_memory_is_left_alone() -> None:
    advice, _ = ask(view(readings(**{**SEEN, "MemoryPeak": 5.0 * GIB})))
    assert advice.containers == ()


@pytest.mark.parametrize(
    ("limit", "target"),
    [
        pytest.param(256, 320, id="a-quarter-more-of-little"),
        pytest.param(4096, 4928, id="a-fifth-more-of-much"),
        pytest.param(0, 640, id="the-request-where-there-is-no-limit"),
    ],
)
def test_a_kill_raises_memory_at_once(limit: int, target: int) -> None:
    limits = {"memory": limit * MIB} if limit else {}
    given = killed(view(memory=min(limit or 512, 512) * MIB, limits=limits))
    advice, memory = ask(given)
    assert advice.urgent
    assert advice.containers[0].target.memory == target * MIB
    assert advice.containers[0].limits == (Resources.of(memory=target * MIB) if limit else None)
    assert {Code.OOM_KILLED} <= {reason.code for reason in advice.reasons}
    again, after = ask(later(given, 60.0), memory)
    assert not again.urgent
    assert after.memory_floor == memory.memory_floor


def test_a_kill_is_the_reason_also_where_the_peak_seen_asks_for_more() -> None:
    given = killed(view(readings(**{**SEEN, "MemoryPeak": 900 * MIB}), model=model(), memory=512 * MIB))
    advice, _ = ask(given)
    assert advice.containers[0].target.memory == 1024 * MIB
    (reason,) = [reason for reason in advice.reasons if reason.code is Code.OOM_KILLED]
    assert reason.message == "killed for want of memory: it needs 1Gi, 512Mi is asked for"


def test_a_kill_of_a_sidecar_is_not_the_main_container_s() -> None:
    advice, memory = ask(killed(view(sidecars=(sidecar(),)), container="proxy"))
    assert advice.containers == ()
    assert memory.memory_floor == 0


def test_after_a_kill_a_sidecar_s_share_is_not_taken_off() -> None:
    advice, _ = ask(killed(view(sidecars=(sidecar(memory=2 * GIB),), memory=3 * GIB), container="app"))
    assert advice.containers[0].target.memory > 3 * GIB


def test_what_sidecars_ask_for_is_taken_off_what_the_pod_needs() -> None:
    given = view(sidecars=(sidecar(cpu=100, memory=128 * MIB),), memory=4 * GIB, model=model(cpu=1000))
    advice, _ = ask(given)
    assert advice.containers[0].container == "app"
    assert advice.containers[0].target == Resources.of(cpu=900, memory=(352 - 128) * MIB)


@pytest.mark.parametrize(
    ("constraints", "target"),
    [
        pytest.param({"container": [{"name": "app", "requests": {"minAllowed": {"cpu": "400m"}}}]}, 400, id="own-low"),
        pytest.param({"container": [{"name": "*", "requests": {"minAllowed": {"cpu": "350m"}}}]}, 350, id="all-low"),
        pytest.param({"global": {"requests": {"minAllowed": {"cpu": "300m"}}}}, 300, id="global-low"),
        pytest.param({"container": [{"name": "app", "requests": {"maxAllowed": {"cpu": "200m"}}}]}, 200, id="own-high"),
        pytest.param({"global": {"requests": {"maxAllowed": {"cpu": "100m"}}}}, 100, id="global-high"),
        pytest.param({"container": [{"name": "app", "mode": "Off"}]}, None, id="off-is-left-alone"),
        pytest.param({"containerControlledResources": ["memory"]}, None, id="cpu-is-not-controlled"),
    ],
)
def test_bounds_of_the_policy(constraints: dict[str, Any], target: int | None) -> None:
    advice, _ = ask(view(model=model(cpu=250), spec=spec(constraints=constraints)))
    assert [size.target.cpu for size in advice.containers] == ([] if target is None else [target])


def test_nothing_is_larger_than_the_largest_node() -> None:
    advice, _ = ask(view(model=model(cpu=8000), largest_node=Resources.of(cpu=3900, memory=15 * GIB)))
    assert advice.containers[0].target.cpu == 3900
    assert Code.CAPPED_BY_NODE in {reason.code for reason in advice.reasons}


@pytest.mark.parametrize(
    ("policy", "limits"),
    [
        pytest.param("RequestsOnly", {"cpu": 800}, id="left-alone"),
        pytest.param("KeepRatio", {"cpu": 400}, id="in-proportion"),
        pytest.param("Guaranteed", {"cpu": 250}, id="equal-to-requests"),
    ],
)
def test_limits_as_the_policy_has_them(policy: str, limits: dict[str, int]) -> None:
    document = spec(constraints={"container": [{"name": "*", "limits": policy}]})
    advice, _ = ask(view(model=model(cpu=250), spec=document, limits={"cpu": 800}))
    assert (advice.containers[0].limits or Resources.of(cpu=800)).get("cpu") == limits["cpu"]


def test_memory_for_full_parallelism() -> None:
    slope = DemandModel(base_bytes=100.0, bytes_per_core=50.0, peak_bytes=120.0)
    assert memory_at(slope, 2.0) == pytest.approx(200 * 1.12)
    assert memory_at(LEARNED, 2.0) == pytest.approx(300 * MIB * 1.15)


def test_the_main_container_is_the_largest_then_by_name() -> None:
    found = main_container(view(sidecars=(sidecar(cpu=500, memory=512 * MIB),)))
    assert found is not None
    assert found.name == "proxy"


def test_an_absurd_model_counts_as_none() -> None:
    absurd = DemandModel(base_bytes=1e300, bytes_per_core=1e300, peak_bytes=math.inf)
    advice, _ = ask(view(model=model(demand=absurd, cpu=50)), JointMemory())
    assert advice.containers == ()
    assert advice.replicas == 2


@pytest.mark.parametrize(
    ("most", "cores", "target"),
    [
        pytest.param(1, 1.5, 2000, id="one-pod-must-do-it-all"),
        pytest.param(4, 1.5, None, id="four-pods-share-it"),
        pytest.param(1, 50.0, 2000, id="not-past-what-a-pod-can-use"),
    ],
)
def test_what_cannot_scale_out_grows_at_once(most: int, cores: float, target: int | None) -> None:
    """A workload at its most replicas is served by larger pods, by a step of the ladder."""
    bounds = {"global": {"minReplicas": 1, "maxReplicas": most}}
    document = {"goals": {"slo": {"parallelism": 2}}, "constraints": bounds}
    advice, _ = ask(view(readings(Cpu=cores, Ready=1.0), spec=spec(**document)))
    grown = [size.target.cpu for size in advice.containers if size.target.has("cpu")]
    assert grown == ([] if target is None else [target])


@pytest.mark.parametrize(
    ("pod", "target"),
    [
        pytest.param({"maxAllowed": {"cpu": "600m"}}, 500, id="what-the-others-leave-of-the-most"),
        pytest.param({"minAllowed": {"cpu": "2"}}, 1900, id="what-the-others-lack-to-the-least"),
        pytest.param({"maxAllowed": {"cpu": "5"}}, 900, id="wide-enough"),
        pytest.param({"maxAllowed": {"cpu": "50m"}}, 900, id="the-others-alone-are-too-much"),
    ],
)
def test_the_pods_sum_keeps_to_its_bounds(pod: dict[str, Any], target: int) -> None:
    bounded = spec(constraints={"pod": {"requests": pod}})
    advice, _ = ask(view(model=model(cpu=1000), spec=bounded, sidecars=(sidecar(),), cpu=300))
    assert [size.target.cpu for size in advice.containers] == [target]


def test_nothing_is_sized_where_nothing_is_controlled() -> None:
    none = spec(constraints={"containerControlledResources": []})
    assert ask(view(model=model(cpu=1000), spec=none))[0].containers == ()
