from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import msgspec
import pytest

from autoscaler.interfaces import WorkloadView
from autoscaler.model.plan import SetReplicas
from autoscaler.model.policy import MpaSpec
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading, Sample, Signal, SignalKind
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.state import DecisionState
from autoscaler.model.workload import Workload
from autoscaler.planning.decide import decide
from autoscaler.planning.effective import effective_policies
from autoscaler.planning.fresh import usable_readings
from autoscaler.recommend.joint_view import JointMemory, JointParams
from autoscaler.testing.builders import NOW
from tests.unit.planning.decisions import cluster, key, policies, settle

CPU = Signal(key("web"), SignalKind.CPU)
PODS = Signal(key("web"), SignalKind.POD_CPU)


class OnePod:
    """A plug-in that wants one replica whatever it sees of the pods."""

    name: ClassVar[str] = "one"
    Params: ClassVar[type[msgspec.Struct]] = JointParams
    Memory: ClassVar[type[msgspec.Struct]] = JointMemory

    def signals(self, workload: Workload, spec: MpaSpec, params: JointParams) -> Sequence[Signal]:
        return (Signal(workload.key, SignalKind.POD_CPU),)

    def recommend(
        self, view: WorkloadView, params: JointParams, memory: JointMemory
    ) -> tuple[Recommendation, JointMemory]:
        return Recommendation(workload=view.workload.key, engine=self.name, replicas=1), memory


def pods(*ages: float) -> PodSamples:
    return PodSamples(tuple(PodSample(f"web-{n}", 100, NOW - age) for n, age in enumerate(ages)))


@pytest.mark.parametrize(
    ("reading", "kept"),
    [
        pytest.param(Sample(1.0, NOW - 89), Sample(1.0, NOW - 89), id="young-enough"),
        pytest.param(Sample(1.0, NOW + 5), Sample(1.0, NOW + 5), id="a-clock-that-is-ahead"),
        pytest.param(Missing(MissingReason.ABSENT), Missing(MissingReason.ABSENT), id="missing-stays-as-it-is"),
        pytest.param(pods(10, 20, 200), pods(10, 20), id="two-pods-of-three"),
        pytest.param(pods(), pods(), id="no-pod-at-all"),
    ],
)
def test_what_is_young_enough_counts(reading: Reading, kept: Reading) -> None:
    governed = effective_policies(cluster({"web": (3, 1.0)}), policies())
    assert usable_readings({CPU: reading}, governed, now=NOW) == {CPU: kept}


@pytest.mark.parametrize(
    ("reading", "detail", "since"),
    [
        pytest.param(Sample(1.0, NOW - 120), "2m old, signals.staleAfter is 1m30s", NOW - 120, id="a-sample"),
        pytest.param(pods(120, 300), "2m old, signals.staleAfter is 1m30s", NOW - 120, id="all-pods"),
        pytest.param(Sample(1.0, math.nan), "very long old, signals.staleAfter is 1m30s", 0.0, id="no-time-at-all"),
    ],
)
def test_what_is_too_old_is_missing(reading: Reading, detail: str, since: float) -> None:
    governed = effective_policies(cluster({"web": (3, 1.0)}), policies())
    assert usable_readings({CPU: reading}, governed, now=NOW) == {CPU: Missing(MissingReason.STALE, detail, since)}


def test_the_policy_says_how_old_and_others_are_left_alone() -> None:
    snapshot = cluster({"web": (3, 1.0)})
    governed = effective_policies(snapshot, policies(signals={"staleAfter": "10m"}))
    ungoverned = Signal(key("api"), SignalKind.CPU)
    old = Sample(1.0, NOW - 500)
    assert usable_readings({CPU: old, ungoverned: old}, governed, now=NOW) == {CPU: old, ungoverned: old}


@pytest.mark.parametrize("engine", ["joint", "hpa"])
def test_nothing_shrinks_by_old_readings(engine: str) -> None:
    rules = policies(engine=engine, nodes={"consolidation": "Off"})
    snapshot, state = settle(cluster({"web": (8, 0.2)}), rules)
    assert [type(action) for action in decide(snapshot, rules, state).plan.actions][:1] == [SetReplicas]
    old = msgspec.structs.replace(snapshot, observed_at=snapshot.observed_at + 300)
    found = decide(old, rules, state)
    assert [action for action in found.plan.actions if isinstance(action, SetReplicas)] == []
    assert key("web") in {note.target.removeprefix("workload/") for note in found.held}


@pytest.mark.parametrize(
    ("coverage", "measured", "held"),
    [
        pytest.param("0.8", 4, False, id="enough-of-them"),
        pytest.param("0.8", 3, True, id="too-few"),
        pytest.param("0.5", 3, False, id="as-the-policy-says"),
        pytest.param("0", 0, False, id="none-need-to-be"),
    ],
)
def test_too_few_measured_pods_hold_a_workload(coverage: str, measured: int, held: bool) -> None:
    rules = policies(engine="one", signals={"minCoverage": coverage}, nodes={"consolidation": "Off"})
    snapshot = cluster({"web": (5, 1.0)}, readings={PODS: pods(*[10] * measured)})
    found = decide(snapshot, rules, DecisionState(), engines={"one": OnePod()})
    [advice] = found.recommendations
    assert (advice.held, advice.replicas) == ((True, 5) if held else (False, 1))
    assert [r.code for r in advice.reasons] == ([Code.SIGNAL_MISSING] if held else [])
    assert bool([action for action in found.plan.actions if isinstance(action, SetReplicas)]) != held
