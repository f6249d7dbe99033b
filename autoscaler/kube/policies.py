"""
Reads the policy objects of a live cluster, each by itself.

One that is wrong becomes a problem of its own and an `InvalidPolicy`, which
holds what it governs; all others stay in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from typing import Any, NamedTuple, TypeVar

import msgspec

from autoscaler.documents import Document
from autoscaler.errors import InputError, PolicyError
from autoscaler.kube.edits import SET_ASIDE, give_back
from autoscaler.mismatch import convert
from autoscaler.model.policy import (
    InvalidPolicy,
    MultidimPodAutoscaler,
    NodeGroupPolicy,
    Policies,
    ScalingPolicy,
    Tenant,
    WorkloadScope,
)
from autoscaler.model.spec import TargetRef
from autoscaler.policy_files.read import DEFAULT_NAMESPACE, GKE_API_VERSION, AnyPolicy, parse_document
from autoscaler.policy_files.words import check_selector

MOST_PROBLEMS = 5
"""How many of its problems a message tells."""
_MPA = "MultidimPodAutoscaler"
_Policy = TypeVar("_Policy", bound=AnyPolicy)


class PolicyProblem(msgspec.Struct, frozen=True, kw_only=True):
    """An object that is not in force, and why: `message` names path, value and what is allowed."""

    kind: str
    namespace: str
    name: str
    uid: str
    message: str
    api_version: str = ""


class _Entry(NamedTuple):
    """What became of one object: one of the two is set."""

    policy: AnyPolicy | None
    invalid: InvalidPolicy | None
    problem: PolicyProblem | None
    gke: bool


class PolicyReader:
    """
    Reads the policy objects again and again; what has not changed is not read anew.

    While nothing changes, the same Policies object comes back.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, ...], _Entry] = {}
        self._read: tuple[_Entry, ...] | None = None
        self._result: tuple[Policies, tuple[PolicyProblem, ...]] = (Policies(), ())

    def read(self, documents: Iterable[Mapping[str, Any]]) -> tuple[Policies, tuple[PolicyProblem, ...]]:
        """Return the policies in force, and a problem for each object that is wrong, both by name."""
        before, self._entries = self._entries, {}
        entries: list[_Entry] = []
        for value in documents:
            key = _version_of(value)
            entry = before.get(key) or _entry_of(value)
            entries.append(entry)
            if key[-1]:
                self._entries[key] = entry
        found = tuple(entries)
        if self._read is None or len(found) != len(self._read) or any(map(_differ, found, self._read)):
            self._read, self._result = found, _together(found)
        return self._result


def read_documents(documents: Iterable[Mapping[str, Any]]) -> tuple[Policies, tuple[PolicyProblem, ...]]:
    """
    Return the policies in force, and a problem for each object that is wrong, both by name.

    Of two mpas that target one workload, ours counts rather than GKE's; of two of ours, see `planning.effective`.
    """
    return PolicyReader().read(documents)


