"""Whatever way the news takes, the store ends as a fresh list would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.clock import ManualClock
from autoscaler.errors import InputError, TransientError
from autoscaler.kube import decode_wire as wire
from autoscaler.kube.client import ExpiredError
from autoscaler.kube.decode_pod import pod_of
from autoscaler.kube.decode_shape import ShapeReader
from autoscaler.kube.kinds import REPLICA_SETS
from autoscaler.kube.owners import ReplicaSetOwners
from autoscaler.kube.rows import SortedRows
from autoscaler.kube.table import Table
from autoscaler.kube.watch import ListWatch
from autoscaler.model.pod import Pod

NAMES = st.sampled_from(["a", "b", "b-1", "c"])
CHANGES = st.lists(st.tuples(NAMES, st.one_of(st.none(), st.integers(0, 3))), max_size=25)
FAULTS = st.sampled_from(["none", "cut", "again", "expire", "break"])


class EndedError(Exception):
    """The test is over."""


class History:
    """
    A server that knows its past: change n has version n.

    *faults* say, one a request, what goes wrong with it; when they are used up
    nothing does any more, and the watch that has told all ends the test.
    """

    def __init__(self, changes: list[tuple[str, int | None]], faults: list[str], *, streams: bool, page: int) -> None:
        self._changes, self._faults = changes, list(faults)
        self._streams, self._page = streams, page
        self._now = len(changes) // 2
        self._oldest = 0

    def state(self, version: int) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for number, (name, value) in enumerate(self._changes[:version], start=1):
            if value is None:
                found.pop(name, None)
            else:
                found[name] = _object(name, value, version=number)
        return found

    async def get(self, path: str, *, params: Mapping[str, str] | None = None) -> bytes:
        assert params is not None
        fault = self._next()
        first, version = map(int, params.get("continue", f"0,{self._now}").split(","))
        if fault in ("expire", "break") or (fault == "again" and first):
            raise _error(fault)
        items = [each for _, each in sorted(self.state(version).items())]
        rest = f"{first + self._page},{version}" if first + self._page < len(items) else ""
        self._advance()
        meta = {"resourceVersion": str(version), "continue": rest}
        return json.dumps({"metadata": meta, "items": items[first : first + self._page]}).encode()

    @asynccontextmanager
    async def lines(
        self, path: str, *, params: Mapping[str, str] | None = None, silence: float = 60.0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        assert params is not None
        fault = self._next()
        if fault == "break":
            raise _error(fault)
        if "sendInitialEvents" in params:
            if not self._streams:
                raise InputError("things", "sendInitialEvents", "true", "nothing")
            yield self._streamed(fault)
        else:
            yield self._events(int(params["resourceVersion"]), fault)

    async def _streamed(self, fault: str) -> AsyncIterator[bytes]:
        version = max(0, self._now - 2)
        for each in self.state(version).values():
            yield _line("ADDED", each)
        for line in self._between(version, self._now):
            yield line
        if fault != "cut":
            notes = {"k8s.io/initial-events-end": "true"}
            yield _line("BOOKMARK", {"metadata": {"resourceVersion": str(self._now), "annotations": notes}})

    async def _events(self, version: int, fault: str) -> AsyncIterator[bytes]:
        if fault == "expire":
            self._oldest = self._now
        if fault == "expire" or version < self._oldest:
            yield _line("ERROR", {"kind": "Status", "code": 410})
            return
        self._advance()
        start = max(0, version - 2) if fault == "again" else version
        for number, line in enumerate(self._between(start, self._now)):
            if fault == "cut" and number == 1:
                return
            yield line
        if not self._faults and self._now == len(self._changes):
            raise EndedError

    def _between(self, version: int, until: int) -> list[bytes]:
        lines, before = [], self.state(version)
        for number in range(version + 1, until + 1):
            name, value = self._changes[number - 1]
            if value is None:
                if name in before:
                    lines.append(_line("DELETED", {**before.pop(name), **_version(name, number)}))
            else:
                kind = "MODIFIED" if name in before else "ADDED"
                before[name] = _object(name, value, version=number)
                lines.append(_line(kind, before[name]))
        return lines

    def _advance(self) -> None:
        self._now = len(self._changes) if not self._faults else min(len(self._changes), self._now + 2)

    def _next(self) -> str:
        return self._faults.pop(0) if self._faults else "none"


def _version(name: str, number: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n", "resourceVersion": str(number)}}


def _object(name: str, value: int, *, version: int) -> dict[str, Any]:
    meta = {"name": name, "namespace": "n", "resourceVersion": str(version), "labels": {"value": str(value)}}
    return {"metadata": meta}


def _line(kind: str, document: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": document}).encode()


def _error(fault: str) -> Exception:
    return TransientError("broken", retry_after_seconds=1.0) if fault == "break" else ExpiredError("too old")


def _value(thing: wire.Any) -> tuple[str, str]:
    return thing.metadata.name, (thing.metadata.labels or {})["value"]


@settings(max_examples=150)
@given(
    changes=CHANGES,
    faults=st.lists(FAULTS, max_size=8),
    streams=st.booleans(),
    page=st.integers(1, 3),
)
def test_a_list_watch_ends_as_a_fresh_list_would(
    changes: list[tuple[str, int | None]], faults: list[str], streams: bool, page: int
) -> None:
    server = History(changes, faults, streams=streams, page=page)
    table: Table[wire.Any, tuple[str, str]] = Table(_value)
    follow = ListWatch(server, ManualClock(), path="/things", kind=wire.Any, sink=table, random=Random(0))
    with suppress(EndedError):
        asyncio.run(follow.run())
    fresh = [(name, each["metadata"]["labels"]["value"]) for name, each in sorted(server.state(len(changes)).items())]
    assert list(table.values()) == fresh


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("set"),
            st.sampled_from(["web-1a", "web-2b", "roll-1a"]),
            st.sampled_from(["", "Deployment/web", "Rollout/roll", "Deployment/roll", "gone"]),
        ),
        st.tuples(
            st.just("pod"),
            st.sampled_from(["web-1a", "web-2b", "roll-1a"]),
            st.sampled_from(["x", "y", "gone"]),
        ),
    ),
    max_size=16,
)


@settings(max_examples=200)
@given(steps=STEPS)
def test_a_pod_s_workload_does_not_depend_on_what_was_heard_first(steps: list[tuple[str, str, str]]) -> None:
    heard = _told(steps)
    last_set = {step[1]: step for step in steps if step[0] == "set"}
    last_pod = {(step[1], step[2]): step for step in steps if step[0] == "pod"}
    known = {name for name, step in last_set.items() if step[2] != "gone"}
    told = _told([*last_set.values(), *last_pod.values()])
    for key, workload in told.items():
        if key.split("\0")[1].rpartition("-")[0] in known:
            assert heard.get(key) == workload


def _told(steps: list[tuple[str, str, str]]) -> dict[str, str]:
    """Return the workload of each pod after some news of ReplicaSets and pods."""
    shapes = ShapeReader()
    pods: Table[wire.Pod, Pod] = Table(lambda thing: pod_of(thing, shapes, owners=owners.known), separator="\0")
    owners = ReplicaSetOwners(pods)
    sets: Table[Any, Any] = Table(lambda thing: REPLICA_SETS.translate(thing, shapes), changed=owners.row_changed)
    for kind, name, what in steps:
        if kind == "set":
            owner = what.split("/")
            replica_set = _replica_set(name, *owner) if len(owner) == 2 else _replica_set(name)
            sets.drop(replica_set) if what == "gone" else sets.put(replica_set)
        elif what != "gone":
            pods.put(_pod(name, what))
    return {f"n\0{pod.name}": pod.workload for pod in pods.values()}


def _replica_set(name: str, kind: str = "", owner: str = "") -> wire.Workload:
    owners = [wire.OwnerReference(kind=kind, name=owner, controller=True)] if kind else None
    meta = wire.Metadata(name=name, namespace="n", owner_references=owners)
    spec = wire.WorkloadSpec(template=wire.PodTemplate())
    return wire.Workload(kind="ReplicaSet", api_version="apps/v1", metadata=meta, spec=spec)


def _pod(owner: str, suffix: str) -> wire.Pod:
    reference = wire.OwnerReference(kind="ReplicaSet", name=owner, controller=True)
    labels = {"pod-template-hash": owner.rpartition("-")[2]}
    name = f"{owner}-{suffix}"
    return wire.Pod(
        kind="Pod", metadata=wire.Metadata(name=name, namespace="n", labels=labels, owner_references=[reference])
    )


@given(steps=st.lists(st.tuples(st.text("ab\0/", max_size=3), st.one_of(st.none(), st.integers(0, 9))), max_size=30))
def test_rows_are_always_in_order(steps: list[tuple[str, int | None]]) -> None:
    rows: SortedRows[int] = SortedRows()
    plain: dict[str, int] = {}
    for key, value in steps:
        if value is None:
            assert rows.pop(key) == plain.pop(key, None)
        else:
            rows.put(key, value)
            plain[key] = value
    assert list(rows) == sorted(plain)
    assert rows.values() == tuple(plain[key] for key in sorted(plain))
    for start in ("a", "ab", "b/"):
        assert rows.keys_with(start) == [key for key in sorted(plain) if key.startswith(start)]
