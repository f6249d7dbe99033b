"""Joins what tables and notes say of workloads into values, anew only when one of them changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from autoscaler.interfaces import Clock
from autoscaler.kube.decode_shape import ShapeReader
from autoscaler.kube.decode_workload import PriorityClass
from autoscaler.kube.discovery import CustomRow
from autoscaler.kube.kinds import REPLICA_SETS, WORKLOADS, WorkloadRow
from autoscaler.kube.table import Table
from autoscaler.kube.workload_notes import WorkloadNotes, start_seconds_of
from autoscaler.model.pod import Pod, PodShape
from autoscaler.model.workload import Workload

BUILT_IN = frozenset(kind.kind for kind in (REPLICA_SETS, *WORKLOADS))
_REVISED = frozenset(("Deployment", "StatefulSet", "DaemonSet"))
"""Kinds whose revision changes with a roll-out only; of the others it is a generation, which scaling changes too."""
_NEVER_READY = "/Job/"
_CRITICAL = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""Kubernetes makes these two itself (scheduling.k8s.io, `pkg/apis/scheduling/v1/helpers.go`)."""


class WorkloadView:
    """
    All workloads, with their priorities and what watching them told.

    *tables* are those of the built-in kinds and *custom* gives those of kinds
    found by discovery.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        shapes: ShapeReader,
        tables: Sequence[Table[Any, Any]],
        priorities: Table[Any, PriorityClass],
        custom: Callable[[], Iterable[Table[Any, CustomRow]]],
    ) -> None:
        self.notes = WorkloadNotes()
        self._clock, self._shapes = clock, shapes
        self._tables, self._priorities, self._custom = tables, priorities, custom
        self._made_from: tuple[object, ...] = ()
        self._default: PriorityClass | None = None
        self._workloads: tuple[Workload, ...] = ()
        self._untold: tuple[str, ...] = ()

    def workloads(self) -> tuple[Workload, ...]:
        """Return all workloads, by key."""
        custom = tuple(self._custom())
        sources = (*self._tables, self._priorities, *custom)
        made_from = (self.notes.version, *((id(table), table.version) for table in sources))
        if made_from != self._made_from:
            self._default = _default_of(self._priorities.values())
            rows = [row for table in self._tables for row in table.values() if isinstance(row, WorkloadRow)]
            found = [self._built_in(row) for row in rows]
            rest = [row for table in custom for row in table.values()]
            found += [each for each in map(self._of_custom, rest) if each is not None]
            self._untold = tuple(sorted(row.workload.key for row in rest if self._custom_template(row) is None))
            self._workloads = tuple(sorted(found, key=lambda each: each.key))
            self._made_from = made_from
        return self._workloads

    def untold(self) -> tuple[str, ...]:
        """Return the custom workloads that are left out since neither they nor a pod tell what their pods ask for."""
        self.workloads()
        return self._untold

    def row_changed(self, key: str, old: object, new: object) -> None:
        """Note changes of a workload's row."""
        before, now = _workload(old), _workload(new)
        if before is None:
            return
        if now is None:
            self.notes.forget(before.key)
        elif before.template != now.template or (now.kind in _REVISED and before.revision != now.revision):
            self.notes.note_change(now.key, self._clock.now())

    def pod_changed(self, old: Pod | None, new: Pod) -> None:
        """Note what a pod tells of its workload."""
        workload = new.workload
        if not workload or _NEVER_READY in workload:
            return
        if workload.split("/")[1] not in BUILT_IN:
            self.notes.note_shape(workload, new.shape)
        if old is None or not old.is_ready:
            seconds = start_seconds_of(new)
            if seconds is not None:
                self.notes.note_start(workload, created_at=new.created_at, seconds=seconds)

    def _built_in(self, row: WorkloadRow) -> Workload:
        template = self._with_priority(row.workload.template, row.priority_class)
        return self._noted(row.workload, template)

    def _of_custom(self, row: CustomRow) -> Workload | None:
        template = self._custom_template(row)
        return None if template is None else self._noted(row.workload, template)

    def _custom_template(self, row: CustomRow) -> PodShape | None:
        """Return its own template, with what only its pods tell, or else the shape of one of them."""
        seen = self.notes.shape(row.workload.key)
        if row.template is None or seen is None:
            return row.template or seen
        told = replace(
            row.template,
            owner_kind=seen.owner_kind,
            priority=seen.priority,
            preemption_policy=seen.preemption_policy,
        )
        return self._shapes.intern(told)

    def _noted(self, workload: Workload, template: PodShape) -> Workload:
        key = workload.key
        return replace(
            workload,
            template=template,
            start_seconds=self.notes.start_seconds(key),
            changed_at=self.notes.changed_at(key) or workload.changed_at,
        )

    def _with_priority(self, template: PodShape, name: str) -> PodShape:
        """
        Return the template with the priority its pods get at admission.

        Source: Kubernetes documentation, "Pod Priority and Preemption": the
        class that is named, else the default one.
        """
        found = self._priorities.get(f"/{name}") if name else self._default
        if found is None:
            value = _CRITICAL.get(name, template.priority)
            return template if value == template.priority else self._shapes.intern(replace(template, priority=value))
        if (found.value, found.preemption_policy) == (template.priority, template.preemption_policy):
            return template
        told = replace(template, priority=found.value, preemption_policy=found.preemption_policy)
        return self._shapes.intern(told)


def _default_of(classes: Iterable[PriorityClass]) -> PriorityClass | None:
    """Return the default class; of several the lowest counts."""
    defaults = [each for each in classes if each.is_default]
    return min(defaults, key=lambda each: (each.value, each.name), default=None)


def _workload(row: object) -> Workload | None:
    return row.workload if isinstance(row, WorkloadRow | CustomRow) else None
