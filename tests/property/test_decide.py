"""Whole decisions on any readings: no error, no shrinking on missing data, the same answer in any order."""

from __future__ import annotations

import math
import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.plan import ResizePod, SetReplicas, SetRequests
from autoscaler.model.policy import Policies
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading, Sample
from autoscaler.model.snapshot import ClusterSnapshot, DemandModel, Prices, ShapeOption, WorkloadModel
from autoscaler.model.state import DecisionState
from autoscaler.model.units import MIB
from autoscaler.planning.decide import decide
from autoscaler.telemetry.record import encode_decision
from autoscaler.testing.builders import NOW
from tests.unit.planning.decisions import ENGINES, cluster, key, later, policies

anything = st.one_of(st.floats(0, 20), st.floats(allow_nan=True, allow_infinity=True))
gaps = st.sampled_from(MissingReason).map(Missing)
samples = st.builds(Sample, anything, st.one_of(st.floats(NOW - 600, NOW), anything), st.floats(0, 300))
pod_samples = st.lists(
    st.builds(
        PodSample,
        st.sampled_from(["web-0", "web-1", "web-2", "gone"]),
        st.one_of(st.integers(0, 4000), st.integers(-(2**63), 2**63)),
        st.floats(NOW - 600, NOW),
        st.just(60.0),
        st.sampled_from(["app", "", "gone"]),
    ),
    max_size=6,
).map(lambda each: PodSamples(tuple(each)))
readings = st.one_of(gaps, samples, pod_samples)
METRIC = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}


def rules_of(engine: str, mode: str = "Auto") -> Policies:
    defaults = {
        "policy": {"updateMode": mode, "engine": engine},
        "goals": {"metrics": [METRIC]},
        "constraints": {"global": {"minReplicas": 1, "maxReplicas": 30}},
    }
    return policies(mode=mode, defaults=defaults)


RULES = {engine: rules_of(engine) for engine in ENGINES}


def with_readings(snapshot: ClusterSnapshot, given_readings: list[Reading]) -> ClusterSnapshot:
    signals = [signal for signal, _ in snapshot.readings]
    mixed = zip(signals, given_readings * len(signals), strict=False) if given_readings else ()
    return msgspec.structs.replace(snapshot, readings=tuple(mixed))


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(ENGINES), st.lists(readings, max_size=7), st.integers(0, 3), st.integers(0, 2**32))
def test_any_readings_in_any_order_give_one_decision(
    engine: str, found: list[Reading], waiting: int, seed: int
) -> None:
    snapshot = with_readings(cluster({"api": (4, 1.0), "web": (3, 1.0)}, waiting=waiting), found)
    dice = random.Random(seed)
    turned = msgspec.structs.replace(
        snapshot,
        **{
            field: tuple(dice.sample(getattr(snapshot, field), len(getattr(snapshot, field))))
            for field in ("pods", "nodes", "workloads", "readings", "node_groups")
        },
    )
    state = other = DecisionState()
    for seconds in (0.0, 60.0, 400.0):
        one = decide(later(snapshot, seconds), RULES[engine], state)
        two = decide(later(turned, seconds), RULES[engine], other)
        assert encode_decision(one) == encode_decision(two)
        state, other = one.state, two.state
        for action in one.plan.actions:
            if isinstance(action, SetReplicas):
                assert 0 <= action.replicas <= 30


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(ENGINES),
    st.lists(gaps, max_size=3),
    st.integers(1, 12),
    st.integers(1, 4000),
    st.floats(1, 1e12),
)
def test_nothing_shrinks_on_missing_data(
    engine: str, found: list[Reading], replicas: int, cpu: int, peak: float
) -> None:
    model = WorkloadModel(
        workload=key("web"),
        fitted_at=NOW,
        demand=DemandModel(peak_bytes=peak),
        shape=ShapeOption(cpu=cpu, memory=MIB, usd_per_hour=0.1),
    )
    seen = cluster({"web": (replicas, 0.1)}, models=(model,))
    state = decide(seen, RULES[engine], DecisionState()).state
    blind = with_readings(seen, found)
    for minutes in range(1, 9):
        decision = decide(later(blind, 60.0 * minutes), RULES[engine], state)
        state = decision.state
        for action in decision.plan.actions:
            if isinstance(action, SetReplicas):
                assert action.replicas >= replicas
            if isinstance(action, (SetRequests, ResizePod)):
                for size in action.containers:
                    assert size.target.get("cpu", 500) >= 500
                    assert size.target.get("memory", 384 * MIB) >= 384 * MIB


@settings(max_examples=60, deadline=None)
@given(anything, anything, anything, anything, st.integers(-(2**63), 2**63))
def test_any_numbers_of_a_cluster_give_a_decision(
    at: float, price: float, delay: float, created: float, target_size: int
) -> None:
    snapshot = cluster({"web": (3, 5.0)}, waiting=1)
    nodes = tuple(msgspec.structs.replace(n, usd_per_hour=price, created_at=created) for n in snapshot.nodes)
    groups = tuple(
        msgspec.structs.replace(g, usd_per_hour=price, target_size=target_size, boot_seconds=delay)
        for g in snapshot.node_groups
    )
    odd = msgspec.structs.replace(
        snapshot,
        observed_at=at,
        nodes=nodes,
        node_groups=groups,
        metrics_delay=delay,
        prices=Prices(usd_per_core_hour=price, usd_per_gib_hour=created),
    )
    decision = decide(odd, RULES["joint"], DecisionState())
    assert math.isnan(decision.plan.usd_per_hour_now) or decision.plan.usd_per_hour_after >= 0 or price < 0
