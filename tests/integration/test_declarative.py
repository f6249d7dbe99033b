"""Node groups that other controllers own, on a real API server: the contract, chosen deletions, and refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from autoscaler.clock import ManualClock
from autoscaler.controller.observe import grouped_nodes, kept_nodes
from autoscaler.errors import AccessError, ConflictError
from autoscaler.kube.client import APPLY, MERGE
from autoscaler.model.node import NodeGroup
from autoscaler.providers.cluster_api import DELETE, MAX_SIZE, MIN_SIZE
from autoscaler.providers.declarative import KINDS, DeclarativeProvider
from autoscaler.providers.declared import CAPACITY, field
from autoscaler.testing.contracts import CLOUD_PROVIDER
from tests.cluster.cluster import Cluster
from tests.cluster.objects import deployment, is_ready
from tests.cluster.waiting import eventually
from tests.deploy.access import asked
from tests.deploy.installed import installed
from tests.integration import crds
from tests.integration.owners import Owner, kind_of
from tests.integration.running import autoscaler_run, remove

OURS = {"podnode.io/enabled": "true"}
LARGE = {
    "capacity.cluster-autoscaler.kubernetes.io/cpu": "2",
    "capacity.cluster-autoscaler.kubernetes.io/memory": "8Gi",
}


def bounds(least: int, most: int) -> dict[str, str]:
    return {MIN_SIZE: str(least), MAX_SIZE: str(most), **LARGE}


class Place(msgspec.Struct, frozen=True):
    """One kind's objects, and the provider that sizes them."""

    owner: Owner
    provider: DeclarativeProvider

    async def create(self, name: str, size: int, *, least: int = 0, most: int = 4) -> None:
        """Create an object that asks for *size* nodes, and the nodes."""
        kind, create = self.owner.kind.kind, self.owner.create
        if kind == "Nodegroup":
            scaling = {"minSize": least, "maxSize": most, "desiredSize": size}
            spec: dict[str, Any] = {"name": name, "instanceTypes": ["m5.large"], "scalingConfig": scaling}
            await create(name, spec, labels=OURS)
        elif kind == "ContainerNodePool":
            spec = {
                "location": "europe-west1-b",
                "initialNodeCount": size,
                "nodeConfig": {"machineType": "e2-standard-2"},
            }
            notes = {"podnode.io/min-size": str(least), "podnode.io/max-size": str(most)}
            await create(name, spec, labels=OURS, annotations=notes)
        else:
            await create(name, {"replicas": size}, annotations=bounds(least, most))

    async def groups(self) -> dict[str, NodeGroup]:
        return {group.name: group for group in await self.provider.list_node_groups()}

    async def document(self, name: str) -> Mapping[str, Any]:
        return dict(json.loads(await self.owner.api.get(f"{self.owner.collection}/{name}")))

    async def edit(self, name: str, change: Mapping[str, Any]) -> None:
        """Change an object as its author would."""
        await self.owner.api.send("PATCH", f"{self.owner.collection}/{name}", change, content_type=MERGE)


Enter = Callable[..., Awaitable[Place]]


@pytest.fixture
async def enter(cluster: Cluster, namespace: str) -> AsyncIterator[Enter]:
    await crds.install_file(cluster.admin, "declarative")
    entered: list[Place] = []

    async def enter(provider: str, kind: str, **options: Any) -> Place:
        owner = Owner(cluster.admin, namespace, kind_of(provider, kind), **options)
        place = Place(owner, DeclarativeProvider(provider, cluster.admin, ManualClock(1000.0), page=2))
        entered.append(place)
        return place

    yield enter
    for place in entered:
        await place.owner.strike()


ALL = [
    pytest.param("cluster-api", "MachineDeployment", id="MachineDeployment"),
    pytest.param("cluster-api", "MachinePool", id="MachinePool"),
    pytest.param("ack", "Nodegroup", id="Nodegroup"),
    pytest.param("config-connector", "ContainerNodePool", id="ContainerNodePool"),
]
NOT_CHOOSING = ALL[1:]


@pytest.mark.parametrize(("provider", "kind"), ALL)
async def test_contract(provider: str, kind: str, enter: Enter) -> None:
    # One namespace for all rules: making one takes longer than most of them.
    for rule in CLOUD_PROVIDER.values():
        place = await enter(provider, kind)
        await place.create("a", 2, least=1)
        await place.create("b", 0)
        await rule(place.provider)
        await place.owner.strike()


@pytest.mark.parametrize(("provider", "kind"), ALL)
async def test_growth_becomes_nodes_that_are_known_as_the_groups(provider: str, kind: str, enter: Enter) -> None:
    place = await enter(provider, kind)
    await place.create("a", 1)
    await place.provider.set_target_size("a", 3, expected=1)
    await place.owner.reconcile()
    groups = await place.groups()
    nodes = grouped_nodes(tuple(await place.owner.nodes("a")), place.provider.members)
    assert [(node.name, node.group) for node in nodes] == [("a-0", "a"), ("a-1", "a"), ("a-2", "a")]
    assert groups["a"].target_size == 3
    kept = [bool(node.do_not_remove) for node in kept_nodes(nodes, groups.values())]
    assert kept == [not groups["a"].deletes_chosen] * 3


