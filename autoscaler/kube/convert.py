"""
Documents of other autoscalers as documents of ours, and what that leaves out.

An HPA (or ScaledObject) and a VPA on one workload become one mpa. Engines
default to those that decide as the original does: hpa, vpa, hpa+vpa, keda, mpa.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from autoscaler.documents import Document
from autoscaler.errors import PolicyError
from autoscaler.kube.convert_fields import Fields, Note, Source, given
from autoscaler.kube.convert_keda import part_of_scaled_object
from autoscaler.kube.convert_nodes import node_group_of
from autoscaler.kube.convert_parts import Part, part_of_gke, part_of_hpa, part_of_vpa
from autoscaler.policy_files.read import API_VERSION, flat_documents, parse_document

VERSIONS: Mapping[str, tuple[str, ...]] = {
    "HorizontalPodAutoscaler": ("autoscaling/v2", "autoscaling/v1", "autoscaling/v2beta2"),
    "VerticalPodAutoscaler": ("autoscaling.k8s.io/v1", "autoscaling.k8s.io/v1beta2"),
    "ScaledObject": ("keda.sh/v1alpha1",),
    "MultidimPodAutoscaler": ("autoscaling.gke.io/v1beta1",),
    "NodePool": ("karpenter.sh/v1",),
}
"""Kinds that are read, each with its versions, the best first."""
JOINT = "joint"
_SHORT = {"HorizontalPodAutoscaler": "hpa", "VerticalPodAutoscaler": "vpa", "ScaledObject": "keda"}


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A document of ours and the objects that it was made of."""

    value: dict[str, Any]
    sources: tuple[Source, ...]


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """
    The documents, by namespace and name, and notes in the order of the sources.

    `skipped` counts documents of other kinds.
    """

    documents: tuple[Made, ...] = ()
    notes: tuple[Note, ...] = ()
    skipped: int = 0

    @property
    def lost(self) -> tuple[Note, ...]:
        """The notes on what has no equivalent."""
        return tuple(note for note in self.notes if note.lost)


def convert(documents: Iterable[Document], *, engine: str = "") -> Converted:
    """
    Return what *documents* say, in documents of ours.

    Args:
        documents: of any kind; those of no autoscaler are counted and left alone.
        engine: `joint` for the joint engine in place of those that decide as the originals do.

    Raises:
        InputError: a value in one of them has the wrong type; it names the object and the path.
    """
    notes: list[Note] = []
    parts: list[Part] = []
    made: list[Made] = []
    seen: set[str] = set()
    skipped = 0
    for document in flat_documents(documents):
        source = _source_of(document)
        if source is None:
            skipped += 1
        elif source.version not in VERSIONS[source.kind]:
            allowed = ", ".join(VERSIONS[source.kind])
            notes.append(_lost(source, f"{source.version} is not read: allowed are {allowed}"))
        elif source.title in seen:
            notes.append(_lost(source, f"it is given twice: the one in {source.where} is left out"))
        else:
            seen.add(source.title)
            found = _read(source, document.value, notes)
            parts += [found] if isinstance(found, Part) else []
            made += [found] if isinstance(found, Made) else []
    made += [_mpa(group, engine, notes) for group in _by_workload(parts)]
    whole = [each for each in _named_apart(made, notes) if _is_valid(each, notes)]
    return Converted(documents=tuple(sorted(whole, key=_order)), notes=tuple(notes), skipped=skipped)


def _order(made: Made) -> tuple[str, str, str]:
    metadata = made.value["metadata"]
    return made.value["kind"], metadata.get("namespace", ""), metadata["name"]


def _source_of(document: Document) -> Source | None:
    """Return what a document is, None where it is none of an autoscaler."""
    value = document.value
    if not isinstance(value, Mapping):
        return None
    kind, version, metadata = value.get("kind"), value.get("apiVersion"), value.get("metadata")
    if not isinstance(kind, str) or not isinstance(version, str) or not isinstance(metadata, Mapping):
        return None
    groups = {each.split("/")[0] for each in VERSIONS.get(kind, ())}
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if version.split("/")[0] not in groups or not isinstance(name, str):
        return None
    namespace = namespace if isinstance(namespace, str) else ""
    return Source(kind=kind, name=name, namespace=namespace, version=version, where=document.where)


def _read(source: Source, value: Mapping[str, Any], notes: list[Note]) -> Part | Made | None:
    spec = Fields(source, value.get("spec") or {}, "spec", notes)
    metadata = Fields(source, value["metadata"], "metadata", notes)
    owner = _keda_owner(metadata)
    if source.kind == "HorizontalPodAutoscaler" and owner:
        notes.append(Note(source=source.title, path="", message=f"it belongs to {owner}, which counts", lost=False))
        return None
    if source.kind == "HorizontalPodAutoscaler":
        return part_of_hpa(source, spec, metadata)
    if source.kind == "VerticalPodAutoscaler":
        return part_of_vpa(source, spec)
    if source.kind == "ScaledObject":
        return part_of_scaled_object(source, spec, metadata)
    if source.kind == "NodePool":
        return Made(value=node_group_of(source, spec), sources=(source,))
    return part_of_gke(source, spec)


def _keda_owner(metadata: Fields) -> str:
    for owner in metadata.parts("ownerReferences"):
        if owner.text("kind") == "ScaledObject":
            return f"ScaledObject {owner.text('name')}"
    return ""


