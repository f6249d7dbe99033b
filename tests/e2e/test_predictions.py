"""What our model of kube-scheduler says of pods and nodes, against the real one; and what we buy for pods that wait."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from autoscaler.clock import SystemClock
from autoscaler.controller.once import Look, look_once
from autoscaler.kube.store import ClusterStore
from autoscaler.model.plan import Decision, SetGroupSize
from autoscaler.model.pod import Pod
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.planning.decide import decide
from autoscaler.providers.kwok import KwokProvider
from autoscaler.settings import Settings
from tests.cluster.cluster import Cluster
from tests.cluster.objects import Object, is_ready
from tests.cluster.waiting import eventually
from tests.e2e.placements import bindings, fits_in_simulation, fits_somewhere, impossible_bindings
from tests.e2e.random_pods import DEDICATED, ZONE, ZONES, RandomPods
from tests.e2e.shop import Shop
from tests.integration.crds import install, path_of
from tests.integration.running import remove

PODS, SEED = 500, 4
QUIET_SECONDS = 11.0
"""More than the scheduler's longest pause (10 s) before it tries a pod again for which something has changed."""
MISLAID = 0.25
"""Nodes to buy in a second turn, at most, as a share of the first's: the scheduler breaks ties by chance, so that pods
that could go anywhere may take room that was bought for others. Seen were 0 to 5 after 30."""
CLOCK = SystemClock()
log = logging.getLogger(__name__)


async def test_pods_wait_that_fit_nowhere_and_run_on_what_is_bought(cluster: Cluster, shop: Shop) -> None:
    chosen = RandomPods(SEED, shop.name, shop.placement)
    async with following(cluster) as store, offered(cluster, shop), created(cluster, shop, chosen):
        seen = await settled(store, shop)
        waiting = [pod for pod in pods_of(seen, shop) if not pod.node]
        log.info("%d of %d pods wait", len(waiting), PODS)
        assert PODS / 5 < len(waiting) < PODS * 4 / 5
        assert fits_somewhere(waiting, seen) == {}
        assert fits_in_simulation(waiting, seen) == {}
        order = bindings(cluster.audit_log, shop.name)
        assert len(order) == PODS - len(waiting)
        assert impossible_bindings(order, seen, shop.name) == []

        bought = [await buy(cluster, store, shop)]
        if waits_in_vain(await store.observe(CLOCK.now()), shop, bought[-1]):
            bought.append(await buy(cluster, store, shop))
        seen = await store.observe(CLOCK.now())
        log.info("bought %s; waiting: %s", [each.nodes for each in bought], left_over(seen, shop))
        assert waits_in_vain(seen, shop, bought[-1]) == set()
        assert sum(each.nodes for each in bought[1:]) <= MISLAID * bought[0].nodes, bought


class Bought(msgspec.Struct, frozen=True):
    """How many nodes one decision bought, and the apps of which it said that pods fit nowhere."""

    nodes: int
    stranded: set[str]


async def buy(cluster: Cluster, store: ClusterStore, shop: Shop) -> Bought:
    """Decide once, buy what is decided, and return when the pods that it is for run, or the scheduler is quiet."""
    look = await look_once(Settings(kubeconfig=str(cluster.kubeconfig), provider="kwok"))
    decision = decide(look.snapshot, look.policies, look.state)
    # Nothing was cut by the last check: at most as many nodes are bought at once as there are.
    assert [note for note in decision.notes if note.target.startswith("group/")] == []
    begin = f"pods/{shop.name}/"
    stranded = {note.target.removeprefix(begin) for note in decision.notes if note.target.startswith(begin)}
    bought = Bought(await carry_out(cluster, look, decision), stranded)
    await settled(store, shop, enough=lambda seen: not waits_in_vain(seen, shop, bought))
    return bought


@asynccontextmanager
async def following(cluster: Cluster) -> AsyncIterator[ClusterStore]:
    """Give a store that is ready."""
    store = ClusterStore(cluster.admin, CLOCK)
    task = asyncio.create_task(store.run())
    try:
        await store.wait_ready(30.0)
        yield store
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def offered(cluster: Cluster, shop: Shop) -> AsyncIterator[None]:
    """Put a policy in force and offer machines in all zones: plain, with an SSD, large, and dedicated ones."""
    await install(cluster.admin)
    taint = {key: shop.placement["tolerations"][0][key] for key in ("key", "value", "effect")}
    spec = {"mode": "Auto", "nodes": {"consolidation": "Off"}}
    documents = [_document("ScalingPolicy", shop.name, spec)]
    for name, types, labels, taints in (
        ("plain", ["m7i.xlarge", "m7i.2xlarge", "r7i.xlarge"], {}, []),
        ("ssd", ["m7i.2xlarge", "r7i.xlarge"], {"disk": "ssd"}, []),
        ("large", ["c7i.4xlarge"], {"cores": "16"}, []),
        ("dedicated", ["c7i.4xlarge", "m7i.2xlarge"], {}, [DEDICATED]),
    ):
        requirements = [
            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": types},
            {"key": ZONE, "operator": "In", "values": list(ZONES)},
        ]
        template = {"labels": {**labels, **shop.placement["nodeSelector"]}, "taints": [taint, *taints]}
        group = {"provider": "kwok", "size": {"max": 60}, "requirements": requirements, "template": template}
        documents.append(_document("NodeGroup", f"{shop.name}-{name}", group))
    for document in documents:
        await cluster.admin.send("POST", path_of(document), document)
    try:
        yield
    finally:
        for document in documents:
            await remove(cluster.admin, f"{path_of(document)}/{document['metadata']['name']}")


