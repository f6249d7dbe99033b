from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
import pytest

from autoscaler.interfaces import Recommender, WorkloadView
from autoscaler.model.plan import (
    CordonNode,
    DeleteInstances,
    EvictPod,
    ResizePod,
    SetGroupSize,
    SetReplicas,
    SetRequests,
)
from autoscaler.model.policy import MpaSpec, Policies
from autoscaler.model.readings import Signal, SignalKind
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.record import DecisionRecord
from autoscaler.model.snapshot import ClusterSnapshot, DemandModel, ShapeOption, WorkloadModel
from autoscaler.model.state import DecisionState, WorkloadMemory
from autoscaler.model.units import MIB
from autoscaler.model.workload import Workload
from autoscaler.planning.decide import decide, signals_of
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.telemetry.record import decode_record, encode_decision, encode_record, record_of
from autoscaler.testing.builders import NOW, make_group, make_node
from tests.unit.planning.decisions import (
    ENGINES,
    carried_out,
    cluster,
    key,
    later,
    mpa,
    policies,
    replicas_in,
    requests_in,
    settle,
)

START = DecisionState(last_consolidation_at=NOW)
CPU_TARGET = {
    "goals": {
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            }
        ]
    },
    "constraints": {"global": {"minReplicas": 1, "maxReplicas": 50}},
}


def of_engine(engine: str, mode: str = "Auto") -> Policies:
    """Return policies under which *engine* acts, with the metric that the horizontal ones need."""
    document = {"policy": {"updateMode": mode, "engine": engine}, **CPU_TARGET}
    return policies(mode=mode, defaults=document)


def shuffled(snapshot: ClusterSnapshot, seed: int) -> ClusterSnapshot:
    dice = random.Random(seed)
    fields = ("pods", "nodes", "workloads", "readings", "models", "disruption_budgets", "node_groups")
    changes = {field: tuple(dice.sample(getattr(snapshot, field), len(getattr(snapshot, field)))) for field in fields}
    return msgspec.structs.replace(snapshot, **changes)


