from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from autoscaler.model.plan import AnyAction, EvictPod, ResizePod, SetReplicas, SetRequests
from autoscaler.model.pod import Pod, Resize, Termination
from autoscaler.model.policy import ActionRules, MpaSpec, Pause, ResizeMode, ScalingPolicySpec, UpdateMode
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import Prices
from autoscaler.model.spec import TargetRef
from autoscaler.model.units import GIB, HOUR, MIB
from autoscaler.planning.effective import Effective
from autoscaler.planning.workload_actions import Surroundings, WorkloadActions, growing, workload_actions
from autoscaler.testing.builders import NOW, make_node, make_pod, make_shape, make_workload

KEY = "default/Deployment/web"
PRICES = Prices(usd_per_core_hour=0.03, usd_per_gib_hour=0.004)
WHY = (Reason(Code.LOAD_NEEDS_MORE, "because"),)


def governed(engine: str = "hpa+vpa", *, mode: UpdateMode = UpdateMode.AUTO, **rules: Any) -> Effective:
    spec = MpaSpec(scale_target_ref=TargetRef(kind="Deployment", name="web"), policy=ActionRules(**rules))
    return Effective(workload=KEY, spec=spec, rules=ScalingPolicySpec(), mode=mode, engine=engine)


def sized(
    memory: int, *, low: int | None = None, high: int | None = None, limits: Mapping[str, int] | None = None
) -> ContainerSize:
    """Return a size of so many MiB, right from *low* to *high*."""
    return ContainerSize(
        container="app",
        target=Resources.of(memory=memory * MIB),
        lower=Resources.of(memory=(low or memory) * MIB),
        upper=Resources.of(memory=(high or memory) * MIB),
        limits=None if limits is None else Resources.of(limits),
    )


def advice(*sizes: ContainerSize, **fields: Any) -> Recommendation:
    return Recommendation(workload=KEY, engine="any", containers=sizes, reasons=WHY, **fields)


def running(count: int, *, memory: int = 512, **fields: Any) -> list[Pod]:
    shape = make_shape(memory=memory * MIB)
    return [make_pod(f"web-{number}", shape=shape, **fields) for number in range(count)]


AROUND = Surroundings(prices=PRICES, now=NOW)


def act(
    effective: Effective,
    wanted: Recommendation,
    pods: Sequence[Pod],
    *,
    memory: int = 512,
    around: Surroundings = AROUND,
) -> WorkloadActions:
    workload = make_workload(replicas=len(pods), template=make_shape(memory=memory * MIB))
    return workload_actions(workload, effective, wanted, pods, around=around)


def told(actions: Sequence[AnyAction]) -> list[str]:
    """Return kind and object of each action."""
    return [
        f"{type(action).__name__} {action.pod if isinstance(action, ResizePod | EvictPod) else KEY}"
        for action in actions
    ]


def of_kind(done: WorkloadActions, kind: type[Any]) -> list[Any]:
    return [action for action in done.actions if isinstance(action, kind)]


def test_the_updaters_tolerance_holds_for_sizes_of_the_vpa() -> None:
    done = act(governed("hpa+vpa"), advice(sized(800, low=600, high=900)), running(10))
    assert len(of_kind(done, ResizePod)) == 5
    assert [action.containers[0].target.memory for action in of_kind(done, SetRequests)] == [800 * MIB]


def test_the_joint_engines_sizes_go_to_all_pods_at_once() -> None:
    done = act(governed("joint"), advice(sized(800)), running(10))
    assert len(of_kind(done, ResizePod)) == 10
    assert of_kind(done, ResizePod)[0].reasons == WHY


@pytest.mark.parametrize("engine", ["vpa", "mpa", "hpa+vpa", "plug-in"])
def test_what_is_in_range_and_young_is_left_alone(engine: str) -> None:
    done = act(governed(engine), advice(sized(540, low=400, high=900)), running(4))
    assert done.actions == ()
    assert done.shape.containers[0].requests.memory == 512 * MIB


def test_pods_of_twelve_hours_and_a_tenth_off_take_the_template_with_them() -> None:
    old = running(4, started_at=NOW - 12 * HOUR)
    done = act(governed("vpa"), advice(sized(600, low=400, high=900)), old)
    assert len(of_kind(done, ResizePod)) == 2
    assert len(of_kind(done, SetRequests)) == 1
    assert done.shape.containers[0].requests.memory == 600 * MIB


def test_a_pod_killed_soon_after_its_start_is_resized_within_its_range() -> None:
    kill = Termination(container="app", reason="OOMKilled", started_at=NOW - 120, finished_at=NOW - 60)
    pods = [*running(3), make_pod("web-9", shape=make_shape(), terminations=(kill,))]
    done = act(governed("vpa"), advice(sized(540, low=400, high=900), urgent=True), pods)
    assert told(done.actions) == [f"SetRequests {KEY}", "ResizePod default/web-9"]
    assert of_kind(done, ResizePod)[0].reasons[0].code is Code.OOM_KILLED


