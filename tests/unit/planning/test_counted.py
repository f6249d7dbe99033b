from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.interfaces import WorkloadView
from autoscaler.model.pod import Phase
from autoscaler.model.policy import (
    MpaSpec,
    MultidimPodAutoscaler,
    Policies,
    ScalingPolicy,
    ScalingPolicySpec,
    UpdateMode,
)
from autoscaler.model.readings import Sample, Signal, SignalKind
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import decode_hook
from autoscaler.model.state import DecisionState
from autoscaler.planning.counted import counted_readings
from autoscaler.planning.effective import effective_policies
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.recommending import recommend_all, wanted_signals
from autoscaler.planning.windows import window_key, window_of_schedule
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.recommend.keda import KedaMemory, KedaRecommender
from autoscaler.recommend.keda_params import KedaParams
from autoscaler.testing.builders import make_pod, make_shape, make_workload

KEY = "default/Deployment/web"
WORKERS = {"name": "workers", "selector": {"matchLabels": {"app": "worker"}}, "value": 2}
SALE = {"name": "sale", "schedule": "0 8 * * *", "duration": "2h", "minReplicas": 6}


def document(engine: str = "keda", **policy: Any) -> Policies:
    spec = {
        "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "constraints": {"global": {"minReplicas": 0, "maxReplicas": 20}},
        "policy": {"engine": engine, "updateMode": "Auto", **policy},
    }
    mpa = MultidimPodAutoscaler(
        namespace="default", name="web", spec=msgspec.convert(spec, MpaSpec, dec_hook=decode_hook)
    )
    return Policies(mpas=(mpa,), scaling=(ScalingPolicy(name="all", spec=ScalingPolicySpec(mode=UpdateMode.AUTO)),))


def snapshot(**fields: Any) -> ClusterSnapshot:
    """Return a cluster with four workers on two nodes and one that waits, and pods that must not count."""
    worker, other = make_shape("worker"), make_shape("web")
    elsewhere = make_shape("worker", namespace="bank")
    pods = [make_pod(f"w-{number}", shape=worker, node=f"node-{number % 2}") for number in range(4)]
    pods += [
        make_pod("w-done", shape=worker, phase=Phase.SUCCEEDED),
        make_pod("w-lost", shape=worker, phase=Phase.FAILED),
        make_pod("w-waits", shape=worker, node="", phase=Phase.PENDING),
        make_pod("web-0", shape=other),
        make_pod("w-far", shape=elsewhere),
    ]
    ordered = tuple(sorted(pods, key=lambda pod: (pod.namespace, pod.name)))
    return ClusterSnapshot(
        observed_at=1_700_000_000.0, pods=ordered, workloads=(make_workload("web", replicas=1),), **fields
    )


def counted(policies: Policies) -> dict[Signal, object]:
    seen = snapshot()
    return dict(counted_readings(SnapshotIndex(seen), effective_policies(seen, policies), BUILT_IN))


@pytest.mark.parametrize(
    ("trigger", "count"),
    [
        pytest.param(WORKERS, 5, id="pods-that-have-not-ended-of-the-namespace"),
        pytest.param({**WORKERS, "group_by_node": True}, 2, id="nodes"),
        pytest.param({**WORKERS, "selector": {}}, 6, id="an-empty-selector-is-all"),
        pytest.param({**WORKERS, "selector": {"matchLabels": {"app": "none"}}}, 0, id="none"),
    ],
)
def test_pods_are_counted(trigger: dict[str, Any], count: int) -> None:
    (reading,) = counted(document(params={"workloads": [trigger]})).values()
    assert reading == Sample(float(count), 1_700_000_000.0)


def test_engines_that_count_nothing_cost_nothing() -> None:
    assert counted(document("hpa")) == {}


def test_parameters_that_cannot_be_used_hold_the_workload_and_nothing_else() -> None:
    broken = document(
        params={"workloads": [{**WORKERS, "selector": {"matchExpressions": [{"key": "a", "operator": "?"}]}}]}
    )
    assert counted(broken) == {}
    seen = snapshot()
    found = recommend_all(SnapshotIndex(seen), effective_policies(seen, broken), DecisionState(), BUILT_IN)
    assert [note.reasons[0].code for note in found.held] == [Code.ENGINE_FAILED]


def test_no_source_is_asked_for_counts() -> None:
    seen, rules = snapshot(), document(params={"workloads": [WORKERS]})
    wanted = wanted_signals(seen, effective_policies(seen, rules), BUILT_IN)
    assert SignalKind.POD_COUNT not in {signal.kind for signal in wanted}


def test_a_count_reaches_the_engine() -> None:
    seen, rules = snapshot(), document(params={"workloads": [WORKERS]})
    found = recommend_all(SnapshotIndex(seen), effective_policies(seen, rules), DecisionState(), BUILT_IN)
    # Five pods, two for each replica.
    assert [advice.replicas for advice in found.recommendations] == [3]


class Watching(KedaRecommender):
    """Keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[WorkloadView] = []

    def recommend(
        self, view: WorkloadView, params: KedaParams, memory: KedaMemory
    ) -> tuple[Recommendation, KedaMemory]:
        self.seen.append(view)
        return super().recommend(view, params, memory)


def test_to_keda_a_schedule_is_a_trigger_and_no_minimum() -> None:
    rules = document(schedules=[SALE])
    (schedule,) = rules.mpas[0].spec.policy.schedules
    seen = snapshot(open_windows=(window_key(window_of_schedule(schedule)),))
    engine = Watching()
    governed = effective_policies(seen, rules)
    recommend_all(SnapshotIndex(seen), governed, DecisionState(), {"keda": engine})
    assert engine.seen[0].open_schedules == ("sale",)
    bounds = governed[KEY].spec.constraints.global_
    assert bounds is not None
    assert bounds.min_replicas == 0
    to_others = effective_policies(seen, document("hpa", schedules=[SALE]))[KEY].spec.constraints.global_
    assert to_others is not None
    assert to_others.min_replicas == 6
