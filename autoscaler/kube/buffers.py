"""
CapacityBuffers (autoscaling.x-k8s.io/v1beta1) and the PodTemplates they name, from API fields to values and back.

Only buffers of the strategy `buffer.x-k8s.io/active-capacity`, the default, are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from autoscaler.kube import decode_wire as wire
from autoscaler.kube.decode_defaults import with_api_defaults, with_pod_level_defaults
from autoscaler.kube.decode_read import amounts, object_name
from autoscaler.kube.decode_shape import DEFAULT_NAMESPACE, ShapeReader, shape_of
from autoscaler.kube.scale import ResourcePath
from autoscaler.kube.status_text import ObjectStatus, rfc3339
from autoscaler.model.buffer import Buffer
from autoscaler.model.pod import PodShape
from autoscaler.model.workload import Workload, workload_key
from autoscaler.planning.buffers import Room, room_of

BUFFERS = ResourcePath("autoscaling.x-k8s.io/v1beta1", "capacitybuffers")
KIND = "CapacityBuffer"
ACTIVE = "buffer.x-k8s.io/active-capacity"
READY, PROVISIONING = "ReadyForProvisioning", "Provisioning"


class TemplateRef(wire.Wire):
    name: str = ""


class ScalableRef(wire.Wire):
    kind: str = ""
    name: str = ""
    api_group: str | None = None


class BufferSpec(wire.Wire):
    provisioning_strategy: str | None = None
    pod_template_ref: TemplateRef | None = None
    scalable_ref: ScalableRef | None = None
    replicas: int | None = None
    percentage: int | None = None
    limits: wire.Quantities | None = None


class CapacityBuffer(wire.Any):
    spec: BufferSpec = msgspec.field(default_factory=BufferSpec)
    status: dict[str, Any] | None = None


class PodTemplate(wire.Any):
    """The object of kind PodTemplate, core/v1."""

    template: wire.PodTemplate = msgspec.field(default_factory=wire.PodTemplate)


class BufferRow(msgspec.Struct, frozen=True, kw_only=True):
    """A buffer without its template, which `template` names, and what its status says now."""

    buffer: Buffer
    template: str = ""
    uid: str = ""
    generation: int = 0
    status: Mapping[str, Any] = {}


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """What a PodTemplate's pods look like."""

    key: str
    shape: PodShape
    generation: int = 0


def buffer_of(thing: CapacityBuffer) -> BufferRow | None:
    """
    Translate a buffer; None for one of another strategy, which is somebody else's.

    Raises:
        InputError: a limit is no quantity.
    """
    spec, meta = thing.spec, thing.metadata
    if spec.provisioning_strategy not in (None, "", ACTIVE):
        return None
    namespace = meta.namespace or DEFAULT_NAMESPACE
    template = spec.pod_template_ref.name if spec.pod_template_ref is not None else ""
    scaled = spec.scalable_ref
    buffer = Buffer(
        namespace=namespace,
        name=meta.name,
        workload=workload_key(namespace, scaled.kind, scaled.name) if scaled is not None and scaled.name else "",
        replicas=spec.replicas,
        percentage=spec.percentage,
        limits=amounts(spec.limits, object_name(thing), "spec.limits"),
        problem=_problem(spec),
    )
    return BufferRow(
        buffer=buffer,
        template=template,
        uid=meta.uid or "",
        generation=meta.generation or 0,
        status=thing.status or {},
    )


def template_of(thing: PodTemplate, shapes: ShapeReader) -> Template:
    """
    Translate a PodTemplate; its pods get the API server's defaults.

    Raises:
        InputError: a field has a value that the API does not allow.
    """
    meta = replace(thing.template.metadata, namespace=thing.metadata.namespace)
    shape = shape_of(thing.template.spec, meta, where=object_name(thing), owner_kind="")
    return Template(
        key=f"{shape.namespace}/{thing.metadata.name}",
        shape=shapes.intern(with_pod_level_defaults(with_api_defaults(shape))),
        generation=thing.metadata.generation or 0,
    )


def joined(rows: Iterable[BufferRow], templates: Iterable[Template]) -> tuple[Buffer, ...]:
    """Return the buffers by key, each with its template."""
    shapes = {each.key: each.shape for each in templates}
    return tuple(sorted((_with_template(row, shapes) for row in rows), key=lambda buffer: buffer.key))


def buffer_statuses(
    rows: Iterable[BufferRow],
    buffers: Sequence[Buffer],
    workloads: Iterable[Workload],
    *,
    why_not: str,
    now: float,
) -> tuple[ObjectStatus, ...]:
    """
    Return the status of each buffer; *why_not* tells why no room is kept for any, "" where it is.

    *buffers* and *workloads* are those that the decision rested on.
    """
    known, by_key = {each.key: each for each in workloads}, {each.key: each for each in buffers}
    return tuple(
        _status(row, room_of(by_key[row.buffer.key], known), why_not=why_not, now=now)
        for row in rows
        if row.buffer.key in by_key
    )


def _problem(spec: BufferSpec) -> str:
    has_template = spec.pod_template_ref is not None and bool(spec.pod_template_ref.name)
    has_target = spec.scalable_ref is not None and bool(spec.scalable_ref.name)
    if has_template == has_target:
        return "spec: one of podTemplateRef and scalableRef is needed, and not both"
    if spec.percentage is not None and not has_target:
        return "spec.percentage: allowed only with scalableRef"
    for name, value in (("replicas", spec.replicas), ("percentage", spec.percentage)):
        if value is not None and value < 0:
            return f"spec.{name}: {value} is not valid; allowed: at least 0"
    return ""


def _with_template(row: BufferRow, shapes: Mapping[str, PodShape]) -> Buffer:
    if not row.template or row.buffer.problem:
        return row.buffer
    shape = shapes.get(f"{row.buffer.namespace}/{row.template}")
    if shape is None:
        problem = f"spec.podTemplateRef.name: there is no PodTemplate {row.buffer.namespace}/{row.template}"
        return replace(row.buffer, problem=problem)
    return replace(row.buffer, template=shape)


def _status(row: BufferRow, room: Room, *, why_not: str, now: float) -> ObjectStatus:
    problem = room.problem
    ready = (READY, not problem, "Resolved" if not problem else "Invalid", problem)
    kept = not problem and not why_not
    provisioning = (PROVISIONING, kept, "Planned" if kept else "NotPlanned", problem or why_not)
    before = {each.get("type"): each for each in row.status.get("conditions") or ()}
    status: dict[str, Any] = {
        "replicas": room.pods,
        "provisioningStrategy": ACTIVE,
        "conditions": [_condition(each, before, generation=row.generation, now=now) for each in (ready, provisioning)],
    }
    if row.template:
        status["podTemplateRef"] = {"name": row.template}
    return ObjectStatus(
        resource=BUFFERS,
        kind=KIND,
        namespace=row.buffer.namespace,
        name=row.buffer.name,
        uid=row.uid,
        status=status,
        before=row.status,
    )


def _condition(
    said: tuple[str, bool, str, str], before: Mapping[Any, Mapping[str, Any]], *, generation: int, now: float
) -> dict[str, Any]:
    kind, holds, reason, message = said
    status, told = str(holds), before.get(kind, {})
    since = told.get("lastTransitionTime") if told.get("status") == status else None
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since or rfc3339(now),
    }
