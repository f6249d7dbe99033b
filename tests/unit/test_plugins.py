"""A distribution with one engine, as its author would install it, from its document to the nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler import plugins
from autoscaler.cli.exits import Exit
from autoscaler.errors import InputError
from autoscaler.interfaces import Recommender
from autoscaler.model.plan import SetReplicas
from autoscaler.model.policy import Policies
from autoscaler.model.state import DecisionState
from autoscaler.planning.decide import decide, signals_of
from autoscaler.policy_files import load_policies
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.simulator.run import simulate
from autoscaler.simulator.spec import InitialNodes
from autoscaler.testing.builders import make_service, make_world
from tests.unit.cli.commands import run
from tests.unit.planning.decisions import cluster, key

ENGINE = """
import msgspec

from autoscaler.model.readings import Signal, SignalKind
from autoscaler.model.recommendation import Recommendation


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    replicas: int = 2


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    cycles: int = 0


class Steady:
    name = "steady"
    Params, Memory = Params, Memory

    def signals(self, workload, spec, params):
        return [Signal(workload.key, SignalKind.CPU)]

    def recommend(self, view, params, memory):
        advice = Recommendation(workload=view.workload.key, engine=self.name, replicas=params.replicas)
        return advice, Memory(cycles=memory.cycles + 1)
"""
ENTRY_POINTS = """
[autoscaler.recommenders]
steady = steady_engine:Steady
lost = steady_engine:Gone
other = steady_engine:Params
"""
POLICY = """
apiVersion: podnode.io/v1alpha1
kind: ScalingPolicy
metadata: {name: everything}
spec:
  workloads: {namespaceSelector: {}}
  mode: Auto
  defaults:
    policy: {updateMode: Auto, engine: steady, params: {replicas: 5}}
"""


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "steady-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: steady\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    (tmp_path / "steady_engine.py").write_text(ENGINE, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture
def policies(tmp_path: Path) -> Policies:
    return load_policies([tmp_path / "policy.yaml"])


def test_an_engine_is_found_by_name() -> None:
    engines = plugins.Installed()
    assert "steady" in engines
    assert isinstance(engines["steady"], Recommender)
    assert engines["steady"] is engines["steady"]
    assert set(engines) == {*BUILT_IN, "steady", "lost", "other"}
    assert len(engines) == len(BUILT_IN) + 3


@pytest.mark.parametrize("name", ["lost", "other", "unheard"])
def test_what_cannot_be_loaded_is_not_there(name: str) -> None:
    assert name not in plugins.Installed()
    with pytest.raises(InputError, match=name):
        plugins.recommender(name)


def test_it_decides_with_its_own_parameters_and_memory(policies: Policies) -> None:
    engines, snapshot = plugins.Installed(), cluster({"web": (3, 1.0)})
    assert [signal.workload for signal in signals_of(snapshot, policies, engines=engines)] == [key("web")]
    first = decide(snapshot, policies, DecisionState(), engines=engines)
    assert [(a.workload, a.replicas) for a in first.plan.actions if isinstance(a, SetReplicas)] == [(key("web"), 5)]
    second = decide(snapshot, policies, first.state, engines=engines)
    (remembered,) = second.state.workloads
    assert (remembered.engine, remembered.memory.cycles) == ("steady", 2)


def test_it_runs_a_simulated_cluster(policies: Policies) -> None:
    nodes = (InitialNodes(instance_type="m.xl", count=1),)
    result = simulate(make_world(make_service(replicas=3, steps=20), steps=20, initial_nodes=nodes), policies)
    assert result.by_service["replicas"][-1].tolist() == [5.0]


@pytest.mark.parametrize(
    ("written", "instead", "code", "said"),
    [
        pytest.param("", "", Exit.DONE, "no problems found", id="its-own-parameter"),
        pytest.param("replicas: 5", "pods: 5", Exit.INPUT, "spec.defaults.policy.params.pods", id="none-of-its-own"),
        pytest.param("engine: steady", "engine: lost", Exit.INPUT, "spec.defaults.policy.engine", id="not-loadable"),
    ],
)
def test_policy_check_knows_it(tmp_path: Path, written: str, instead: str, code: Exit, said: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace(written, instead) if written else POLICY, encoding="utf-8")
    ran = run("policy", "check", str(path))
    assert ran.code == code
    assert said in ran.out + ran.err
