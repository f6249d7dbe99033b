"""
Finds what a document's `scaleTargetRef` names when it is no built-in workload.

Source: Kubernetes documentation, "Custom resources", scale subresource: the
CRD says at which paths an object keeps its replicas and its selector.
"""

from __future__ import annotations

from typing import Any

import msgspec

from autoscaler.errors import InputError
from autoscaler.kube import decode_wire as wire
from autoscaler.kube.client import ApiServer, NotFoundError
from autoscaler.kube.decode_defaults import with_api_defaults, with_pod_level_defaults
from autoscaler.kube.decode_placement import selector_of_text
from autoscaler.kube.decode_read import object_name, seconds
from autoscaler.kube.decode_shape import DEFAULT_NAMESPACE, ShapeReader, claims_of, shape_of
from autoscaler.kube.kinds import resource_path
from autoscaler.model.placement import LabelSelector, labels_of
from autoscaler.model.pod import PodShape
from autoscaler.model.workload import Workload

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class ScalableKind(msgspec.Struct, frozen=True, kw_only=True):
    """
    A kind with a scale subresource, and where its objects keep what that reads and writes.

    Paths are JSON paths as in a CRD (`.spec.replicas`); an API that is not a
    CRD is taken to use the usual ones.
    """

    kind: str
    api_version: str
    resource: str
    replicas_path: str = ".spec.replicas"
    status_replicas_path: str = ".status.replicas"
    selector_path: str = ".status.selector"

    @property
    def path(self) -> str:
        """Where all objects of the kind are."""
        return resource_path(self.api_version, self.resource)


class CustomRow(msgspec.Struct, frozen=True, gc=False):
    """A workload of a custom kind; `template` None means that its pods must tell."""

    workload: Workload
    template: PodShape | None


class _ApiResource(msgspec.Struct):
    name: str
    kind: str


class _ApiResources(msgspec.Struct):
    resources: list[_ApiResource] = []


class _Scale(msgspec.Struct, rename="camel"):
    spec_replicas_path: str = ".spec.replicas"
    status_replicas_path: str = ".status.replicas"
    label_selector_path: str = ""


class _Subresources(msgspec.Struct):
    scale: _Scale | None = None


class _Version(msgspec.Struct):
    name: str
    subresources: _Subresources | None = None


class _DefinitionSpec(msgspec.Struct):
    versions: list[_Version] = []


class _Definition(msgspec.Struct):
    spec: _DefinitionSpec = msgspec.field(default_factory=_DefinitionSpec)


async def find_scalable(api: ApiServer, *, api_version: str, kind: str) -> ScalableKind:
    """
    Return where the objects of *kind* are and how they are scaled.

    Raises:
        InputError: there is no such kind, or it has no scale subresource.
        AccessError: discovery, or reading the CRD, is not allowed.
        TransientError: the API server does not answer.
    """
    where = f"{api_version} {kind}"
    try:
        body = await api.get(resource_path(api_version, "").rstrip("/"))
    except NotFoundError as error:
        raise InputError(where, "apiVersion", api_version, "an API that is installed") from error
    listed = msgspec.json.decode(body, type=_ApiResources).resources
    resource = next((each.name for each in listed if each.kind == kind and "/" not in each.name), "")
    if not resource:
        raise InputError(where, "kind", kind, f"a kind of {api_version}")
    if f"{resource}/scale" not in {each.name for each in listed}:
        raise InputError(where, "kind", kind, "a kind with a scale subresource")
    scale = await _scale_of(api, api_version=api_version, resource=resource)
    if scale is None:
        return ScalableKind(kind=kind, api_version=api_version, resource=resource)
    return ScalableKind(
        kind=kind,
        api_version=api_version,
        resource=resource,
        replicas_path=scale.spec_replicas_path,
        status_replicas_path=scale.status_replicas_path,
        selector_path=scale.label_selector_path,
    )


async def _scale_of(api: ApiServer, *, api_version: str, resource: str) -> _Scale | None:
    """Return the paths that the CRD gives, None for what is no CRD."""
    group, _, version = api_version.rpartition("/")
    try:
        body = await api.get(f"{_DEFINITIONS}/{resource}.{group}")
    except NotFoundError:
        return None
    versions = msgspec.json.decode(body, type=_Definition).spec.versions
    found = next((each.subresources for each in versions if each.name == version), None)
    return found.scale if found is not None else None


def custom_row_of(thing: wire.Document, kind: ScalableKind, shapes: ShapeReader) -> CustomRow:
    """
    Translate an object of a kind found by discovery.

    Raises:
        InputError: its pod template has a field that the API does not allow.
    """
    thing.kind = kind.kind
    document = {"spec": thing.spec, "status": thing.status}
    meta = thing.metadata
    namespace = meta.namespace or DEFAULT_NAMESPACE
    replicas, present = _at(document, kind.replicas_path), _at(document, kind.status_replicas_path)
    selector = _at(document, kind.selector_path)
    template = _template_of(thing, kind, shapes)
    workload = Workload(
        namespace=namespace,
        kind=kind.kind,
        name=meta.name,
        replicas=replicas if isinstance(replicas, int) else 1,
        template=template or PodShape(namespace=namespace),
        status_replicas=present if isinstance(present, int) else 0,
        api_version=kind.api_version,
        selector=(selector_of_text(selector) if isinstance(selector, str) else None) or _labels(template),
        labels=labels_of(meta.labels or {}),
        created_at=seconds(meta.creation_timestamp),
        changed_at=seconds(meta.creation_timestamp),
    )
    return CustomRow(workload, template)


def _labels(template: PodShape | None) -> LabelSelector:
    return LabelSelector(template.labels) if template is not None else LabelSelector()


def _template_of(thing: wire.Document, kind: ScalableKind, shapes: ShapeReader) -> PodShape | None:
    """Return the shape of `spec.template`, None where that is no pod template."""
    found = thing.spec.get("template")
    spec = found.get("spec") if isinstance(found, dict) else None
    if not isinstance(spec, dict) or not spec.get("containers"):
        return None
    try:
        template = msgspec.convert(found, wire.PodTemplate)
    except msgspec.ValidationError:
        return None
    meta = msgspec.structs.replace(template.metadata, namespace=thing.metadata.namespace)
    # Like a Deployment's: the controllers that have such a template make ReplicaSets, or pods, of it.
    shape = shape_of(template.spec, meta, where=object_name(thing), owner_kind=kind.kind)
    shape = msgspec.structs.replace(shape, claims=claims_of(template.spec, ""), node_name=template.spec.node_name or "")
    return shapes.intern(with_pod_level_defaults(with_api_defaults(shape)))


def _at(document: Any, path: str) -> Any:
    """Return the value at a CRD's path, None where there is none; these paths have no array steps."""
    for step in path.strip(".").split("."):
        document = document.get(step) if isinstance(document, dict) else None
    return document
