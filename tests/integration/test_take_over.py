"""A real HPA on a Deployment: it wins until it is set aside, lets go then, and acts again when it is given back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import msgspec
import pytest

from autoscaler.clock import SystemClock
from autoscaler.controller.actuate import ApplyActuator
from autoscaler.interfaces import WorkloadView
from autoscaler.kube.store import ClusterStore
from autoscaler.kube.write import KubeWriter
from autoscaler.model.plan import GiveBack, SetAside, SetReplicas
from autoscaler.model.policy import MpaSpec, MultidimPodAutoscaler, Policies
from autoscaler.model.readings import Signal
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import decode_hook
from autoscaler.model.state import DecisionState
from autoscaler.model.workload import Workload
from autoscaler.planning.decide import decide
from autoscaler.recommend.joint_view import JointMemory, JointParams
from tests.cluster.cluster import Cluster
from tests.cluster.objects import deployment
from tests.cluster.waiting import eventually

CLOCK = SystemClock()


class Three:
    """An engine that wants three replicas."""

    name: ClassVar[str] = "three"
    Params: ClassVar[type[msgspec.Struct]] = JointParams
    Memory: ClassVar[type[msgspec.Struct]] = JointMemory

    def signals(self, workload: Workload, spec: MpaSpec, params: JointParams) -> Sequence[Signal]:
        return ()

    def recommend(
        self, view: WorkloadView, params: JointParams, memory: JointMemory
    ) -> tuple[Recommendation, JointMemory]:
        return Recommendation(workload=view.workload.key, engine=self.name, replicas=3), memory


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[ClusterStore]:
    store = ClusterStore(cluster.admin, CLOCK)
    task = asyncio.create_task(store.run())
    await store.wait_ready(30.0)
    yield store
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def document(namespace: str, **policy: Any) -> Policies:
    spec = {
        "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "policy": {"updateMode": "Auto", "engine": "three", **policy},
    }
    fields = {"namespace": namespace, "name": "web", "spec": spec}
    return Policies(mpas=(msgspec.convert(fields, MultidimPodAutoscaler, dec_hook=decode_hook),))


async def test_an_hpa_is_set_aside_and_given_back(cluster: Cluster, namespace: str, store: ClusterStore) -> None:
    api, writer = cluster.admin, KubeWriter(cluster.admin)
    hpas = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
    # A real HPA keeps to its bounds also where there are no metrics: it wants four.
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 4,
        "maxReplicas": 4,
    }
    await api.send("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment("web", replicas=4))
    await api.send("POST", hpas, {"metadata": {"name": "web"}, "spec": spec})

    async def seen(*, replicas: int, set_aside: bool) -> ClusterSnapshot:
        """Wait until both the store and the HPA itself see it so."""

        async def look() -> ClusterSnapshot | None:
            snapshot = await store.observe(CLOCK.now())
            mine = [each for each in snapshot.workloads if each.namespace == namespace]
            rivals = [each for each in snapshot.rivals if each.namespace == namespace]
            status = json.loads(await api.get(f"{hpas}/web")).get("status", {})
            agrees = [each.replicas for each in mine] == [status.get("currentReplicas")] == [replicas]
            return snapshot if agrees and [each.set_aside for each in rivals] == [set_aside] else None

        found = await eventually(look, what=f"{replicas} replicas, HPA set aside: {set_aside}")
        assert found is not None
        return found

    async def turn(snapshot: ClusterSnapshot, rules: Policies) -> list[type]:
        decision = decide(snapshot, rules, DecisionState(), engines={"three": Three()})
        outcomes = await ApplyActuator(writer, None).apply(decision.plan)
        assert [outcome.message for outcome in outcomes if outcome.result != "done"] == []
        return [type(action) for action in decision.plan.actions]

    contested = await seen(replicas=4, set_aside=False)
    held = decide(contested, document(namespace), DecisionState(), engines={"three": Three()})
    assert (held.plan.actions, held.held[0].reasons[0].code) == ((), Code.CONFLICT)

    taken = document(namespace, takeOver=True)
    assert await turn(contested, taken) == [SetAside]
    assert await turn(await seen(replicas=4, set_aside=True), taken) == [SetReplicas]
    # The HPA looks at three replicas, and lets them be.
    assert await turn(await seen(replicas=3, set_aside=True), taken) == []

    assert await turn(await seen(replicas=3, set_aside=True), Policies()) == [GiveBack]
    await seen(replicas=4, set_aside=False)
    back = json.loads(await api.get(f"{hpas}/web"))
    assert {name: back["spec"].get(name) for name in ("minReplicas", "maxReplicas", "behavior")} == {
        "minReplicas": 4,
        "maxReplicas": 4,
        "behavior": None,
    }
