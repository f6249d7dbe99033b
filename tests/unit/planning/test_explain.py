from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.node import NodeGroup
from autoscaler.model.placement import Effect, Taint
from autoscaler.model.plan import Decision, EvictPod, Note, Plan, SetReplicas
from autoscaler.model.pod import Pod
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.model.units import GIB
from autoscaler.planning.explain import Explanation, explain_node, explain_pod, explain_workload
from autoscaler.testing.builders import NOW, make_group, make_node, make_pod, make_shape, make_snapshot, make_workload

GPU = Taint("gpu", Effect.NO_SCHEDULE, "true")


def train(*, cpu: int = 4000, **fields: Any) -> Pod:
    shape = make_shape("train", namespace="ml", cpu=cpu, memory=GIB, **fields)
    return make_pod("train-7", shape=shape, node="", workload="", unschedulable_since=NOW - 360)


def asked(*groups: NodeGroup, pod: Pod | None = None, nodes: int = 37, gpus: int = 12, **fields: Any) -> Explanation:
    """Ask about a pod next to nodes with 3.7 cores and down to 2.8 free, and tainted ones."""
    plain = [make_node(f"node-{n:02d}", cpu=3700 - 25 * n) for n in range(nodes)]
    tainted = [make_node(f"gpu-{n:02d}", cpu=16_000, taints=(GPU,)) for n in range(gpus)]
    pod = pod or train()
    snapshot = make_snapshot(nodes=[*plain, *tainted], pods=[pod], node_groups=list(groups), **fields)
    return explain_pod(snapshot, pod)


def told(explanation: Explanation) -> list[tuple[int, str, str]]:
    return [(len(each.where), each.where[0], each.why) for each in explanation.obstacles]


def test_a_pending_pod_as_in_the_documented_example() -> None:
    full = make_group("g5", cpu=8000, size=4, max_size=4, usd_per_hour=1.004, boot_seconds=95.0)
    small = make_group("m7i", cpu=3670, size=3, max_size=9, usd_per_hour=0.2016)
    found = asked(full, small)
    assert found.summary == "pending for 6m; it fits nowhere"
    assert told(found) == [
        (37, "node node-00", "cpu short by 0.3–1.2"),
        (12, "node gpu-00", "taint gpu=true:NoSchedule not tolerated"),
        (1, "group m7i", "cpu short by 0.33"),
        (1, "group g5", "at its maximum, 4 of 4"),
    ]
    assert [(fix.what, round(fix.usd_per_hour * 24, 2)) for fix in found.fixes] == [
        ("ask for 3.67 cpu instead of 4: fits m.xl", 4.84),
        ("raise the maximum of g5 to 5 (ready in about 1m35s)", 24.1),
    ]


def test_a_pod_that_runs_or_fits() -> None:
    running = make_pod("web-1", node="node-00")
    assert asked(pod=running).summary == "runs on node node-00"
    assert asked(pod=train(cpu=3600)).summary == "pending for 6m; it fits on 5 nodes (node-00, node-01, node-02)"


def test_a_pod_that_will_get_a_node() -> None:
    found = asked(make_group("m8", cpu=8000, size=1, max_size=9))
    assert found.summary == "pending for 6m; a new node will hold it"
    assert [fix.what for fix in found.fixes] == ["wait for a node of m8 (ready in about 1m30s)"]


def test_a_group_that_backs_off() -> None:
    found = asked(make_group("m8", cpu=8000, size=1, max_size=9, backoff_until=NOW + 60))
    assert found.summary == "pending for 6m; it fits nowhere"
    assert told(found)[-1] == (1, "group m8", "the last launch failed; trying again in 1m")


def test_daemon_sets_take_their_share_of_a_new_node() -> None:
    group = make_group("m", cpu=4000, size=1, max_size=9)
    template = msgspec.structs.replace(group.template, overhead=Resources.of(cpu=200, pods=2))
    found = asked(msgspec.structs.replace(group, template=template))
    assert found.fixes[0].what == "ask for 3.8 cpu instead of 4: fits m.xl"


