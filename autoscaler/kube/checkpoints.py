"""
Keeps bytes across restarts, all or nothing, whenever a process ends.

In a cluster they are in ConfigMaps: first the parts that do not fit into the
first one, under names that nobody uses yet; then, in one conditional write, the
ConfigMap that names them; only then are the parts of before removed. Who is
killed in between leaves the old state whole, and parts that the next process
sweeps up.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import uuid
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import msgspec

from autoscaler.errors import ConflictError, InputError
from autoscaler.kube.client import JSON, NotFoundError
from autoscaler.kube.scale import CONFIG_MAPS

PART_BYTES = 900_000
"""A ConfigMap holds 1 MiB (Kubernetes documentation, "ConfigMaps")."""
LABEL = "podnode.io/checkpoint"
CALL_SECONDS = 10.0
_NAMES_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_READS = 3
"""Tries to read a state of which another process removes parts meanwhile."""


class Checkpoint(Protocol):
    """Keeps the newest bytes that `save` was given; `load` returns None where there are none."""

    async def load(self) -> bytes | None: ...
    async def save(self, data: bytes) -> None: ...


class FileCheckpoint:
    """
    One file, replaced as a whole.

    Raises (both methods): OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def load(self) -> bytes | None:
        """Return the file's content."""
        return await asyncio.to_thread(self._load)

    async def save(self, data: bytes) -> None:
        """Replace the file; it is on disk when this returns."""
        await asyncio.to_thread(self._save, data)

    def _load(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def _save(self, data: bytes) -> None:
        # One name, so that what a killed process left is overwritten.
        draft = self._path.with_name(f".{self._path.name}.draft")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class CheckpointCalls(Protocol):
    """What of `kube.client.ApiServer` a checkpoint uses."""

    async def get(
        self, path: str, *, params: dict[str, str] | None = ..., timeout: float = ..., accept: str = ...
    ) -> bytes: ...
    async def send(self, method: str, path: str, body: Any = None, *, timeout: float = ...) -> bytes: ...


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    resource_version: str = ""


class _ConfigMap(msgspec.Struct, rename="camel"):
    metadata: _Metadata
    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}


class _Names(msgspec.Struct):
    items: list[_ConfigMap] = []


class _Index(msgspec.Struct, frozen=True):
    """What the first ConfigMap says: its own version, the digest of all bytes, where the rest is."""

    version: str = ""
    digest: str = ""
    parts: tuple[str, ...] = ()
    first: bytes = b""


class ConfigMapCheckpoint:
    """
    ConfigMap *name*, and where 900 kB are not enough more of them.

    A save is refused (ConflictError) when another process has saved since this
    one loaded or saved: an old leader cannot overwrite a new one's state.

    Raises (both methods): AccessError, TransientError, ConflictError;
    InputError when what is stored is not whole.
    """

    def __init__(self, api: CheckpointCalls, *, name: str, namespace: str, part_bytes: int = PART_BYTES) -> None:
        self._api = api
        self._name, self._namespace = name, namespace
        self._part_bytes = part_bytes
        self._where = f"ConfigMap {namespace}/{name}"
        self._index: _Index | None = None
        self._swept = False
        self._process, self._numbers = uuid.uuid4().hex[:8], count(1)

    async def load(self) -> bytes | None:
        """Return what was saved last, by whichever process."""
        for left in range(_READS - 1, -1, -1):
            index = self._index = await self._read_index()
            if not index.version:
                return None
            try:
                rest = [_payload(await self._get(part), self._where) for part in index.parts]
            except NotFoundError as error:
                if left:
                    continue
                raise InputError(self._where, "data.parts", index.parts, "ConfigMaps that exist") from error
            data = b"".join([index.first, *rest])
            if hashlib.sha256(data).hexdigest() != index.digest:
                raise InputError(self._where, "data.digest", index.digest, "the digest of what is stored")
            return data
        raise AssertionError("unreachable: the last try returns or raises")

    async def save(self, data: bytes) -> None:
        """Replace what is kept by *data*."""
        before = self._index if self._index is not None else await self._read_index()
        pieces = [data[at : at + self._part_bytes] for at in range(0, len(data), self._part_bytes)] or [b""]
        batch = f"{self._name}-{self._process}-{next(self._numbers)}"
        parts = tuple(f"{batch}-{number}" for number in range(1, len(pieces)))
        for part, piece in zip(parts, pieces[1:], strict=True):
            await self._send("POST", "", self._document(part, piece, {}))
        facts = {"digest": hashlib.sha256(data).hexdigest(), "parts": " ".join(parts)}
        document = self._document(self._name, pieces[0], facts, version=before.version)
        try:
            answer = await self._send(
                "PUT" if before.version else "POST", self._name if before.version else "", document
            )
        except ConflictError:
            self._index = None
            await self._remove(parts)
            raise
        self._index = _Index(_config_map(answer, self._where).metadata.resource_version, facts["digest"], parts)
        await self._remove(before.parts)
        if not self._swept:
            await self._sweep()

    async def _read_index(self) -> _Index:
        try:
            found = await self._get(self._name)
        except NotFoundError:
            return _Index()
        digest, parts = found.data.get("digest", ""), tuple(found.data.get("parts", "").split())
        return _Index(found.metadata.resource_version, digest, parts, _payload(found, self._where))

    async def _sweep(self) -> None:
        """Remove, once a process, the parts that killed ones have left."""
        path = CONFIG_MAPS.to(namespace=self._namespace)
        selector = {"labelSelector": f"{LABEL}={self._name}"}
        answer = await self._api.get(path, params=selector, timeout=CALL_SECONDS, accept=_NAMES_ONLY)
        kept = {self._name, *(self._index.parts if self._index else ())}
        await self._remove(
            [
                each.metadata.name
                for each in msgspec.json.decode(answer, type=_Names).items
                if each.metadata.name not in kept
            ]
        )
        self._swept = True

    async def _remove(self, parts: Sequence[str]) -> None:
        for part in parts:
            try:
                await self._send("DELETE", part, None)
            except NotFoundError:
                continue

    def _document(self, name: str, piece: bytes, facts: dict[str, str], *, version: str = "") -> Any:
        metadata = {"name": name, "namespace": self._namespace, "labels": {LABEL: self._name}}
        if version:
            metadata["resourceVersion"] = version
        payload = {"payload": base64.b64encode(piece).decode()}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": facts, "binaryData": payload}

    async def _get(self, name: str) -> _ConfigMap:
        path = CONFIG_MAPS.to(name, namespace=self._namespace)
        return _config_map(await self._api.get(path, timeout=CALL_SECONDS, accept=JSON), self._where)

    async def _send(self, method: str, name: str, body: Any) -> bytes:
        path = CONFIG_MAPS.to(name, namespace=self._namespace)
        return await self._api.send(method, path, body, timeout=CALL_SECONDS)


def _config_map(answer: bytes, where: str) -> _ConfigMap:
    try:
        return msgspec.json.decode(answer, type=_ConfigMap)
    except msgspec.MsgspecError as error:
        raise InputError(where, "", str(error), "a ConfigMap") from error


def _payload(found: _ConfigMap, where: str) -> bytes:
    try:
        return base64.b64decode(found.binary_data.get("payload", ""), validate=True)
    except binascii.Error as error:
        raise InputError(where, "binaryData.payload", str(error), "base64") from error
