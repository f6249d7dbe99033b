"""What holds for the actions of a workload, whatever sizes an engine asks for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.plan import EvictPod, ResizePod, SetRequests
from autoscaler.model.pod import Pod, Resize
from autoscaler.model.policy import ActionRules, MpaSpec, ResizeMode, ScalingPolicySpec, UpdateMode
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.snapshot import Prices
from autoscaler.model.spec import TargetRef
from autoscaler.planning.effective import Effective
from autoscaler.planning.workload_actions import Surroundings, workload_actions
from autoscaler.testing.builders import NOW, make_pod, make_shape, make_workload

KEY = "default/Deployment/web"
AMOUNT = st.integers(0, 2**62) | st.integers(0, 2000)
TIME = st.floats(allow_nan=True, allow_infinity=True) | st.floats(NOW - 1e5, NOW)
AMOUNTS = st.dictionaries(st.sampled_from(["cpu", "memory"]), AMOUNT, max_size=2).map(Resources.of)
SIZES = st.lists(
    st.builds(
        ContainerSize,
        container=st.sampled_from(["app", "gone"]),
        target=AMOUNTS,
        lower=AMOUNTS,
        upper=AMOUNTS,
        limits=st.none() | AMOUNTS,
    ),
    max_size=2,
    unique_by=lambda size: size.container,
)


@st.composite
def pods(draw: st.DrawFn) -> list[Pod]:
    shapes = [make_shape(cpu=draw(AMOUNT), memory=draw(AMOUNT), limits=dict(draw(AMOUNTS).items())) for _ in range(2)]
    states = st.none() | st.builds(
        Resize, state=st.sampled_from(["", "Deferred", "Infeasible", "InProgress"]), since=TIME
    )
    return [
        make_pod(
            f"web-{number}",
            shape=draw(st.sampled_from(shapes)),
            node=draw(st.sampled_from(["", "node-1"])),
            started_at=draw(st.none() | TIME),
            resize=draw(states),
        )
        for number in range(draw(st.integers(0, 6)))
    ]


@settings(max_examples=150, deadline=None)
@given(
    SIZES,
    pods(),
    st.sampled_from(["joint", "hpa+vpa", "plug-in"]),
    st.sampled_from(ResizeMode),
    st.sampled_from(UpdateMode),
    st.booleans(),
    TIME,
)
def test_actions_are_told_once_a_pod_and_shrink_nothing_while_something_is_missing(
    sizes: list[ContainerSize],
    given_pods: list[Pod],
    engine: str,
    how: ResizeMode,
    mode: UpdateMode,
    held: bool,
    now: float,
) -> None:
    spec = MpaSpec(scale_target_ref=TargetRef(kind="Deployment", name="web"), policy=ActionRules(resize=how))
    effective = Effective(workload=KEY, spec=spec, rules=ScalingPolicySpec(), mode=mode, engine=engine)
    advice = Recommendation(workload=KEY, engine=engine, containers=tuple(sizes), held=held)
    workload = make_workload(replicas=len(given_pods))
    around = Surroundings(prices=Prices(), now=now)
    done = workload_actions(workload, effective, advice, given_pods, around=around)
    assert done == workload_actions(workload, effective, advice, given_pods, around=around)
    assert mode is UpdateMode.AUTO or all(isinstance(action, SetRequests) for action in done.actions)
    by_key = {pod.key: pod for pod in given_pods}
    moved = [action.pod for action in (*done.actions, *done.advised) if isinstance(action, ResizePod | EvictPod)]
    assert len(moved) == len(set(moved))
    assert set(moved) <= set(by_key)
    if engine != "joint":
        assert sum(bool(by_key[key].node) for key in moved) <= max(1, len(given_pods) // 2)
    for action in (*done.actions, *done.advised):
        if isinstance(action, ResizePod | SetRequests):
            assert action.containers
            shape = by_key[action.pod].shape if isinstance(action, ResizePod) else workload.template
            now_asked = {container.name: container.requests for container in shape.containers}
            for size in action.containers:
                for name, target in size.target.items():
                    assert not held or target > now_asked.get(size.container, NOTHING).get(name)