@pytest.mark.parametrize(("provider", "kind"), ALL)
async def test_only_the_one_field_is_set_and_two_leaders_buy_once(provider: str, kind: str, enter: Enter) -> None:
    place = await enter(provider, kind)
    await place.create("a", 1)
    before = await place.document("a")
    other = DeclarativeProvider(provider, place.owner.api, ManualClock(1000.0))
    calls = (each.set_target_size("a", 3, expected=1) for each in (place.provider, other))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["ConflictError", "NoneType"]
    after = await place.document("a")
    ours = [each for each in after["metadata"]["managedFields"] if each["manager"] == "podnode-autoscaler"]
    (leaf,) = _leaves(ours[0]["fieldsV1"])
    assert leaf == tuple(f"f:{key}" for key in place.owner.kind.size)
    changed = {key: after["spec"][key] for key in after["spec"] if after["spec"][key] != before["spec"].get(key)}
    assert field({"spec": changed}, *place.owner.kind.size) == 3
    assert len(changed) == 1


def _leaves(fields: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [(key, *rest) for key, inner in fields.items() for rest in (_leaves(inner) or [()])]


async def test_the_chosen_machines_go_and_no_others(enter: Enter) -> None:
    place = await enter("cluster-api", "MachineDeployment")
    await place.create("a", 4, least=1)
    await place.provider.delete_instances("a", ["a-0", "a-2"], expected=4)
    await place.owner.reconcile()
    assert [node.name for node in await place.owner.nodes("a")] == ["a-1", "a-3"]
    with pytest.raises(ConflictError, match="size is 2, expected 4"):
        await place.provider.delete_instances("a", ["a-1"], expected=4)
    with pytest.raises(ConflictError, match="1 nodes must stay, 2 are there"):
        await place.provider.delete_instances("a", ["a-1", "a-3"], expected=2)


async def test_a_mark_left_by_a_crash_is_taken_away_before_others_go(enter: Enter) -> None:
    place = await enter("cluster-api", "MachineDeployment")
    await place.create("a", 3)
    metadata = {"name": "a-1", "annotations": {DELETE: "podnode.io"}}
    body = {"apiVersion": place.owner.api_version, "kind": "Machine", "metadata": metadata}
    path, params = f"{place.owner.machines}/a-1", {"fieldManager": "podnode-autoscaler"}
    await place.owner.api.send("PATCH", path, body, content_type=APPLY, params=params)
    await place.provider.delete_instances("a", ["a-0"], expected=3)
    await place.owner.reconcile()
    assert [node.name for node in await place.owner.nodes("a")] == ["a-1", "a-2"]


@pytest.mark.parametrize(
    ("unrest", "message"),
    [
        pytest.param("marked", "machine a-2 has the annotation", id="somebody-else-chose-another"),
        pytest.param("rolled", "is being rolled out: its machines are of one, two", id="two-machine-sets"),
        pytest.param("short", "2 machines are there, and its size is 3", id="machines-are-missing"),
    ],
)
async def test_nothing_is_deleted_where_it_is_not_sure_which_machine_goes(
    unrest: str, message: str, enter: Enter
) -> None:
    place = await enter("cluster-api", "MachineDeployment")
    await place.create("a", 3)
    api, machine = place.owner.api, f"{place.owner.machines}/a-2"
    if unrest == "marked":
        await api.send("PATCH", machine, {"metadata": {"annotations": {DELETE: "me"}}}, content_type=MERGE)
    else:
        await api.send("DELETE", machine)
        if unrest == "rolled":
            await place.owner.machine("a", "a-2", machine_set="two")
    with pytest.raises(ConflictError, match=message):
        await place.provider.delete_instances("a", ["a-0"], expected=3)
    assert (await place.groups())["a"].target_size == 3
    first = json.loads(await api.get(f"{place.owner.machines}/a-0"))
    assert DELETE not in first["metadata"].get("annotations", {})


@pytest.mark.parametrize(("provider", "kind"), NOT_CHOOSING)
async def test_where_the_api_cannot_choose_all_go_or_none(provider: str, kind: str, enter: Enter) -> None:
    place = await enter(provider, kind)
    await place.create("a", 2)
    with pytest.raises(ConflictError, match=f"{kind} .*/a cannot be told which nodes to delete"):
        await place.provider.delete_instances("a", ["a-0"], expected=2)
    with pytest.raises(ConflictError, match="only chosen nodes are given back"):
        await place.provider.set_target_size("a", 1, expected=2)
    assert (await place.groups())["a"].target_size == 2
    await place.provider.delete_instances("a", ["a-0", "a-1"], expected=2)
    await place.owner.reconcile()
    assert await place.owner.nodes("a") == []


async def test_a_field_that_others_apply_is_left_to_them(enter: Enter) -> None:
    place = await enter("cluster-api", "MachineDeployment")
    await place.create("a", 1)
    body = {"apiVersion": place.owner.api_version, "kind": "MachineDeployment", "metadata": {"name": "a"}}
    params = {"fieldManager": "gitops", "force": "true"}
    target = f"{place.owner.collection}/a"
    await place.owner.api.send("PATCH", target, {**body, "spec": {"replicas": 1}}, content_type=APPLY, params=params)
    with pytest.raises(ConflictError, match=r"gitops applies spec\.replicas, too"):
        await place.provider.set_target_size("a", 2, expected=1)


async def test_an_object_that_is_wrong_harms_no_other(enter: Enter) -> None:
    place = await enter("cluster-api", "MachineDeployment", version="v1beta1")
    await place.create("good", 1)
    await place.owner.create("none", {"replicas": 1})
    await place.owner.create("wrong", {"replicas": 1}, annotations={**bounds(0, 3), MAX_SIZE: "many"})
    assert list(await place.groups()) == ["good"]
    (problem,) = place.provider.problems
    assert problem.endswith(
        f"/wrong: annotation {MAX_SIZE}: 'many' is not valid; allowed: a whole number of at least 0"
    )
    await place.edit("good", {"metadata": {"annotations": {MIN_SIZE: None}}})
    with pytest.raises(ConflictError, match="is not ours to size"):
        await place.provider.set_target_size("good", 2, expected=1)


async def test_an_object_that_goes_is_not_made_anew(enter: Enter) -> None:
    place = await enter("ack", "Nodegroup")
    await place.create("a", 1)
    await place.groups()
    await place.owner.api.send("DELETE", f"{place.owner.collection}/a")
    with pytest.raises(ConflictError):
        await place.provider.set_target_size("a", 2, expected=1)
    assert await place.groups() == {}


@pytest.mark.parametrize(
    ("provider", "kinds"), [(name, [each.kind for each in kinds]) for name, kinds in KINDS.items()]
)
async def test_the_shipped_roles_are_what_it_asks_for(
    provider: str, kinds: list[str], enter: Enter, cluster: Cluster, namespace: str
) -> None:
    places = [await enter(provider, kind) for kind in kinds]
    for number, place in enumerate(places):
        await place.create(f"g{number}", 1)
    async with installed(cluster, namespace, provider=provider) as account:
        watching = DeclarativeProvider(provider, account.api, ManualClock(1000.0))
        assert len(await watching.list_node_groups()) == len(places)
        with pytest.raises(AccessError):
            await watching.set_target_size("g0", 2, expected=1)
    async with installed(cluster, namespace, provider=provider, mode="apply") as account:
        acting = DeclarativeProvider(provider, account.api, ManualClock(1000.0))
        await acting.list_node_groups()
        for number, place in enumerate(places):
            await acting.set_target_size(f"g{number}", 2, expected=1)
            await place.owner.reconcile()
            there = [node.name for node in await place.owner.nodes(f"g{number}")]
            await acting.delete_instances(f"g{number}", there, expected=2)
        group = places[0].owner.kind.api_group
        used = {each for each in asked(cluster.audit_log, account.user) if each[0] == group}
        assert {each for each in account.rights("") if each[0] == group} == used


async def test_a_cluster_is_sized_through_its_owner(
    enter: Enter, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """Pods wait, the size rises, the owner makes nodes, pods run; the load goes, and an empty node is given back."""
    api, place = cluster.admin, await enter("cluster-api", "MachineDeployment")
    await crds.install(api)
    policy = {
        "apiVersion": "podnode.io/v1alpha1",
        "kind": "ScalingPolicy",
        "metadata": {"name": namespace},
        "spec": {"mode": "Auto", "nodes": {"consolidateAfter": "3s", "consolidation": "WhenEmpty"}},
    }
    place.owner.labels = {"tests.example/place": namespace}
    labels = {f"{CAPACITY}labels": f"tests.example/place={namespace}", f"{CAPACITY}cpu": "4"}
    await place.owner.create(namespace, {"replicas": 0}, annotations={**bounds(0, 4), **labels})
    web = deployment("web", replicas=3, cpu="3", nodeSelector={"tests.example/place": namespace})
    await api.send("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", web)
    await api.send("POST", crds.path_of(policy), policy)

    async def settled(size: int) -> bool:
        """Let the owner do its round; tell whether all is as the load asks."""
        await place.owner.reconcile()
        pods = json.loads(await api.get(f"/api/v1/namespaces/{namespace}/pods"))["items"]
        nodes = await place.owner.nodes(namespace)
        return len(nodes) == len(pods) == size and all(map(is_ready, pods))

    flags = ("--provider", "cluster-api", "--actuate", "apply", "--metrics-source", "metrics-api")
    try:
        async with autoscaler_run(cluster, tmp_path / "log", *flags) as running:
            await eventually(lambda: settled(3), what="three nodes with a pod each", every=0.5)
            scale = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
            await api.send("PATCH", scale, {"spec": {"replicas": 1}}, content_type=MERGE)
            await eventually(lambda: settled(1), what="the two empty nodes given back", every=0.5, within=60.0)
            assert running.events("action", result="failed", action="DeleteInstances") == []
            assert await running.stop() == 0
    finally:
        await remove(api, f"{crds.path_of(policy)}/{namespace}")
