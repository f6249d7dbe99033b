"""What the tests of the whole loop share."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from tests.cluster.cluster import Cluster
from tests.e2e.shop import Shop


@pytest.fixture
async def release(cluster: Cluster) -> AsyncIterator[str]:
    """Give a namespace to install the controller in: its own webhook leaves that one alone."""
    name = f"autoscaler-{uuid.uuid4().hex[:8]}"
    await cluster.admin.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    await cluster.admin.send("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
async def shop(cluster: Cluster, namespace: str) -> AsyncIterator[Shop]:
    """Give a namespace whose pods run on machines of its own only."""
    shop = Shop(cluster, namespace)
    yield shop
    await shop.strike()
