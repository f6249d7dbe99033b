"""One development cluster for all tests of a worker that need it; each connects anew and has its own namespace."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.cluster.cluster import Cluster


def _say(text: str) -> None:
    """Tell of a build that takes minutes even while pytest captures output."""
    print(text, file=sys.__stderr__, flush=True)


@pytest.fixture(scope="session")
def development_cluster() -> Iterator[Cluster]:
    """Give the running cluster without a connection; each worker has its own."""
    running = asyncio.run(Cluster.up(name=f"tests-{os.getpid()}", say=_say))
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
async def cluster(development_cluster: Cluster) -> AsyncIterator[Cluster]:
    """Give the running cluster, idle, with `cluster.admin` connected in the test's event loop."""
    async with development_cluster.connected():
        await development_cluster.emulator.reset()
        yield development_cluster


@pytest.fixture
async def namespace(cluster: Cluster) -> AsyncIterator[str]:
    """Give a namespace of the test's own; what is in it goes away after the test."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    await cluster.admin.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    # Pods need the account, which a controller makes.
    await cluster.wait_namespace(name)
    yield name
    await cluster.admin.send("DELETE", f"/api/v1/namespaces/{name}")
