"""Watches the custom workloads that documents name, and stops when none names them any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from random import Random
from typing import Any

from autoscaler.errors import AutoscalerError, InputError
from autoscaler.interfaces import Clock
from autoscaler.kube import decode_wire as wire
from autoscaler.kube.client import ApiServer
from autoscaler.kube.decode_shape import ShapeReader
from autoscaler.kube.discovery import CustomRow, ScalableKind, custom_row_of, find_scalable
from autoscaler.kube.scale import ResourcePath
from autoscaler.kube.table import Table
from autoscaler.kube.watch import LOOK_AGAIN_SECONDS, ListWatch
from autoscaler.kube.workloads import BUILT_IN

LOOK_SECONDS = 2.0
"""How soon a new document's workload is looked for."""

Target = tuple[str, str]
"""apiVersion and kind."""


class CustomWorkloads:
    """
    Tables of the custom kinds in use, by (apiVersion, kind).

    A kind that cannot be found, or has no scale subresource, is named in
    `problems` and looked for again each minute.
    """

    def __init__(
        self,
        api: ApiServer,
        clock: Clock,
        *,
        random: Random,
        documents: Callable[[], Iterable[Mapping[str, Any]]],
        shapes: ShapeReader,
        changed: Callable[[str, object, object], None],
    ) -> None:
        self._api, self._clock, self._random = api, clock, random
        self._documents, self._shapes, self._changed = documents, shapes, changed
        self._tables: dict[Target, Table[wire.Document, CustomRow]] = {}
        self._tasks: dict[Target, asyncio.Task[None]] = {}
        self._problems: dict[Target, str] = {}
        self._kinds: dict[str, ResourcePath] = {}

    def tables(self) -> Iterable[Table[wire.Document, CustomRow]]:
        """Return the tables, by apiVersion and kind."""
        return [self._tables[target] for target in sorted(self._tables)]

    def resource_of(self, kind: str) -> ResourcePath | None:
        """Return where objects of a custom kind are served, None where it was not found (yet)."""
        return self._kinds.get(kind)

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be found or read, one line each."""
        wrong = [self._problems[target] for target in sorted(self._problems)]
        return (*wrong, *(problem for table in self.tables() for problem in table.problems))

    async def run(self) -> None:
        """Watch what documents name until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                wanted = targets_of(self._documents())
                for target in self._tasks.keys() - wanted:
                    self._tasks.pop(target).cancel()
                    self._tables.pop(target, None)
                    self._problems.pop(target, None)
                for target in sorted(wanted - self._tasks.keys()):
                    self._tasks[target] = tasks.create_task(self._follow(target))
                await self._clock.sleep(LOOK_SECONDS)

    async def _follow(self, target: Target) -> None:
        kind = await self._found(target)
        table: Table[wire.Document, CustomRow] = Table(
            lambda thing: custom_row_of(thing, kind, self._shapes), changed=self._changed
        )
        self._tables[target] = table
        await ListWatch(
            self._api,
            self._clock,
            path=kind.path,
            kind=wire.Document,
            sink=table,
            random=self._random,
            tell=partial(self._tell, target),
        ).run()

    async def _found(self, target: Target) -> ScalableKind:
        api_version, kind = target
        while True:
            try:
                found = await find_scalable(self._api, api_version=api_version, kind=kind)
            except AutoscalerError as error:
                self._tell(target, str(error))
                pause = LOOK_AGAIN_SECONDS if isinstance(error, InputError) else LOOK_SECONDS
                await self._clock.sleep(pause * self._random.uniform(0.75, 1.0))
            else:
                self._tell(target, "")
                self._kinds[kind] = ResourcePath(found.api_version, found.resource)
                return found

    def _tell(self, target: Target, problem: str) -> None:
        if problem:
            self._problems[target] = problem
        else:
            self._problems.pop(target, None)


def targets_of(documents: Iterable[Mapping[str, Any]]) -> set[Target]:
    """
    Return the (apiVersion, kind) of the targets that are no built-in workloads.

    >>> rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"}
    >>> targets_of([{"spec": {"scaleTargetRef": rollout}}])
    {('argoproj.io/v1alpha1', 'Rollout')}
    """
    found = set()
    for document in documents:
        spec = document.get("spec")
        target = spec.get("scaleTargetRef") if isinstance(spec, dict) else None
        if isinstance(target, dict):
            api_version, kind = target.get("apiVersion"), target.get("kind")
            if isinstance(api_version, str) and isinstance(kind, str) and kind not in BUILT_IN:
                found.add((api_version, kind))
    return found