def _version_of(value: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what tells this state of an object from all others; the last is "" where that is not known."""
    metadata = _mapping(value.get("metadata"))
    uid = metadata.get("uid")
    # The generation stands still while only the status moves, which it does all the time.
    version = metadata.get("generation") or metadata.get("resourceVersion")
    noted = _mapping(metadata.get("annotations")).get(SET_ASIDE)
    known = isinstance(uid, str) and isinstance(version, (int, str))
    return (*_naming(value), str(noted), *((uid, str(version)) if known else ("", "")))


def _differ(one: _Entry, other: _Entry) -> bool:
    return one is not other


def _entry_of(value: Mapping[str, Any]) -> _Entry:
    version, kind, namespace, name = _naming(value)
    gke = version == GKE_API_VERSION
    plain = _as_written(value) if gke else dict(value)
    try:
        parsed = parse_document(Document(f"{version} {kind} {namespace}/{name}".rstrip(), plain))
        errors: Sequence[PolicyError] = parsed.problems
        policy = parsed.policy
    except PolicyError as error:
        errors, policy = (error,), None
    if policy is not None:
        return _Entry(policy, None, None, gke)
    message = _message(errors)
    uid = str(_mapping(value.get("metadata")).get("uid") or "")
    problem = PolicyProblem(kind=kind, namespace=namespace, name=name, uid=uid, message=message, api_version=version)
    return _Entry(None, _invalid(kind, namespace, name, message=message, spec=value.get("spec")), problem, gke)


def _naming(value: Mapping[str, Any]) -> tuple[str, str, str, str]:
    metadata = _mapping(value.get("metadata"))
    found = (value.get("apiVersion"), value.get("kind"), metadata.get("namespace"), metadata.get("name"))
    version, kind, namespace, name = (each if isinstance(each, str) else "" for each in found)
    return version, kind, namespace or (DEFAULT_NAMESPACE if kind == _MPA else ""), name


def _as_written(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return GKE's object as its author wrote it: we may have told GKE's controller to leave it alone."""
    plain: dict[str, Any] = deepcopy(dict(value))
    if SET_ASIDE in _mapping(_mapping(plain.get("metadata")).get("annotations")):
        with suppress(InputError):
            give_back(plain, kind=_MPA, where="")
    return plain


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _message(errors: Sequence[PolicyError]) -> str:
    told = [str(error).removeprefix(f"{error.where}: ") for error in errors[:MOST_PROBLEMS]]
    more = len(errors) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _invalid(kind: str, namespace: str, name: str, *, message: str, spec: Any) -> InvalidPolicy:
    plain = _mapping(spec)
    return InvalidPolicy(
        kind=kind,
        namespace=namespace,
        name=name,
        message=message,
        target=_target(plain.get("scaleTargetRef")),
        workloads=_scope(plain.get("workloads", {})) if isinstance(spec, Mapping) else None,
    )


def _target(value: Any) -> TargetRef | None:
    """Return the workload that an mpa names, whatever else is wrong with the reference."""
    plain = _mapping(value)
    kind, name = plain.get("kind"), plain.get("name")
    return TargetRef(kind=kind, name=name) if isinstance(kind, str) and isinstance(name, str) else None


def _scope(value: Any) -> WorkloadScope | None:
    try:
        scope = convert(value, WorkloadScope, "", error=PolicyError)
    except PolicyError:
        return None
    wrong = [*check_selector(scope.namespace_selector, ""), *check_selector(scope.label_selector, "")]
    return None if wrong else scope


def _together(entries: Sequence[_Entry]) -> tuple[Policies, tuple[PolicyProblem, ...]]:
    ours = {target for entry in entries if not entry.gke for target in [_claimed(entry)] if target}
    kept = [entry for entry in entries if not (entry.gke and _claimed(entry) in ours)]
    invalid = [entry.invalid for entry in kept if entry.invalid is not None]
    problems = [entry.problem for entry in entries if entry.problem is not None]
    policies = Policies(
        mpas=_all(kept, MultidimPodAutoscaler),
        scaling=_all(kept, ScalingPolicy),
        node_groups=_all(kept, NodeGroupPolicy),
        tenants=_all(kept, Tenant),
        invalid=tuple(sorted(invalid, key=lambda each: (each.kind, each.namespace, each.name))),
    )
    return policies, tuple(sorted(problems, key=lambda each: (each.kind, each.namespace, each.name, each.api_version)))


def _claimed(entry: _Entry) -> tuple[str, str, str] | None:
    """Return namespace, kind and name of the workload that an mpa targets."""
    if isinstance(entry.policy, MultidimPodAutoscaler):
        target: TargetRef | None = entry.policy.spec.scale_target_ref
        namespace = entry.policy.namespace
    elif entry.invalid is not None:
        target, namespace = entry.invalid.target, entry.invalid.namespace
    else:
        return None
    return (namespace, target.kind, target.name) if target is not None else None


def _all(entries: Sequence[_Entry], kind: type[_Policy]) -> tuple[_Policy, ...]:
    found = [entry.policy for entry in entries if isinstance(entry.policy, kind)]
    return tuple(sorted(found, key=lambda each: (getattr(each, "namespace", ""), each.name, each.where)))
