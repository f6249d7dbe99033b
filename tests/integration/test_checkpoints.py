"""ConfigMaps as a checkpoint, on a real API server: whole or not at all, whenever a process ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoscaler.errors import ConflictError, InputError
from autoscaler.kube.checkpoints import ConfigMapCheckpoint
from autoscaler.kube.client import JSON, MERGE, ApiServer
from autoscaler.kube.scale import CONFIG_MAPS
from tests.cluster.cluster import Cluster

OLD, NEW = b"old-state!" * 25, b"the-new-one" * 40


class KilledError(Exception):
    """The process ends here."""


class Dying:
    """A connection of a process that is killed at its call number *lives*."""

    def __init__(self, api: ApiServer, lives: int) -> None:
        self._api, self._lives = api, lives

    async def get(self, path: str, *, params: Any = None, timeout: float = 30.0, accept: str = JSON) -> bytes:
        self._live()
        return await self._api.get(path, params=params, timeout=timeout, accept=accept)

    async def send(self, method: str, path: str, body: Any = None, *, timeout: float = 30.0) -> bytes:
        self._live()
        return await self._api.send(method, path, body, timeout=timeout)

    def _live(self) -> None:
        if self._lives <= 0:
            raise KilledError
        self._lives -= 1


def checkpoint(api: Any, namespace: str) -> ConfigMapCheckpoint:
    return ConfigMapCheckpoint(api, name="state", namespace=namespace, part_bytes=100)


async def names(api: ApiServer, namespace: str) -> set[str]:
    found = json.loads(await api.get(CONFIG_MAPS.to(namespace=namespace)))["items"]
    return {each["metadata"]["name"] for each in found if each["metadata"]["name"].startswith("state")}


async def test_what_was_saved_last_is_loaded_by_the_next(cluster: Cluster, namespace: str) -> None:
    writer = checkpoint(cluster.admin, namespace)
    assert await writer.load() is None
    for data in (OLD, b"", b"small", NEW):
        await writer.save(data)
        assert await checkpoint(cluster.admin, namespace).load() == data
    assert len(await names(cluster.admin, namespace)) == 5


async def test_a_process_killed_at_any_call_leaves_one_whole_state(cluster: Cluster, namespace: str) -> None:
    ends = set()
    for lives in range(30):
        await checkpoint(cluster.admin, namespace).save(OLD)
        try:
            await checkpoint(Dying(cluster.admin, lives), namespace).save(NEW)
        except KilledError:
            survivor = await checkpoint(cluster.admin, namespace).load()
            assert survivor in (OLD, NEW)
            ends.add(survivor)
            continue
        break
    else:
        raise AssertionError("a save takes more calls than expected")
    assert ends == {OLD, NEW}, "it was killed before and after the state changed"
    last = checkpoint(cluster.admin, namespace)
    assert await last.load() == NEW
    await last.save(OLD)
    assert len(await names(cluster.admin, namespace)) == 3, "what killed processes left is swept up"


async def test_an_old_process_cannot_overwrite_a_newer_one_s_state(cluster: Cluster, namespace: str) -> None:
    old, new = checkpoint(cluster.admin, namespace), checkpoint(cluster.admin, namespace)
    await old.save(b"first")
    await new.load()
    await new.save(NEW)
    with pytest.raises(ConflictError):
        await old.save(OLD)
    assert await checkpoint(cluster.admin, namespace).load() == NEW
    assert len(await names(cluster.admin, namespace)) == 5, "nothing of the refused save is left"


async def test_what_is_not_whole_is_told_and_can_be_replaced(cluster: Cluster, namespace: str) -> None:
    writer = checkpoint(cluster.admin, namespace)
    await writer.save(OLD)
    (lost, *_) = sorted(await names(cluster.admin, namespace) - {"state"})
    await cluster.admin.send("DELETE", CONFIG_MAPS.to(lost, namespace=namespace))
    with pytest.raises(InputError, match="parts"):
        await checkpoint(cluster.admin, namespace).load()
    await writer.save(OLD)
    spoilt = {"binaryData": {"payload": "AAAA"}}
    await cluster.admin.send("PATCH", CONFIG_MAPS.to("state", namespace=namespace), spoilt, content_type=MERGE)
    reader = checkpoint(cluster.admin, namespace)
    with pytest.raises(InputError, match="digest"):
        await reader.load()
    await reader.save(b"new")
    assert await checkpoint(cluster.admin, namespace).load() == b"new"


async def test_four_megabytes_are_kept(cluster: Cluster, namespace: str) -> None:
    data = bytes(range(256)) * (4 << 12)
    keeper = ConfigMapCheckpoint(cluster.admin, name="state", namespace=namespace)
    await keeper.save(data)
    assert await keeper.load() == data
    assert len(await names(cluster.admin, namespace)) == 5
