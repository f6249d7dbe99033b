from __future__ import annotations

import pytest

from autoscaler.providers.memory import MemoryCloud, MemoryProvider
from autoscaler.simulator.market import make_cloud
from autoscaler.testing.builders import NOW, make_group, make_pool, make_world
from autoscaler.testing.contracts import CLOUD_PROVIDER, CloudProviderRule
from tests.aws.fixtures import World


@pytest.mark.parametrize("rule", CLOUD_PROVIDER.values(), ids=CLOUD_PROVIDER)
async def test_the_memory_provider(rule: CloudProviderRule) -> None:
    types = [make_pool().instance]
    await rule(MemoryProvider(MemoryCloud([make_group("b"), make_group("a", size=3, min_size=1)], types, now=NOW)))


@pytest.mark.parametrize("rule", CLOUD_PROVIDER.values(), ids=CLOUD_PROVIDER)
async def test_the_simulated_clusters_cloud(rule: CloudProviderRule) -> None:
    spec = make_world(pools=(make_pool(zones=("a", "b")), make_pool("big", capacity_type="spot")))
    await rule(MemoryProvider(make_cloud(spec, seed=0, now=NOW)))


@pytest.mark.parametrize("rule", CLOUD_PROVIDER.values(), ids=CLOUD_PROVIDER)
async def test_auto_scaling_groups(rule: CloudProviderRule, aws: World) -> None:
    spot = {"OnDemandBaseCapacity": 0, "OnDemandPercentageAboveBaseCapacity": 0}
    await aws.account.group("web", size=(1, 2, 4))
    await aws.account.group("batch", size=(0, 0, 3), kinds=("m5.large", "m5a.large"), mixed=spot)
    async with aws.provider() as provider:
        await rule(provider)