def busy() -> ClusterSnapshot:
    """Return a cluster in which a bit of everything happens."""
    shape = ShapeOption(cpu=250, memory=384 * MIB, usd_per_hour=0.1)
    demand = DemandModel(peak_bytes=600.0 * MIB, parallelism=1.0)
    return cluster(
        {"api": (3, 3.0), "cart": (4, None), "search": (12, 1.0), "web": (2, 0.7)},
        waiting=1,
        models=(WorkloadModel(workload=key("web"), fitted_at=NOW, shape=shape, demand=demand),),
        node_groups=[make_group(size=4, max_size=20), make_group("c.xl-a-spot", size=0, usd_per_hour=0.07, cpu=8000)],
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_equal_input_in_any_order_gives_equal_decisions(engine: str) -> None:
    rules = of_engine(engine)
    snapshot, state = settle(busy(), rules)
    expected = encode_decision(decide(snapshot, rules, state))
    assert encode_decision(decide(snapshot, rules, state)) == expected
    for seed in range(3):
        assert encode_decision(decide(shuffled(snapshot, seed), rules, state)) == expected


@pytest.mark.parametrize("engine", ENGINES)
def test_a_record_replays_to_equal_bytes(engine: str) -> None:
    rules = of_engine(engine)
    snapshot, state = settle(busy(), rules, minutes=2)
    decision = decide(snapshot, rules, state)
    record = DecisionRecord(version=1, snapshot=snapshot, policies=rules, state=state, decision=decision)
    read = record_of(decode_record(encode_record(record), where="test", engines=BUILT_IN))
    assert encode_decision(decide(read.snapshot, read.policies, read.state)) == encode_decision(decision)


@pytest.mark.parametrize("blind", ["missing", "absent"])
@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_shrinks_on_missing_readings(engine: str, blind: str) -> None:
    rules = of_engine(engine)
    seen = cluster({"api": (9, 0.1), "web": (6, 0.2)})
    _, state = settle(seen, rules, minutes=3)
    dark = cluster({"api": (9, None), "web": (6, None)}, at=NOW + 180)
    if blind == "absent":
        dark = msgspec.structs.replace(dark, readings=())
    models = tuple(
        WorkloadModel(
            workload=key(name),
            fitted_at=NOW,
            demand=DemandModel(peak_bytes=64.0 * MIB),
            shape=ShapeOption(cpu=50, memory=64 * MIB, usd_per_hour=0.01),
        )
        for name in ("api", "web")
    )
    dark = msgspec.structs.replace(dark, models=models)
    for minutes in range(12):
        decision = decide(later(dark, 60.0 * minutes), rules, state)
        state = decision.state
        assert all(wanted >= {"api": 9, "web": 6}[name] for name, wanted in replicas_in(decision.plan).items())
        sized = [a for a in decision.plan.actions if isinstance(a, (SetRequests, ResizePod))]
        for size in (size for action in sized for size in action.containers):
            assert size.target.get("cpu", 500) >= 500
            assert size.target.get("memory", 384 * MIB) >= 384 * MIB
        # Nodes are not given up either while most workloads are blind.
        assert not [a for a in decision.plan.actions if isinstance(a, (CordonNode, DeleteInstances, EvictPod))]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_plan_that_was_carried_out_settles(engine: str) -> None:
    rules = of_engine(engine)
    snapshot, state = settle(busy(), rules)
    plans = []
    for _ in range(10):
        decision = decide(snapshot, rules, state)
        plans.append(decision.plan)
        snapshot, state = later(carried_out(snapshot, decision.plan), 15.0), decision.state
    assert not [a for a in plans[-1].actions if isinstance(a, (SetReplicas, SetRequests, SetGroupSize))]


def test_one_round_is_enough_where_nothing_limits_the_rate() -> None:
    rules = policies(nodes={"consolidation": "Off"})
    snapshot, state = settle(cluster({"api": (3, 2.5), "web": (2, 0.8)}), rules)
    decision = decide(snapshot, rules, state)
    assert replicas_in(decision.plan) == {"api": 6}
    again = decide(later(carried_out(snapshot, decision.plan), 15.0), rules, decision.state)
    assert again.plan.actions == ()


@pytest.mark.parametrize(
    ("mode", "acts", "advises"),
    [
        pytest.param("Off", set(), set(), id="off-says-nothing"),
        pytest.param("Recommend", set(), {SetReplicas, SetRequests, ResizePod}, id="recommend-tells"),
        pytest.param("Initial", {SetRequests}, {SetReplicas, ResizePod}, id="initial-sizes-new-pods"),
        pytest.param("Auto", {SetReplicas, SetRequests, ResizePod}, set(), id="auto-acts"),
    ],
)
def test_modes_do_what_they_say(mode: str, acts: set[type], advises: set[type]) -> None:
    rules = policies(mode=mode)
    shape = ShapeOption(cpu=1000, memory=384 * MIB, usd_per_hour=0.1)
    snapshot = cluster({"web": (3, 3.0)}, models=(WorkloadModel(workload=key("web"), fitted_at=NOW, shape=shape),))
    decision = decide(snapshot, rules, START)
    kinds = (SetReplicas, SetRequests, ResizePod)
    assert {type(action) for action in decision.plan.actions if isinstance(action, kinds)} == acts
    assert {type(action) for action in decision.plan.advised if isinstance(action, kinds)} == advises
    assert bool(decision.recommendations) == (mode != "Off")
    if mode == "Off":
        assert [note.reasons[0].code for note in decision.held] == [Code.MODE_OFF]


@pytest.mark.parametrize(
    ("mode", "acted"), [("Recommend", False), ("Off", False), ("Auto", True)], ids=["recommend", "off", "auto"]
)
def test_nodes_obey_the_mode_too(mode: str, *, acted: bool) -> None:
    snapshot = cluster({"web": (12, 5.0)}, nodes=1, waiting=5)
    decision = decide(snapshot, policies(mode=mode), START)
    grown = [action for action in decision.plan.actions if isinstance(action, SetGroupSize)]
    told = [action for action in decision.plan.advised if isinstance(action, SetGroupSize)]
    assert (bool(grown), bool(told)) == (acted, not acted)


def test_the_mode_of_a_policy_is_the_most_that_an_mpa_may_do() -> None:
    own = mpa(policy={"updateMode": "Auto"})
    rules = msgspec.structs.replace(policies(mode="Recommend"), mpas=(own,))
    decision = decide(cluster({"web": (3, 3.0)}), rules, START)
    assert replicas_in(decision.plan) == {}
    assert any(isinstance(action, SetReplicas) for action in decision.plan.advised)


def test_without_any_policy_nothing_is_governed() -> None:
    decision = decide(busy(), Policies(), START)
    assert decision.recommendations == ()
    assert decision.plan.actions == ()


class Failing:
    """An engine that fails in the way it is told to, for the workload `cart`; others it leaves as they are."""

    name: ClassVar[str] = "failing"
    Params: ClassVar[type[msgspec.Struct]] = type("Params", (msgspec.Struct,), {}, frozen=True)
    Memory: ClassVar[type[msgspec.Struct]] = type("Memory", (msgspec.Struct,), {}, frozen=True)

    def __init__(self, answer: Recommendation | Exception | None) -> None:
        self._answer = answer

    def signals(self, workload: Workload, spec: MpaSpec, params: Any) -> Sequence[Signal]:
        if workload.name == "cart" and isinstance(self._answer, Exception):
            raise self._answer
        return (Signal(workload.key, SignalKind.CPU),)

    def recommend(self, view: WorkloadView, params: Any, memory: Any) -> tuple[Recommendation, Any]:
        if view.workload.name != "cart":
            return Recommendation(workload=view.workload.key, engine=self.name, replicas=5), memory
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer, memory  # type: ignore[return-value]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(RuntimeError("no luck"), id="raises"),
        pytest.param(ZeroDivisionError(), id="raises-without-words"),
        pytest.param(None, id="answers-nothing"),
        pytest.param(Recommendation(workload="default/Deployment/web", engine="x"), id="speaks-of-another"),
        pytest.param(Recommendation(workload=key("cart"), engine="x", replicas=-3), id="asks-for-less-than-nothing"),
    ],
)
def test_a_failing_engine_holds_its_workload_alone(answer: Recommendation | Exception | None) -> None:
    engines: dict[str, Recommender] = {**BUILT_IN, "failing": Failing(answer)}
    rules = policies(engine="failing")
    old = WorkloadMemory(workload=key("cart"), engine="failing", memory=Failing.Memory())
    snapshot = cluster({"cart": (4, 1.0), "web": (2, 0.7)})
    state = msgspec.structs.replace(START, workloads=(old,))
    decision = decide(snapshot, rules, state, engines=engines)
    assert replicas_in(decision.plan) == {"web": 5}
    assert [(note.target, note.reasons[0].code) for note in decision.held] == [
        (f"workload/{key('cart')}", Code.ENGINE_FAILED)
    ]
    assert old in decision.state.workloads
    assert Signal(key("web"), SignalKind.CPU) in signals_of(snapshot, rules, engines=engines)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        pytest.param({"engine": "unheard-of"}, Code.POLICY_INVALID, id="an-unknown-engine"),
        pytest.param({"params": {"fill": "much"}}, Code.POLICY_INVALID, id="a-parameter-of-the-wrong-type"),
        pytest.param({"params": {"fil": 0.5}}, Code.POLICY_INVALID, id="an-unknown-parameter"),
    ],
)
def test_a_bad_policy_holds_its_workload_alone(document: dict[str, Any], code: Code) -> None:
    rules = msgspec.structs.replace(policies(), mpas=(mpa("cart", policy=document),))
    decision = decide(cluster({"cart": (3, 3.0), "web": (3, 3.0)}), rules, START)
    assert replicas_in(decision.plan) == {"web": 7}
    assert [(note.target, note.reasons[0].code) for note in decision.held] == [(f"workload/{key('cart')}", code)]
    assert decide(cluster({"cart": (3, 3.0)}), rules, START).recommendations == ()


