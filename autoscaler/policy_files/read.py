"""
Turns YAML and JSON documents into Policies, or says what is wrong with them.

Kinds of `podnode.io/v1alpha1`, and GKE's `autoscaling.gke.io/v1beta1`
MultidimPodAutoscaler as it is: without an engine of its own such a document
means GKE's semantics, `engine: mpa`. `status` is ignored, and `kind: List`
is read as its items.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from autoscaler.documents import Document, parse_documents, read_documents
from autoscaler.errors import PolicyError
from autoscaler.mismatch import NOTHING, Mismatch, convert
from autoscaler.model.policy import (
    MpaSpec,
    MultidimPodAutoscaler,
    NodeGroupPolicy,
    NodeGroupSpec,
    Policies,
    ScalingPolicy,
    ScalingPolicySpec,
    Tenant,
    TenantSpec,
)
from autoscaler.policy_files.cluster_checks import check_node_group, check_scaling_policy, check_tenant
from autoscaler.policy_files.workload_checks import check_mpa

API_VERSION = "podnode.io/v1alpha1"
GKE_API_VERSION = "autoscaling.gke.io/v1beta1"
DEFAULT_NAMESPACE = "default"
FILE_TYPES = (".yaml", ".yml", ".json")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_ENVELOPE = ("apiVersion", "kind", "metadata", "spec", "status")


class Kind(NamedTuple):
    """How one kind is read: its spec's type, what the type cannot check, and how the document is made."""

    spec: type[Any]
    check: Callable[[Any], Iterator[Mismatch]]
    make: Callable[..., Any]
    namespaced: bool = False


KINDS = {
    "MultidimPodAutoscaler": Kind(MpaSpec, check_mpa, MultidimPodAutoscaler, namespaced=True),
    "ScalingPolicy": Kind(ScalingPolicySpec, check_scaling_policy, ScalingPolicy),
    "NodeGroup": Kind(NodeGroupSpec, check_node_group, NodeGroupPolicy),
    "Tenant": Kind(TenantSpec, check_tenant, Tenant),
}
AnyPolicy = MultidimPodAutoscaler | ScalingPolicy | NodeGroupPolicy | Tenant
_Policy = TypeVar("_Policy", bound=AnyPolicy)


def load_policies(paths: Iterable[str | Path]) -> Policies:
    """
    Return the policies in files, and in the YAML and JSON files directly in folders.

    Raises:
        PolicyError: naming the file, the path in it, the value and what is allowed.
    """
    documents: list[Document] = []
    for path in paths:
        for file in policy_files(Path(path)):
            documents += read_documents(file, error=PolicyError)
    return _first_error_or(documents)