def _by_workload(parts: Iterable[Part]) -> list[list[Part]]:
    groups: dict[tuple[str, str, str], list[Part]] = {}
    for part in parts:
        groups.setdefault(part.workload, []).append(part)
    return [sorted(group, key=lambda part: part.source.name) for group in groups.values()]


def _mpa(parts: Sequence[Part], engine: str, notes: list[Note]) -> Made:
    """Return one mpa of all that is said of one workload: the first that counts, and the first that sizes."""
    counting = next((part for part in parts if part.horizontal), None)
    sizing = (
        next((part for part in parts if part.vertical), None) if counting is None or not counting.vertical else None
    )
    used = [part for part in (counting, sizing) if part is not None]
    already = f"left out: {used[0].source.title} speaks of the same workload"
    notes += [_lost(part.source, already) for part in parts if part not in used]
    spec = _both(counting, sizing, engine, notes) if counting and sizing else _one(used[0], engine, notes)
    source = used[0].source
    value = {
        "apiVersion": API_VERSION,
        "kind": "MultidimPodAutoscaler",
        "metadata": {"name": source.name, **given(namespace=source.namespace)},
        "spec": spec,
    }
    return Made(value=value, sources=tuple(part.source for part in used))


def _one(part: Part, engine: str, notes: list[Note]) -> dict[str, Any]:
    if engine == JOINT and not (part.horizontal and part.vertical):
        side = "requests, too: constraints.container bounds them" if part.horizontal else "replicas, too"
        notes.append(Note(source=part.source.title, path="", message=f"engine joint sets {side}", lost=False))
    return _spec(part, part.constraints, engine or part.engine, notes, mode=part.mode)


def _both(counting: Part, sizing: Part, engine: str, notes: list[Note]) -> dict[str, Any]:
    """Return the spec of an HPA and a VPA on one workload: what the one scales on, the other does not size."""
    title = sizing.source.title
    if sizing.mode == "Recommend":
        told = f"the mpa acts, as {counting.source.title} does: sizes are neither told nor changed"
        notes.append(Note(source=title, path="spec.updatePolicy.updateMode", message=told))
        nothing: dict[str, Any] = {"containerControlledResources": []}
        return _spec(counting, nothing, engine or counting.engine, notes, mode="Auto")
    # Initial: new pods get new sizes, running ones keep theirs, while replicas go on to change.
    resize = "OnRestart" if sizing.mode == "Initial" else sizing.policy["resize"]
    names = list(sizing.constraints["containerControlledResources"])
    taken = [name for name in names if name in _scaled_on(counting) and engine != JOINT]
    if taken:
        shown = " and ".join(taken)
        told = f"{shown} is what {counting.source.title} scales on: it is not sized (engine joint does both)"
        notes.append(Note(source=title, path="spec.resourcePolicy", message=told))
    left = [name for name in names if name not in taken]
    constraints = {**sizing.constraints, "containerControlledResources": left}
    return _spec(counting, constraints, engine or "hpa+vpa", notes, mode="Auto", resize=resize)


def _scaled_on(part: Part) -> set[str]:
    metrics = [metric for metric in part.goals.get("metrics", ()) if isinstance(metric, Mapping)]
    sources = [metric.get("resource") or metric.get("containerResource") for metric in metrics]
    return {str(source.get("name")) for source in sources if isinstance(source, Mapping)}


def _spec(
    part: Part, constraints: Mapping[str, Any], engine: str, notes: list[Note], *, mode: str, resize: str = ""
) -> dict[str, Any]:
    """Return the spec of a part under an engine, which may not be its own; what that loses is noted."""
    other = part.elsewhere if engine != part.engine else None
    notes += other.notes if other else ()
    bounds = {**given(**{"global": other.bounds if other else part.bounds}), **constraints}
    policy = other.policy if other else {**part.policy, **given(params=part.params)}
    found = {"scaleTargetRef": part.target, **given(goals=part.goals, constraints=bounds)}
    return {**found, "policy": {"updateMode": mode, "engine": engine, **policy, **given(resize=resize)}}


def _named_apart(made: Sequence[Made], notes: list[Note]) -> list[Made]:
    """Return the documents; of several with one name the later ones are named for the kind of their source, too."""
    taken: set[tuple[str, str, str]] = set()
    kept = []
    for each in made:
        apart = each
        while _order(apart) in taken:
            apart = _renamed(apart)
        if apart is not each:
            told = f"becomes {apart.value['metadata']['name']}: another document has the name"
            notes.append(Note(source=each.sources[0].title, path="metadata.name", message=told, lost=False))
        taken.add(_order(apart))
        kept.append(apart)
    return kept


def _renamed(made: Made) -> Made:
    metadata = made.value["metadata"]
    name = f"{metadata['name']}-{_SHORT.get(made.sources[0].kind, 'mpa')}"
    return msgspec.structs.replace(made, value={**made.value, "metadata": {**metadata, "name": name}})


def _is_valid(made: Made, notes: list[Note]) -> bool:
    """Tell whether our own reader takes a document; note what it refuses."""
    source = made.sources[0]
    try:
        problems: Sequence[PolicyError] = parse_document(Document(source.where, made.value)).problems
    except PolicyError as error:
        problems = (error,)
    for problem in problems:
        said = str(problem).removeprefix(f"{problem.where}: ")
        notes.append(_lost(source, f"no document is written, since it would be refused: {said}"))
    return not problems


def _lost(source: Source, message: str) -> Note:
    return Note(source=source.title, path="", message=message)