def test_why_a_size_changes_is_told_before_why_replicas_do() -> None:
    load, use = Reason(Code.UNCHANGED, "2 cores"), Reason(Code.USAGE_ABOVE_REQUEST, "memory needs 800Mi")
    wanted = msgspec.structs.replace(advice(sized(800)), reasons=(load, use))
    done = act(governed("joint"), wanted, running(2))
    assert [action.reasons for action in done.actions] == [(use, load)] * 3


@pytest.mark.parametrize(
    ("replicas", "moved"),
    [pytest.param(1, 0, id="one-replica-is-too-few"), pytest.param(2, 1, id="one-of-two"), pytest.param(5, 2, id="5")],
)
def test_how_many_pods_move_in_one_cycle(replicas: int, moved: int) -> None:
    done = act(governed("vpa"), advice(sized(800)), running(replicas))
    assert len(of_kind(done, ResizePod)) == moved


@pytest.mark.parametrize("engine", ["hpa+vpa", "joint"])
@pytest.mark.parametrize(
    ("how", "kinds"),
    [
        (ResizeMode.IN_PLACE, {"ResizePod"}),
        (ResizeMode.IN_PLACE_OR_RECREATE, {"ResizePod"}),
        (ResizeMode.RECREATE, {"EvictPod"}),
        (ResizeMode.ON_RESTART, set()),
    ],
)
def test_the_resize_mode_says_how(engine: str, how: ResizeMode, kinds: set[str]) -> None:
    done = act(governed(engine, resize=how), advice(sized(800)), running(2))
    assert {type(action).__name__ for action in done.actions} == kinds | {"SetRequests"}


@pytest.mark.parametrize("engine", ["hpa+vpa", "joint"])
@pytest.mark.parametrize(
    ("how", "kinds"),
    [
        pytest.param(ResizeMode.IN_PLACE, {"ResizePod"}, id="in-place"),
        pytest.param(ResizeMode.IN_PLACE_OR_RECREATE, {"ResizePod"}, id="in-place-where-it-can-be"),
        pytest.param(ResizeMode.RECREATE, {"SetRequests"}, id="by-rolling-out"),
        pytest.param(ResizeMode.ON_RESTART, set(), id="not-at-all"),
    ],
)
def test_the_template_moves_without_admission_only_where_pods_start_anew(
    engine: str, how: ResizeMode, kinds: set[str]
) -> None:
    around = AROUND._replace(sizes_at_admission=False)
    done = act(governed(engine, resize=how), advice(sized(800)), running(4), around=around)
    assert {type(action).__name__ for action in done.actions} == kinds
    assert done.shape.containers[0].requests.memory == (800 if how is ResizeMode.RECREATE else 512) * MIB
    told_why = [] if done.note is None else [reason.code for reason in done.note.reasons]
    assert (Code.NEEDS_ADMISSION in told_why) == (how is ResizeMode.ON_RESTART)


@pytest.mark.parametrize("engine", ["hpa+vpa", "joint"])
def test_a_roll_out_takes_the_place_of_evictions_without_admission(engine: str) -> None:
    pods = running(4, resize=Resize(state="Infeasible", since=NOW - 60))
    around = AROUND._replace(sizes_at_admission=False)
    done = act(governed(engine), advice(sized(800)), pods, around=around)
    assert told(done.actions) == [f"SetRequests {KEY}"]
    right = act(governed(engine), advice(sized(800)), pods, memory=800, around=around)
    assert of_kind(right, EvictPod)
    assert not of_kind(right, SetRequests)


@pytest.mark.parametrize("engine", ["hpa+vpa", "joint"])
@pytest.mark.parametrize(
    ("how", "kind"),
    [pytest.param(ResizeMode.IN_PLACE, None, id="left"), pytest.param(None, EvictPod, id="recreated")],
)
def test_a_pod_is_not_resized_beyond_its_node(engine: str, how: ResizeMode | None, kind: type[Any] | None) -> None:
    pods = running(4, node="small")
    small = make_node("small", cpu=2000, memory=700 * MIB)
    done = act(governed(engine, resize=how), advice(sized(800)), pods, around=AROUND._replace(nodes={"small": small}))
    assert not of_kind(done, ResizePod)
    assert bool(of_kind(done, EvictPod)) == (kind is EvictPod)


@pytest.mark.parametrize("engine", ["hpa+vpa", "joint"])
def test_a_change_of_the_qos_class_is_not_tried_in_place(engine: str) -> None:
    shape = make_shape(limits={"cpu": 500, "memory": 512 * MIB})
    pods = [make_pod(f"web-{number}", shape=shape) for number in range(2)]
    wanted = advice(sized(800, limits={"cpu": 500, "memory": GIB}))
    assert of_kind(act(governed(engine), wanted, pods), EvictPod)
    assert not of_kind(act(governed(engine, resize=ResizeMode.IN_PLACE), wanted, pods), EvictPod)