def test_several_amounts_are_named_together_and_equal_fixes_once() -> None:
    shape = make_shape("train", cpu=4000, memory=20 * GIB)
    pod = make_pod("train-7", shape=shape, node="", workload="", unschedulable_since=NOW - 360)
    groups = [make_group(name, cpu=3900, memory=16 * GIB) for name in ("a", "b")]
    found = asked(*groups, pod=pod, nodes=0, gpus=0)
    assert [fix.what for fix in found.fixes] == [
        "ask for 3.9 cpu instead of 4 and 16Gi memory instead of 20Gi: fits m.xl"
    ]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"cpu": 9000}, id="not-even-half-is-there"),
        pytest.param({"node_selector": (("disk", "nvme"),)}, id="no-amount-would-help"),
    ],
)
def test_no_fix_is_offered_where_none_is_small(fields: dict[str, Any]) -> None:
    assert asked(make_group("m", cpu=4000, size=1), pod=train(**fields)).fixes == ()


def test_a_pod_without_any_place_at_all() -> None:
    found = asked(nodes=0, gpus=0)
    assert (found.obstacles, found.fixes) == ((), ())


def decision(*notes: Note, **fields: Any) -> Decision:
    defaults: dict[str, Any] = {"plan": Plan(), "recommendations": (), "state": DecisionState(), "notes": notes}
    return Decision(**{**defaults, **fields})


def a_node(**fields: Any) -> ClusterSnapshot:
    pods = [make_pod(f"web-{n}", node="node-1") for n in range(2)]
    groups = [make_group(size=1, **fields)]
    return make_snapshot(nodes=[make_node(cpu=2000)], node_groups=groups, pods=pods)


def test_a_node_with_what_is_on_it() -> None:
    found = explain_node(a_node(), a_node().nodes[0], decision())
    assert found.summary == "m.xl in a, 4.80 USD/day, 2 pods, 50% of its CPU requested"
    assert found.reasons == ()


def test_why_a_node_stays_or_goes() -> None:
    why = Reason(Code.SAVINGS_TOO_SMALL, "moves would cost more")
    note = Note(target="node/node-1", reasons=(why,))
    other = Note(target="node/node-2", reasons=(Reason(Code.NODE_IN_USE, "x"),))
    assert explain_node(a_node(), a_node().nodes[0], decision(note, other)).reasons == (why,)
    leaving = Reason(Code.EMPTY_NODE, "empty")
    plan = Plan(actions=(EvictPod(pod="a/b", uid="u", node="node-1", reasons=(leaving,)),))
    gone = explain_node(a_node(), a_node().nodes[0], decision(plan=plan))
    assert gone.reasons == ()


def test_what_forbids_a_node_s_removal() -> None:
    found = explain_node(a_node(min_size=1), a_node().nodes[0], decision())
    assert [reason.message for reason in found.reasons] == ["group m.xl-a-on-demand is at its minimum of 1"]


def test_a_workload_with_its_sizes_and_reasons() -> None:
    web = make_workload("web", replicas=6)
    snapshot = make_snapshot(workloads=[web])
    why = Reason(Code.SHAPE_CHEAPER, "350m a pod serves the day's load at 6.90 USD/day")
    advice = Recommendation(
        workload=web.key,
        engine="joint",
        replicas=4,
        containers=(ContainerSize(container="app", target=Resources.of(cpu=350)),),
        reasons=(why,),
    )
    plan = Plan(actions=(SetReplicas(workload=web.key, replicas=4, expected=6, reasons=(why,)),))
    found = explain_workload(snapshot, web.key, decision(recommendations=(advice,), plan=plan))
    assert found.subject == "deployment default/web"
    assert found.summary == "6 replicas, 4 wanted by engine joint; app: cpu=350m"
    assert found.reasons == (why,)


def test_a_workload_that_is_held_or_not_governed() -> None:
    web = make_workload("web", replicas=6)
    snapshot = make_snapshot(workloads=[web])
    note = Note(target=f"workload/{web.key}", reasons=(Reason(Code.MODE_OFF, "the policy's mode is Off"),))
    found = explain_workload(snapshot, web.key, decision(held=(note,)))
    assert found.summary == "6 replicas; no recommendation"
    assert found.reasons == note.reasons
