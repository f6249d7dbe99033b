"""
The cluster as the API server tells it, kept up to date by one list-watch a kind.

Everything is decoded into the model's values as it arrives, and nothing else
is kept. `observe` joins what is there: it costs what changed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

import msgspec

from autoscaler.errors import TransientError
from autoscaler.interfaces import Clock
from autoscaler.kube import decode_wire as wire
from autoscaler.kube import kinds
from autoscaler.kube.buffers import BufferRow, joined
from autoscaler.kube.client import ApiServer
from autoscaler.kube.custom_workloads import CustomWorkloads
from autoscaler.kube.decode_pod import pod_of
from autoscaler.kube.decode_shape import ShapeReader
from autoscaler.kube.kinds import GkeRow, Kind
from autoscaler.kube.owners import ReplicaSetOwners
from autoscaler.kube.scale import ResourcePath
from autoscaler.kube.table import Table
from autoscaler.kube.watch import AnyListWatch, ListWatch
from autoscaler.kube.workloads import WorkloadView
from autoscaler.model.buffer import Buffer
from autoscaler.model.pod import Pod
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.volumes import Volumes
from autoscaler.model.workload import Rival

POLL_SECONDS = 0.05
SPARE_SHAPES = 1000
"""So many shapes may be kept that no pod has any more, before they are looked through."""


class KindCount(msgspec.Struct, frozen=True, kw_only=True):
    """How the watching of one kind goes: `lists` and `watches` were begun, `events` received."""

    kind: str
    objects: int
    lists: int
    watches: int
    events: int


class _Watched:
    """One kind's list-watch and its table."""

    def __init__(self, kind: Kind, table: Table[Any, Any], follow: AnyListWatch) -> None:
        self.kind, self.table, self.follow = kind, table, follow

    @property
    def is_settled(self) -> bool:
        """All that can be known of it is known."""
        return self.follow.is_synced or (self.kind.optional and self.follow.is_refused)

    @property
    def can_age(self) -> bool:
        """It is there to be known: a kind that is not installed does not get older."""
        return self.follow.is_installed and not (self.kind.optional and self.follow.is_refused)


