"""Whole runs, with a decision that is simple enough to check by hand and with the project's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from autoscaler.model.plan import AnyAction, Decision, Plan, SetGroupSize, SetReplicas
from autoscaler.model.policy import Policies, ScalingPolicy, ScalingPolicySpec
from autoscaler.model.readings import Missing, Sample, Signal, SignalKind
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import decode_hook
from autoscaler.model.state import DecisionState
from autoscaler.simulator.results import Moment, RunResult
from autoscaler.simulator.run import simulate
from autoscaler.simulator.spec import InitialNodes, MetricsOutage, WorldSpec
from autoscaler.testing.builders import make_service, make_world

GROUP = "m.xl-a-on-demand"
HOUR = 120


def _signals(snapshot: ClusterSnapshot, policies: Policies) -> Sequence[Signal]:
    return [Signal(workload.key, SignalKind.CPU) for workload in snapshot.workloads]


def _seventy_percent(snapshot: ClusterSnapshot, policies: Policies, state: DecisionState) -> Decision:
    """Keep use at 70 % of requests, a node for each seven pods, and nothing smaller on missing data."""
    readings = dict(snapshot.readings)
    actions: list[AnyAction] = []
    pods = 0
    for workload in snapshot.workloads:
        reading = readings[Signal(workload.key, SignalKind.CPU)]
        wanted = workload.replicas
        if isinstance(reading, Sample):
            wanted = max(2, math.ceil(reading.value / (0.7 * workload.template.containers[0].requests.cpu / 1000)))
        pods += wanted
        if wanted != workload.replicas:
            actions.append(SetReplicas(workload=workload.key, replicas=wanted, expected=workload.replicas))
    (group,) = snapshot.node_groups
    nodes = math.ceil(pods / 7)
    if nodes > group.target_size:
        actions.append(SetGroupSize(group=GROUP, size=nodes, expected=group.target_size))
    return Decision(plan=Plan(actions=tuple(actions)), recommendations=(), state=state)


def _spec(**fields: Any) -> WorldSpec:
    load = np.concatenate([np.full(HOUR // 2, 50.0), np.full(HOUR // 2, 200.0), np.full(HOUR, 60.0)])
    return make_world(
        make_service(requests=load.astype(np.float32), replicas=3),
        steps=2 * HOUR,
        initial_nodes=(InitialNodes(instance_type="m.xl", count=1),),
        **fields,
    )


def _digest(result: RunResult) -> bytes:
    figures = msgspec.structs.replace(result.metrics, cpu_seconds=0.0)
    return msgspec.json.encode(figures) + b"".join(array.tobytes() for array in result.by_service.values())


def test_a_run_follows_its_load_and_adds_up() -> None:
    result = simulate(_spec(), Policies(), decide=_seventy_percent, signals_of=_signals)
    replicas = result.by_service["replicas"][:, 0]
    # 200 requests a second are 4 cores and what the pods idle at: 12 pods at 70 % of half a core, 13 with it.
    assert replicas[HOUR - 1] == 13
    assert replicas[HOUR // 2 - 1] == 4
    assert 4 <= replicas[-1] <= 5
    metrics = result.metrics
    assert metrics.decisions == 2 * HOUR
    assert metrics.failed_actions == 0
    assert metrics.usd == pytest.approx(sum(metrics.node_hours_by_type.values()) * 0.2, rel=0.1)
    assert metrics.usd_per_day == pytest.approx(metrics.usd * 12)
    # 13 pods ask for 6.5 cores: one node more than there is. What start-ups burn asks for none.
    assert metrics.node_launches == 1
    assert 0.005 < metrics.slo_violation_share < 0.1
    assert 0.25 < metrics.slack_cpu < 0.4
    assert 0.1 < metrics.cpu_utilisation < 0.6
    assert result.times[0] == _spec().start + 30
    assert result.violations[0] == metrics.slo_violation_share


def test_equal_specs_give_equal_bytes_and_another_seed_others() -> None:
    noisy = _spec(load_noise=0.05)
    runs = [
        simulate(msgspec.structs.replace(noisy, seed=seed), Policies(), decide=_seventy_percent, signals_of=_signals)
        for seed in (1, 1, 2)
    ]
    assert _digest(runs[0]) == _digest(runs[1])
    assert _digest(runs[0]) != _digest(runs[2])


def test_recording_leaves_the_cluster_as_it_is() -> None:
    result = simulate(_spec(), Policies(), decide=_seventy_percent, signals_of=_signals, apply=False)
    assert set(result.by_service["replicas"][:, 0]) == {3.0}
    assert result.metrics.node_launches == 0
    assert result.metrics.slo_violation_share == pytest.approx(0.25, abs=0.02)


def test_warm_up_is_played_and_not_counted() -> None:
    load = np.full(HOUR + 60, 50.0, np.float32)
    seen: list[Moment] = []
    spec = make_world(
        make_service(requests=load),
        steps=HOUR,
        history=60,
        warmup_seconds=20 * 30.0,
        initial_nodes=(InitialNodes(instance_type="m.xl", count=1),),
    )
    result = simulate(
        spec,
        Policies(),
        decide=_seventy_percent,
        signals_of=_signals,
        observer=lambda step, moment: seen.append(moment),
    )
    assert [moment.step for moment in seen] == list(range(-20, HOUR))
    assert result.metrics.decisions == HOUR
    assert result.metrics.usd == pytest.approx(0.2)
    assert len(result.times) == HOUR
    assert seen[-1].decision is not None


def test_an_outage_of_metrics_changes_nothing() -> None:
    outage = MetricsOutage(start=HOUR * 15.0, end=HOUR * 45.0)
    seen: list[bool] = []

    def watch(snapshot: ClusterSnapshot, policies: Policies, state: DecisionState) -> Decision:
        seen.append(any(isinstance(reading, Missing) for _, reading in snapshot.readings))
        return _seventy_percent(snapshot, policies, state)

    result = simulate(_spec(faults=(outage,)), Policies(), decide=watch, signals_of=_signals)
    replicas = result.by_service["replicas"][:, 0]
    # The first two decisions come before the first metric does.
    assert sum(seen) == HOUR + 2
    assert replicas[HOUR - 1] == replicas[HOUR // 2 + 2] == 4


def test_our_own_engine_serves_a_small_cluster() -> None:
    document = {
        "workloads": {"namespaceSelector": {}},
        "mode": "Auto",
        "defaults": {"policy": {"updateMode": "Auto", "engine": "hpa"}},
    }
    spec = msgspec.convert(document, ScalingPolicySpec, dec_hook=decode_hook)
    policies = Policies(scaling=(ScalingPolicy(name="all", spec=spec),))
    result = simulate(_spec(), policies)
    assert result.by_service["ready"][HOUR - 1, 0] >= 8
    assert result.metrics.slo_violation_share < 0.2
    assert result.metrics.usd > 0