@pytest.mark.parametrize("engine", ["hpa+vpa", "joint"])
@pytest.mark.parametrize(
    ("state", "waited", "moved"),
    [
        pytest.param("Infeasible", 0, True, id="infeasible"),
        pytest.param("Deferred", 300, False, id="deferred-for-5-min"),
        pytest.param("Deferred", 301, True, id="deferred-for-longer"),
        pytest.param("InProgress", 3601, True, id="in-progress-for-more-than-an-hour"),
    ],
)
def test_a_resize_that_does_not_end_ends_in_a_restart(engine: str, state: str, waited: float, moved: bool) -> None:
    # A resized pod's spec shows what is wanted already.
    stuck = make_pod("web-7", shape=make_shape(memory=800 * MIB), resize=Resize(state=state, since=NOW - waited))
    pods = [stuck, *running(1, memory=800)]
    done = act(governed(engine), advice(sized(800)), pods, memory=800)
    assert told(done.actions) == (["EvictPod default/web-7"] if moved else [])
    kept = act(governed(engine, resize=ResizeMode.IN_PLACE), advice(sized(800)), pods, memory=800)
    assert kept.actions == ()


def test_a_newer_joint_size_replaces_one_that_waits() -> None:
    waiting = make_pod("web-7", shape=make_shape(memory=800 * MIB), resize=Resize(state="Deferred", since=NOW - 60))
    done = act(governed("joint"), advice(sized(600)), [waiting])
    assert [action.containers[0].target.memory for action in of_kind(done, ResizePod)] == [600 * MIB]
    assert not of_kind(act(governed("vpa"), advice(sized(600)), [waiting, *running(1, memory=600)]), ResizePod)


def test_pods_that_wait_for_a_node_may_always_be_replaced() -> None:
    pods = [*running(2), *(make_pod(f"new-{number}", node="", shape=make_shape()) for number in range(4))]
    done = act(governed("vpa"), advice(sized(800)), pods)
    assert [action.pod for action in of_kind(done, EvictPod)] == [f"default/new-{number}" for number in range(4)]
    assert not of_kind(act(governed("joint"), advice(sized(800)), pods), EvictPod)


def test_while_something_is_missing_sizes_only_grow() -> None:
    both = ContainerSize(
        container="app",
        target=Resources.of(cpu=200, memory=800 * MIB),
        lower=Resources.of(cpu=200, memory=800 * MIB),
        upper=Resources.of(cpu=200, memory=800 * MIB),
        limits=Resources.of(cpu=400, memory=GIB),
    )
    done = act(governed("joint"), advice(both, held=True), running(2))
    resizes: list[Any] = list(done.actions)
    targets = [dict(action.containers[0].target.items()) for action in resizes]
    assert targets == [{"memory": 800 * MIB}] * 3
    assert act(governed("joint"), advice(sized(100), held=True), running(2)).actions == ()


def test_growing_keeps_limits_that_are_higher() -> None:
    shape = make_shape(limits={"cpu": 1000, "memory": 512 * MIB})
    (kept,) = growing(shape, [sized(800, limits={"cpu": 600, "memory": GIB})])
    assert kept.limits == Resources.of(cpu=1000, memory=GIB)
    assert growing(shape, [sized(512), sized(100)]) == ()


def test_recommend_tells_and_initial_changes_new_pods_alone() -> None:
    wanted = advice(sized(800), replicas=4)
    only_told = act(governed(mode=UpdateMode.RECOMMEND), wanted, running(2))
    assert only_told.actions == ()
    assert {type(action) for action in only_told.advised} == {SetRequests, ResizePod, SetReplicas}
    assert only_told.note is not None
    initial = act(governed(mode=UpdateMode.INITIAL), wanted, running(2))
    assert [type(action) for action in initial.actions] == [SetRequests]
    assert initial.replicas == 2


@pytest.mark.parametrize(
    ("pause", "replicas", "moved"),
    [(Pause(up=True), 5, False), (Pause(up=True), 1, True), (Pause(down=True), 1, False), (Pause(down=True), 5, True)],
)
def test_a_pause_holds_one_direction(pause: Pause, replicas: int, moved: bool) -> None:
    done = act(governed(pause=pause), advice(replicas=replicas), running(3))
    assert bool(of_kind(done, SetReplicas)) is moved
    assert moved or (done.note is not None and done.note.reasons[0].code is Code.PAUSED)


def test_costs_are_those_of_the_shape_to_come() -> None:
    done = act(governed("joint"), advice(sized(1024), replicas=4), running(2))
    (template,) = of_kind(done, SetRequests)
    (scale,) = of_kind(done, SetReplicas)
    assert template.usd_per_hour == pytest.approx(2 * 0.5 * 0.004)
    assert scale.usd_per_hour == pytest.approx(2 * (0.5 * 0.03 + 0.004), rel=1e-3)