class ClusterStore:
    """
    Implements `interfaces.ClusterReader` and keeps itself up to date while `run` runs.

    *period* (seconds) and *name* go into each snapshot. *on_unschedulable* is
    called, on the event loop, when a pod is found to fit nowhere; *on_problem*
    with a kind and what is wrong with watching it, "" when it is right again.
    """

    def __init__(
        self,
        api: ApiServer,
        clock: Clock,
        *,
        period: float = 15.0,
        name: str = "cluster",
        random: Random | None = None,
        on_unschedulable: Callable[[], None] = lambda: None,
        on_problem: Callable[[str, str], None] = lambda kind, problem: None,
    ) -> None:
        self._api, self._clock, self._random = api, clock, random or Random()  # noqa: S311
        self._period, self._name = period, name
        self.on_unschedulable, self._on_problem = on_unschedulable, on_problem
        self._shapes = ShapeReader()
        self._most_shapes = SPARE_SHAPES
        self._problems: dict[str, str] = {}
        self._pods: Table[wire.Pod, Pod] = Table(self._pod, changed=self._pod_changed, separator="\0")
        self._owners = ReplicaSetOwners(self._pods)
        self._watched: dict[Kind, _Watched] = {}
        self._watch_all()
        self._custom = CustomWorkloads(
            api,
            clock,
            random=self._random,
            documents=self.documents,
            shapes=self._shapes,
            changed=self._workload_changed,
        )
        self._view = WorkloadView(
            clock,
            shapes=self._shapes,
            tables=[self._table(kind) for kind in (kinds.REPLICA_SETS, *kinds.WORKLOADS)],
            priorities=self._table(kinds.PRIORITIES),
            custom=self._custom.tables,
        )
        self._documents: tuple[Mapping[str, Any], ...] = ()
        self._documents_of: tuple[int, ...] = ()

    async def run(self) -> None:
        """List and watch everything until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for watched in self._watched.values():
                tasks.create_task(self._follow(watched), name=watched.kind.resource)
            tasks.create_task(self._custom.run(), name="custom workloads")

    @property
    def is_ready(self) -> bool:
        """All that is installed was listed once."""
        return all(watched.is_settled for watched in self._watched.values())

    async def wait_ready(self, timeout: float) -> None:
        """
        Wait until all is listed.

        Raises:
            TransientError: it took longer than *timeout* seconds; the message
                names what is missing, and why if that is known.
        """
        until = self._clock.monotonic() + timeout
        while not self.is_ready:
            if self._clock.monotonic() >= until:
                raise self._not_ready()
            await self._clock.sleep(POLL_SECONDS)

    def staleness(self, monotonic: float) -> float:
        """Return the seconds since the least fresh kind was last in touch with the server, infinite if never."""
        touched = [watched.follow.touched_at for watched in self._watched.values() if watched.can_age]
        return max((math.inf if at is None else monotonic - at for at in touched), default=0.0)

    async def observe(self, at: float) -> ClusterSnapshot:
        """
        Return the cluster as last heard of; see `staleness` for how old that may be.

        Raises:
            TransientError: not everything was listed yet.
        """
        if not self.is_ready:
            raise self._not_ready()
        self._forget_shapes()
        return ClusterSnapshot(
            observed_at=at,
            pods=self.pods(),
            nodes=self._table(kinds.NODES).values(),
            workloads=self._view.workloads(),
            disruption_budgets=self._table(kinds.BUDGETS).values(),
            namespaces=self._table(kinds.NAMESPACES).values(),
            quotas=self._table(kinds.QUOTAS).values(),
            limit_ranges=self._table(kinds.LIMIT_RANGES).values(),
            rivals=self._rivals(),
            services=self._table(kinds.SERVICES).values(),
            volumes=Volumes(
                volumes=self._table(kinds.VOLUMES).values(),
                claims=self._table(kinds.CLAIMS).values(),
                classes=self._table(kinds.CLASSES).values(),
                attach_limits=self._table(kinds.ATTACH_LIMITS).values(),
            ),
            period=self._period,
            name=self._name,
            buffers=self._buffers(),
        )

    def pods(self) -> tuple[Pod, ...]:
        """Return all pods, by namespace and name."""
        return self._pods.values()

    def documents(self) -> tuple[Mapping[str, Any], ...]:
        """Return the objects of our kinds, and GKE's mpas, in a set order: the same tuple until one changes."""
        tables = [self._table(kind) for kind in kinds.DOCUMENTS]
        gke = self._table(kinds.GKE_AUTOSCALERS)
        versions = tuple(table.version for table in (*tables, gke))
        if versions != self._documents_of:
            rows = [document for table in tables for document in table.values()]
            rows += [row.document for row in gke.values()]
            self._documents = tuple(sorted(rows, key=_document_key))
            self._documents_of = versions
        return self._documents

    def buffer_rows(self) -> tuple[BufferRow, ...]:
        """Return the CapacityBuffers as they are, with their statuses."""
        rows: tuple[BufferRow, ...] = self._table(kinds.BUFFERS).values()
        return rows

    def resource_of(self, kind: str) -> ResourcePath | None:
        """Return where workloads of a custom kind are served, None where it is not known (yet)."""
        return self._custom.resource_of(kind)

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong now: kinds that cannot be watched, then objects that cannot be read."""
        found = [self._problems[kind] for kind in sorted(self._problems)]
        for watched in self._watched.values():
            found += watched.table.problems
        found += self._custom.problems
        return (*found, *(f"{key}: nothing tells yet what its pods ask for" for key in self._view.untold()))

    def counts(self) -> Sequence[KindCount]:
        """Return figures of each kind."""
        return [
            KindCount(
                kind=each.kind.kind,
                objects=len(each.table),
                lists=each.follow.lists,
                watches=each.follow.watches,
                events=each.follow.events,
            )
            for each in self._watched.values()
        ]

    def _watch_all(self) -> None:
        for kind in kinds.WATCHED:
            table = self._pods if kind is kinds.PODS else Table(self._translator(kind), changed=self._hook(kind))
            follow: AnyListWatch = ListWatch(
                self._api,
                self._clock,
                path=kind.path,
                kind=kind.wire,
                sink=table,
                random=self._random,
                tell=partial(self._tell, f"{kind.resource}.{kind.group}".rstrip(".")),
            )
            self._watched[kind] = _Watched(kind, table, follow)

    async def _follow(self, watched: _Watched) -> None:
        if watched.kind is kinds.PODS:
            # With the ReplicaSets known, each pod finds its workload at once.
            while not self._watched[kinds.REPLICA_SETS].follow.is_synced:
                await self._clock.sleep(POLL_SECONDS)
        await watched.follow.run()

    def _table(self, kind: Kind) -> Table[Any, Any]:
        return self._watched[kind].table

    def _translator(self, kind: Kind) -> Callable[[Any], Any]:
        def translate(thing: wire.Any) -> Any:
            # The items of a list do not say what they are.
            thing.kind, thing.api_version = kind.kind, kind.api_version
            return kind.translate(thing, self._shapes)

        return translate

    def _hook(self, kind: Kind) -> Callable[[str, object, object], None] | None:
        if kind is kinds.REPLICA_SETS:
            return self._replica_set_changed
        return self._workload_changed if kind in kinds.WORKLOADS else None

    def _replica_set_changed(self, key: str, old: object, new: object) -> None:
        self._owners.row_changed(key, old, new)
        self._view.row_changed(key, old, new)

    def _workload_changed(self, key: str, old: object, new: object) -> None:
        self._view.row_changed(key, old, new)

    def _pod(self, thing: wire.Pod) -> Pod:
        thing.kind = "Pod"
        return pod_of(thing, self._shapes, owners=self._owners.known)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if new is None:
            return
        self._view.pod_changed(old, new)
        if new.unschedulable_since is not None and (old is None or old.unschedulable_since is None):
            self.on_unschedulable()

    def _rivals(self) -> tuple[Rival, ...]:
        found: list[Rival] = [rival for kind in kinds.RIVALS for rival in self._table(kind).values()]
        rows: tuple[GkeRow, ...] = self._table(kinds.GKE_AUTOSCALERS).values()
        found += [row.rival for row in rows if row.rival is not None]
        return tuple(sorted(found, key=lambda rival: rival.key))

    def _buffers(self) -> tuple[Buffer, ...]:
        rows = self.buffer_rows()
        return joined(rows, self._table(kinds.TEMPLATES).values()) if rows else ()

    def _forget_shapes(self) -> None:
        """Drop shapes that nothing has any more, once there are many; what is being listed may need them still."""
        if len(self._shapes) <= self._most_shapes or self._pods.is_staging:
            return
        used = {id(pod.shape): pod.shape for pod in self.pods()}
        used |= {id(each.template): each.template for each in self._view.workloads()}
        self._shapes.forget_all_but(used.values())
        self._most_shapes = 2 * len(used) + SPARE_SHAPES

    def _tell(self, kind: str, problem: str) -> None:
        if problem:
            self._problems[kind] = problem
        else:
            self._problems.pop(kind, None)
        self._on_problem(kind, problem)

    def _not_ready(self) -> TransientError:
        missing = [each for each in self._watched.values() if not each.is_settled]
        why = "; ".join(self._problems[kind] for kind in sorted(self._problems))
        # What passes by itself is no problem of a kind's; while it lasts it is mostly one thing for all of them.
        why = why or next((each.follow.trouble for each in missing if each.follow.trouble), "")
        names = ", ".join(each.kind.resource for each in missing)
        return TransientError(f"not listed yet: {names}{' (' + why + ')' if why else ''}", retry_after_seconds=1.0)


def _document_key(document: Mapping[str, Any]) -> tuple[str, str, str, str]:
    meta = document["metadata"]
    return document["kind"], meta.get("namespace", ""), meta["name"], document["apiVersion"]
