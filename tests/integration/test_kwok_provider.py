"""The simulated cloud on a real API server: the contract of all providers, races, and nodes that come up."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from autoscaler.clock import ManualClock, SystemClock
from autoscaler.errors import CapacityError, ConflictError, TransientError
from autoscaler.kube.decode import decode_node
from autoscaler.model.node import SPOT, Node, NodeGroup
from autoscaler.model.policy import NodeGroupPolicy
from autoscaler.model.spec import decode_hook
from autoscaler.providers.kwok import KwokProvider
from autoscaler.testing.contracts import CLOUD_PROVIDER, CloudProviderRule
from tests.cluster.cluster import Cluster
from tests.cluster.waiting import eventually

LARGE = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m5.large"]}
ZONES = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a", "b"]}
_serial = itertools.count()


class Market:
    """A provider of its own for each test, and what the API server has of it."""

    def __init__(self, cluster: Cluster) -> None:
        self.api = cluster.admin
        self.name = f"market{next(_serial)}"
        self.clock = ManualClock(1000.0)

    def provider(self, *, page: int = 1000, **spec: Any) -> KwokProvider:
        fields = {"provider": "kwok", "requirements": [LARGE], "size": {"max": 10}, **spec}
        document = msgspec.convert({"name": self.name, "spec": fields}, NodeGroupPolicy, dec_hook=decode_hook)
        return KwokProvider(self.api, self.clock, groups=lambda: (document,), page=page)

    async def nodes(self) -> list[Node]:
        answer = json.loads(await self.api.get("/api/v1/nodes", params={"labelSelector": "podnode.io/group"}))
        found = [decode_node({"kind": "Node", **item}) for item in answer["items"]]
        return [node for node in found if node.group.startswith(self.name)]


@pytest.fixture
async def market(cluster: Cluster) -> AsyncIterator[Market]:
    market = Market(cluster)
    yield market
    for node in await market.nodes():
        await market.api.send("DELETE", f"/api/v1/nodes/{node.name}")


async def sizes(provider: KwokProvider) -> dict[str, int]:
    return {group.name: group.target_size for group in await provider.list_node_groups()}


@pytest.mark.parametrize("rule", CLOUD_PROVIDER.values(), ids=CLOUD_PROVIDER)
async def test_contract(rule: CloudProviderRule, market: Market) -> None:
    await rule(market.provider(requirements=[LARGE, ZONES], size={"max": 4}))


async def test_a_node_comes_up_after_its_boot(market: Market) -> None:
    provider = market.provider(capacityTypes=["spot"], match={"tags": {"podnode.io/boot-seconds": "1.5"}})
    await provider.set_target_size(market.name, 1, expected=0)
    [new] = await market.nodes()
    assert not new.ready
    assert [taint.key for taint in new.taints] == ["node.kubernetes.io/not-ready"]
    assert (new.name, new.instance_id, new.capacity_type) == (f"{market.name}-0", f"{market.name}-0", SPOT)

    async def is_up() -> Node | None:
        [node] = await market.nodes()
        return node if node.ready and not node.taints else None

    up = await eventually(is_up, what="the node Ready and without its taint")
    [group] = await provider.list_node_groups()
    assert isinstance(up, Node)
    assert up.allocatable == group.template.allocatable
    assert set(group.template.labels) <= set(up.labels)


async def test_two_leaders_buy_once(market: Market) -> None:
    first, second = market.provider(), market.provider()
    calls = (each.set_target_size(market.name, 3, expected=0) for each in (first, second))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["ConflictError", "NoneType"]
    assert await sizes(first) == {market.name: 3}


async def test_numbers_are_given_out_anew_and_the_count_outlives_a_restart(market: Market) -> None:
    await market.provider().set_target_size(market.name, 3, expected=0)
    await market.provider().delete_instances(market.name, [f"{market.name}-1"], expected=3)
    again = market.provider()
    assert await sizes(again) == {market.name: 2}
    await again.set_target_size(market.name, 4, expected=2)
    assert [node.name for node in await market.nodes()] == [f"{market.name}-{number}" for number in range(4)]
    await again.set_target_size(market.name, 1, expected=4)
    assert [node.name for node in await market.nodes()] == [f"{market.name}-0"]


async def test_the_groups_of_one_document_share_its_bounds(market: Market) -> None:
    provider = market.provider(requirements=[LARGE, ZONES], size={"min": 2, "max": 5})

    async def bounds() -> dict[str, tuple[int, int]]:
        return {g.zone: (g.min_size, g.max_size) for g in await provider.list_node_groups()}

    def name(zone: str) -> str:
        return f"{market.name}.m5.large.{zone}.on-demand"

    assert await bounds() == {"a": (2, 5), "b": (2, 5)}
    await provider.set_target_size(name("a"), 3, expected=0)
    assert await bounds() == {"a": (2, 5), "b": (0, 2)}
    with pytest.raises(ConflictError, match="size 3 is not within 0 to 2"):
        await provider.set_target_size(name("b"), 3, expected=0)
    gone = [node.name for node in await market.nodes()][:2]
    with pytest.raises(ConflictError, match="2 nodes must stay, 3 are there"):
        await provider.delete_instances(name("a"), gone, expected=3)
    await provider.delete_instances(name("a"), gone[:1], expected=3)
    assert await bounds() == {"a": (2, 5), "b": (0, 3)}


async def test_the_stock_runs_out_and_the_group_backs_off(market: Market) -> None:
    provider = market.provider(match={"tags": {"podnode.io/stock": "2"}})
    await provider.set_target_size(market.name, 2, expected=0)
    waits = []
    for _ in range(2):
        with pytest.raises(CapacityError, match=r"no capacity for m5\.large") as refused:
            await provider.set_target_size(market.name, 3, expected=2)
        waits.append(refused.value.retry_after_seconds)
    [group] = await provider.list_node_groups()
    assert (waits, group.target_size, group.backoff_until) == ([30.0, 60.0], 2, 1060.0)


async def test_launches_fail_by_share_and_buy_nothing(market: Market) -> None:
    provider = market.provider(match={"tags": {"podnode.io/failure-share": "1"}})
    with pytest.raises(TransientError, match="the launch failed"):
        await provider.set_target_size(market.name, 1, expected=0)
    assert await market.nodes() == []


async def test_a_document_that_goes_takes_its_groups_out_of_sight_only(market: Market) -> None:
    provider = market.provider()
    await provider.set_target_size(market.name, 1, expected=0)
    empty = KwokProvider(market.api, market.clock, groups=tuple)
    assert list(await empty.list_node_groups()) == []
    with pytest.raises(ConflictError, match="there is no node group"):
        await empty.delete_instances(market.name, [f"{market.name}-0"], expected=1)
    assert len(await market.nodes()) == 1


async def test_machines_are_counted_page_by_page(market: Market) -> None:
    provider = market.provider(size={"max": 5000}, page=3)
    await provider.set_target_size(market.name, 8, expected=0)
    groups: list[NodeGroup] = list(await provider.list_node_groups())
    assert [(group.target_size, group.max_size) for group in groups] == [(8, 5000)]


async def test_a_spot_machine_is_told_that_it_goes_and_then_goes(market: Market) -> None:
    tags = {"podnode.io/spot-seconds": "0.001", "podnode.io/notice-seconds": "3"}
    provider = market.provider(capacityTypes=["spot"], match={"tags": tags})
    await provider.set_target_size(market.name, 1, expected=0)

    async def is_told() -> Node | None:
        nodes = await market.nodes()
        return nodes[0] if nodes and nodes[0].interrupt_at is not None else None

    told = await eventually(is_told, what="notice on the node")
    assert isinstance(told, Node)
    assert told.interrupt_at is not None
    assert abs(told.interrupt_at - SystemClock().now()) < 30

    async def is_gone() -> bool:
        return not await market.nodes()

    await eventually(is_gone, what="the node gone")
    assert await sizes(provider) == {market.name: 0}


async def test_a_type_can_be_sold_out_in_one_zone(market: Market) -> None:
    tags = {"podnode.io/sold-out": "m5.large/a"}
    provider = market.provider(requirements=[LARGE, ZONES], match={"tags": tags})
    with pytest.raises(CapacityError, match=r"no capacity for m5\.large in a"):
        await provider.set_target_size(f"{market.name}.m5.large.a.on-demand", 1, expected=0)
    await provider.set_target_size(f"{market.name}.m5.large.b.on-demand", 1, expected=0)
    assert sorted((await sizes(provider)).values()) == [0, 1]