def test_what_cannot_be_scaled_is_held() -> None:
    snapshot = cluster({"web": (3, 3.0)})
    fixed = tuple(msgspec.structs.replace(each, scalable=False) for each in snapshot.workloads)
    decision = decide(msgspec.structs.replace(snapshot, workloads=fixed), policies(), START)
    assert decision.held[0].reasons[0].code is Code.NOT_SCALABLE


def test_a_memory_of_another_make_is_forgotten() -> None:
    odd = WorkloadMemory(workload=key("web"), engine="joint", memory={"work": "all of it"})
    decision = decide(cluster({"web": (3, 3.0)}), policies(), msgspec.structs.replace(START, workloads=(odd,)))
    assert replicas_in(decision.plan) == {"web": 7}


def test_actions_come_in_the_order_to_take_them() -> None:
    rules = policies()
    snapshot, state = settle(busy(), rules)
    nodes = (*snapshot.nodes, make_node("node-x", interrupt_at=NOW + 600))
    groups = tuple(
        msgspec.structs.replace(g, target_size=g.target_size + (g.max_size == 20)) for g in snapshot.node_groups
    )
    decision = decide(msgspec.structs.replace(snapshot, nodes=nodes, node_groups=groups), rules, state)
    kinds = [type(action) for action in decision.plan.actions]
    order = [SetGroupSize, SetRequests, ResizePod, SetReplicas, CordonNode]
    seen = [kind for kind in dict.fromkeys(kinds) if kind in order]
    assert seen == [kind for kind in order if kind in seen]
    scales = [a.replicas - a.expected for a in decision.plan.actions if isinstance(a, SetReplicas)]
    assert [change > 0 for change in scales] == sorted((change > 0 for change in scales), reverse=True)


def test_costs_are_those_of_the_nodes_before_and_after() -> None:
    snapshot = cluster({"web": (16, 7.0)}, nodes=1, waiting=9)
    plan = decide(snapshot, policies(), START).plan
    grown = [action for action in plan.actions if isinstance(action, SetGroupSize)]
    assert plan.usd_per_hour_now == pytest.approx(0.2)
    assert plan.usd_per_hour_after == pytest.approx(0.2 + sum(0.2 * (a.size - a.expected) for a in grown))
    assert plan.bound_gap is not None
    assert plan.bound_gap >= 0


def test_a_shape_that_grows_sizes_pods_in_place() -> None:
    shape = ShapeOption(cpu=1000, memory=384 * MIB, usd_per_hour=0.1)
    snapshot = cluster({"web": (2, 0.7)}, models=(WorkloadModel(workload=key("web"), fitted_at=NOW, shape=shape),))
    plan = decide(snapshot, policies(), START).plan
    assert requests_in(plan)["web"].cpu == 1000
    assert [action.pod for action in plan.actions if isinstance(action, ResizePod)] == [
        "default/web-0",
        "default/web-1",
    ]


def test_an_empty_cluster_needs_nothing() -> None:
    decision = decide(ClusterSnapshot(observed_at=NOW), policies(), DecisionState())
    assert decision.plan.actions == ()
    assert decision.state.workloads == ()