def policy_files(path: Path) -> list[Path]:
    """Return *path*, or the YAML and JSON files directly in it, by name, if it is a folder."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in FILE_TYPES and file.is_file())


def parse_policies(text: str, where: str) -> Policies:
    """
    Return the policies in *text*, which came from *where*.

    Raises:
        PolicyError: naming *where*, the path in it, the value and what is allowed.
    """
    return _first_error_or(parse_documents(text, where, error=PolicyError))


def policies_of(values: Sequence[Any], where: str) -> Policies:
    """
    Return the policies in documents that have been read already (plain values).

    Raises:
        PolicyError: as `parse_policies`.
    """
    return _first_error_or([Document(f"{where}[{index}]", value) for index, value in enumerate(values)])


def find_problems(text: str, where: str) -> list[PolicyError]:
    """Return all that is wrong with the documents in *text*; of what has the wrong type, the first in each."""
    try:
        documents = parse_documents(text, where, error=PolicyError)
    except PolicyError as error:
        return [error]
    return _Reader().read(documents)[1]


class Parsed(NamedTuple):
    """
    One document: `identity` is kind, namespace ("" for the cluster) and name, `title` how messages call it.

    `policy` is None where `problems` say what is wrong with its spec.
    """

    identity: tuple[str, str, str]
    title: str
    policy: AnyPolicy | None
    problems: tuple[PolicyError, ...] = ()


def parse_document(document: Document) -> Parsed:
    """
    Read one document by itself; whether two of them go together is not looked at.

    Raises:
        PolicyError: it cannot be told what it is, or a value has the wrong type.
    """
    where, value = document.where, document.value
    kind, gke = _kind_of(value, where)
    namespace, name = _named(value, where, namespaced=KINDS[kind].namespaced)
    identity = (kind, namespace, name)
    title = f"{where}: {kind} {namespace}/{name}" if namespace else f"{where}: {kind} {name}"
    spec = convert(value.get("spec", NOTHING), KINDS[kind].spec, title, path="spec", error=PolicyError)
    problems = tuple(PolicyError(title, *mismatch) for mismatch in KINDS[kind].check(spec))
    if problems:
        return Parsed(identity, title, None, problems)
    if gke and spec.policy.engine is None:
        spec = msgspec.structs.replace(spec, policy=msgspec.structs.replace(spec.policy, engine="mpa"))
    place = {"namespace": namespace} if namespace else {}
    return Parsed(identity, title, KINDS[kind].make(name=name, spec=spec, where=where, **place))


def _first_error_or(documents: Sequence[Document]) -> Policies:
    policies, errors = _Reader().read(documents)
    if errors:
        raise errors[0]
    return policies


class _Reader:
    """Reads the documents of one call, which must not name the same object twice."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], AnyPolicy] = {}
        self._targets: dict[tuple[str, str, str], str] = {}
        self._errors: list[PolicyError] = []

    def read(self, documents: Iterable[Document]) -> tuple[Policies, list[PolicyError]]:
        for document in flat_documents(documents):
            try:
                self._read(document)
            except PolicyError as error:
                self._errors.append(error)
        return self._policies(), self._errors

    def _read(self, document: Document) -> None:
        parsed = parse_document(document)
        self._errors += parsed.problems
        kind, _, name = parsed.identity
        if parsed.identity in self._found:
            allowed = f"each {kind} once; {self._found[parsed.identity].where} has it"
            raise PolicyError(document.where, "metadata.name", name, allowed)
        if parsed.policy is None:
            return
        if isinstance(parsed.policy, MultidimPodAutoscaler):
            self._claim(parsed.policy, parsed.title)
        self._found[parsed.identity] = parsed.policy

    def _claim(self, mpa: MultidimPodAutoscaler, title: str) -> None:
        target = mpa.spec.scale_target_ref
        key = (mpa.namespace, target.kind, target.name)
        if key in self._targets:
            shown = f"{target.kind} {target.name}"
            allowed = f"a workload that no other document targets; {self._targets[key]} does"
            raise PolicyError(title, "spec.scaleTargetRef", shown, allowed)
        self._targets[key] = title

    def _policies(self) -> Policies:
        return Policies(
            mpas=self._all(MultidimPodAutoscaler),
            scaling=self._all(ScalingPolicy),
            node_groups=self._all(NodeGroupPolicy),
            tenants=self._all(Tenant),
        )

    def _all(self, kind: type[_Policy]) -> tuple[_Policy, ...]:
        """Return those of one kind, by namespace and name."""
        return tuple(found for _, found in sorted(self._found.items()) if isinstance(found, kind))


def flat_documents(documents: Iterable[Document]) -> Iterator[Document]:
    """Yield the documents, a `kind: List` as its items."""
    for document in documents:
        value = document.value
        if isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list):
            for index, item in enumerate(value["items"]):
                yield Document(f"{document.where}: items[{index}]", item)
        else:
            yield document


def _kind_of(value: Any, where: str) -> tuple[str, bool]:
    """Return the kind, and whether it is GKE's."""
    if not isinstance(value, dict):
        raise PolicyError(where, "", value, f"a mapping with {', '.join(_ENVELOPE[:4])}")
    version, kind = value.get("apiVersion", NOTHING), value.get("kind", NOTHING)
    if version not in (API_VERSION, GKE_API_VERSION):
        raise PolicyError(where, "apiVersion", version, f"{API_VERSION}, or {GKE_API_VERSION} for GKE's own documents")
    allowed = list(KINDS) if version == API_VERSION else ["MultidimPodAutoscaler"]
    if kind not in allowed:
        raise PolicyError(where, "kind", kind, f"one of {', '.join(allowed)}")
    for name in value:
        if name not in _ENVELOPE:
            raise PolicyError(where, name, name, f"one of {', '.join(_ENVELOPE)}")
    return kind, version == GKE_API_VERSION


def _named(value: dict[str, Any], where: str, *, namespaced: bool) -> tuple[str, str]:
    """Return namespace ("" for a cluster-wide kind) and name."""
    metadata = value.get("metadata", NOTHING)
    if not isinstance(metadata, dict):
        raise PolicyError(where, "metadata", metadata, "a mapping with the name of the object")
    name = metadata.get("name", NOTHING)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        allowed = "a name of at most 253 lower-case letters, digits, - and ."
        raise PolicyError(where, "metadata.name", name, allowed)
    namespace = metadata.get("namespace", DEFAULT_NAMESPACE if namespaced else "")
    if not namespaced:
        if namespace:
            raise PolicyError(where, "metadata.namespace", namespace, "nothing; this kind belongs to the cluster")
        return "", name
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        raise PolicyError(where, "metadata.namespace", namespace, "the name of a namespace")
    return namespace, name