@asynccontextmanager
async def created(cluster: Cluster, shop: Shop, chosen: RandomPods) -> AsyncIterator[None]:
    """Create the nodes, and when they are Ready the pods, one after the other."""
    api, classes = cluster.admin, "/apis/scheduling.k8s.io/v1/priorityclasses"
    mine = f"/api/v1/namespaces/{shop.name}"
    for each in chosen.priority_classes():
        await api.send("POST", classes, each)
    for volume, claim in chosen.volumes:
        await api.send("POST", "/api/v1/persistentvolumes", volume)
        await api.send("POST", f"{mine}/persistentvolumeclaims", claim)
    for each in chosen.nodes():
        await api.send("POST", "/api/v1/nodes", each)
    await eventually(lambda: _all_ready(shop, chosen), what="all nodes Ready, all claims Bound")
    for each in chosen.pods(PODS):
        await api.send("POST", f"{mine}/pods", each)
    try:
        yield
    finally:
        for each in chosen.priority_classes():
            await remove(api, f"{classes}/{each['metadata']['name']}")
        for volume, _ in chosen.volumes:
            await remove(api, f"/api/v1/persistentvolumes/{volume['metadata']['name']}")


async def settled(
    store: ClusterStore, shop: Shop, *, enough: Callable[[ClusterSnapshot], bool] = lambda seen: False
) -> ClusterSnapshot:
    """Wait until the scheduler has tried all pods and binds no more, or it is *enough*; return the cluster then."""
    bound, since = -1, CLOCK.now()

    async def look() -> ClusterSnapshot | None:
        nonlocal bound, since
        seen = await store.observe(CLOCK.now())
        pods = pods_of(seen, shop)
        there = sum(bool(pod.node) for pod in pods)
        if (
            there != bound
            or len(pods) < PODS
            or not all(pod.node or pod.unschedulable_since is not None for pod in pods)
        ):
            bound, since = there, CLOCK.now()
        return seen if CLOCK.now() - since >= QUIET_SECONDS or enough(seen) else None

    seen = await eventually(look, what="the scheduler quiet", within=60.0, every=0.2)
    assert seen is not None
    return seen


async def carry_out(cluster: Cluster, look: Look, decision: Decision) -> int:
    """Do what is decided about groups; return how many nodes are bought."""
    provider = KwokProvider(cluster.admin, CLOCK, groups=lambda: look.policies.node_groups)
    sizes = [action for action in decision.plan.actions if isinstance(action, SetGroupSize)]
    assert len(sizes) == len(decision.plan.actions)
    for action in sizes:
        await provider.set_target_size(action.group, action.size, expected=action.expected)
    return sum(action.size - action.expected for action in sizes)


def left_over(seen: ClusterSnapshot, shop: Shop) -> Counter[str]:
    """Return how many pods of each app wait."""
    return Counter(dict(pod.shape.labels)["app"] for pod in pods_of(seen, shop) if not pod.node)


def waits_in_vain(seen: ClusterSnapshot, shop: Shop, bought: Bought) -> set[str]:
    """Return the apps whose pods wait although they should fit on what was bought."""
    return set(left_over(seen, shop)) - bought.stranded


def pods_of(seen: ClusterSnapshot, shop: Shop) -> list[Pod]:
    return [pod for pod in seen.pods if pod.shape.namespace == shop.name]


def _document(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": "podnode.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


async def _all_ready(shop: Shop, chosen: RandomPods) -> bool:
    nodes = (await shop.get("/api/v1/nodes", labelSelector=_selector(shop)))["items"]
    claims = (await shop.get(f"/api/v1/namespaces/{shop.name}/persistentvolumeclaims"))["items"]
    bound = [claim for claim in claims if claim.get("status", {}).get("phase") == "Bound"]
    return all(is_ready(each) and not _starts(each) for each in nodes) and len(bound) == len(chosen.volumes)


def _selector(shop: Shop) -> str:
    return ",".join(f"{key}={value}" for key, value in shop.placement["nodeSelector"].items())


def _starts(node: Object) -> bool:
    taints = node["spec"].get("taints", [])
    return any(taint["key"] == "node.kubernetes.io/not-ready" for taint in taints)
