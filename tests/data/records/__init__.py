"""
A recorded cluster: `shop.json.gz`, made by this module from a simulated one.

    python -m tests.data.records

writes it anew. Four services on two kinds of machines, at the rise of the
third day's load, decided on by the joint engine without any change applied:
requests are what their developers asked for, a pod waits for a machine that
no group offers, one service's metrics are missing.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import numpy as np

from autoscaler.forecasting.refit import refit
from autoscaler.model.plan import Decision
from autoscaler.model.pod import Pod
from autoscaler.model.policy import Policies, ScalingPolicy, ScalingPolicySpec, UpdateMode, WorkloadScope
from autoscaler.model.readings import Missing, MissingReason
from autoscaler.model.record import DecisionRecord
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import Selector
from autoscaler.model.state import DecisionState
from autoscaler.model.units import GIB
from autoscaler.planning.decide import decide, signals_of
from autoscaler.planning.effective import in_mode
from autoscaler.simulator.run import simulate
from autoscaler.simulator.spec import InitialNodes, Service, WorldSpec
from autoscaler.telemetry.record import encode_record
from autoscaler.testing.builders import make_pod, make_pool, make_service, make_shape, make_world

SHOP = Path(__file__).with_name("shop.json.gz")
_DAY_STEPS = 2880
_SHOWN = 40
"""Steps of the third day that are played; the record is of the last."""


def make_record() -> DecisionRecord:
    """Simulate the shop and return its last decision with all that went into it."""
    taken: list[DecisionRecord] = []

    def watch(snapshot: ClusterSnapshot, policies: Policies, state: DecisionState) -> Decision:
        seen = _with_trouble(snapshot)
        decision = decide(seen, policies, state)
        taken.append(DecisionRecord(version=1, snapshot=seen, policies=policies, state=state, decision=decision))
        return decision

    scope = WorkloadScope(namespace_selector=Selector())
    everything = Policies(scaling=(ScalingPolicy(name="everything", spec=ScalingPolicySpec(workloads=scope)),))
    rules = in_mode(everything, UpdateMode.RECOMMEND)
    simulate(_shop(), rules, decide=watch, signals_of=signals_of, refit=refit, apply=False)
    return taken[-1]


def _shop() -> WorldSpec:
    return make_world(
        _service("web", 900, replicas=12, cpu=1000, memory=2 * GIB),
        _service("search", 300, replicas=4, cpu=2000, memory=3 * GIB),
        _service("cart", 60, replicas=3, cpu=500, memory=GIB),
        _service("mail", 5, replicas=2, cpu=500, memory=GIB),
        pools=(
            make_pool("m.xl", usd_per_hour=0.2, zones=("a", "b")),
            make_pool("m.2xl", cpu=8000, memory=32 * GIB, usd_per_hour=0.4, zones=("a", "b")),
        ),
        initial_nodes=(InitialNodes(instance_type="m.2xl", count=5, zone="a"),),
        history=2 * _DAY_STEPS,
        steps=_SHOWN,
    )


def _service(name: str, rate: float, *, replicas: int, cpu: int, memory: int) -> Service:
    day = np.arange(2 * _DAY_STEPS + _SHOWN) / _DAY_STEPS
    load = rate * (0.55 - 0.45 * np.cos(2 * np.pi * (day + 0.3)))
    requests = Resources.of(cpu=cpu, memory=memory)
    return make_service(
        name,
        load=load.tolist(),
        steps=len(day),
        namespace="shop",
        replicas=replicas,
        pod_requests=requests,
        pod_limits=requests.only(("memory",)),
    )


def _with_trouble(snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """Add a pod that is too large for every machine, and lose the metrics of `cart`."""
    shape = make_shape("train", namespace="ml", cpu=9000, memory=8 * GIB)
    since = snapshot.observed_at - 360
    waiting: Pod = make_pod(
        "train-7", shape=shape, node="", workload="", created_at=since, unschedulable_since=since, uid="train-7"
    )
    lost = Missing(MissingReason.ABSENT, since=snapshot.observed_at - 140)
    readings = tuple((s, lost if s.workload == "shop/Deployment/cart" else value) for s, value in snapshot.readings)
    pods = tuple(sorted((*snapshot.pods, waiting), key=lambda pod: (pod.namespace, pod.name)))
    return msgspec.structs.replace(snapshot, pods=pods, readings=readings, name="shop-prod")


def write() -> None:
    SHOP.write_bytes(gzip.compress(encode_record(make_record()), 9, mtime=0))
