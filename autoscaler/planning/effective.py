"""
Which policy governs which workload, and what its documents say together.

The most specific ScalingPolicy wins: one with a label selector over one with a
namespace selector over one without; then name order. A policy without any
selector sets defaults for workloads that have an mpa of their own; with an
(also empty) selector it gives every workload in its scope a recommendation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from autoscaler.model.placement import Labels, LabelSelector, Operator, Requirement, labels_of
from autoscaler.model.policy import (
    InvalidPolicy,
    MpaSpec,
    MultidimPodAutoscaler,
    Policies,
    ResizeMode,
    ScalingPolicy,
    ScalingPolicySpec,
    UpdateMode,
    WorkloadScope,
)
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import Selector, TargetRef
from autoscaler.model.workload import Namespace, Workload
from autoscaler.planning.windows import with_schedules
from autoscaler.scheduling.requirements import label_map, selector_matches

_MODES = (UpdateMode.OFF, UpdateMode.RECOMMEND, UpdateMode.INITIAL, UpdateMode.AUTO)
PARITY_ENGINES = frozenset({"hpa", "vpa", "mpa", "hpa+vpa", "hpa+season", "keda", "phpa", "krr", "crane"})
"""Engines that reproduce a peer: its own rate limits hold, not ours."""
_SCALES_BY_SCHEDULE = frozenset({"keda"})
"""Engines to which a schedule is one metric among others: it moves no minimum."""
DEFAULT_RULES = ScalingPolicySpec()
_OPERATORS = frozenset(Operator)
_MPA, _POLICY = "MultidimPodAutoscaler", "ScalingPolicy"
_Own = MultidimPodAutoscaler | InvalidPolicy
_Scaling = ScalingPolicy | InvalidPolicy
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Effective(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    What holds for one workload. `mpa` and `policy` name the documents (""
    for none); `down_share` is the share of its replicas that may go in one cycle.
    `problem` says which document cannot be used, and why; "" for none: with one
    the mode is Off.
    """

    workload: str
    spec: MpaSpec
    rules: ScalingPolicySpec
    mode: UpdateMode
    engine: str
    mpa: str = ""
    policy: str = ""
    down_share: float = 0.25
    problem: str = ""


def effective_policies(snapshot: ClusterSnapshot, policies: Policies) -> dict[str, Effective]:
    """Return what governs each workload of *snapshot*, by key; ungoverned workloads are absent."""
    resolver = _resolver(_Same(policies), snapshot.namespaces, snapshot.open_windows)
    found = {}
    for workload in snapshot.workloads:
        effective = resolver.resolve(workload)
        if effective is not None:
            found[effective.workload] = effective
    return found


def cluster_rules(policies: Policies) -> tuple[str, ScalingPolicySpec]:
    """
    Return name and rules of the policy that governs nodes and money.

    That is the one with the widest scope, by name among equals; without any
    policy, or where that one cannot be used, the defaults hold, in mode Recommend.
    """
    widest = _widest(policies)
    if widest is None:
        return "", DEFAULT_RULES
    return widest.name, widest.spec if isinstance(widest, ScalingPolicy) else DEFAULT_RULES


def broken_rules(policies: Policies) -> InvalidPolicy | None:
    """Return the policy that would govern nodes and money and cannot be used, None where there is none."""
    widest = _widest(policies)
    return widest if isinstance(widest, InvalidPolicy) else None


def _widest(policies: Policies) -> _Scaling | None:
    def rank(policy: _Scaling) -> tuple[int, str]:
        # One whose scope cannot be read may be the widest.
        return (-1 if _scope(policy) is None else _specificity(policy)), policy.name

    return min(_scaling_of(policies), key=rank, default=None)


def overlay(base: _Struct, over: _Struct) -> _Struct:
    """
    Return *over* with each field that is at its default taken from *base*, in depth.

    Both must be of one Struct type.
    """
    changes: dict[str, Any] = {}
    for field in _fields(type(over)):
        mine, theirs = getattr(over, field.name), getattr(base, field.name)
        if mine == theirs:
            continue
        if isinstance(mine, msgspec.Struct) and type(mine) is type(theirs):
            changes[field.name] = overlay(theirs, mine)
        elif _is_default(field, mine):
            changes[field.name] = theirs
    return msgspec.structs.replace(over, **changes) if changes else over


def selects(selector: Selector, labels: Labels) -> bool:
    """Tell whether a document's selector matches; an empty one matches all, one with an unknown operator nothing."""
    if any(term.operator not in _OPERATORS for term in selector.match_expressions):
        return False
    tests = (Requirement(term.key, Operator(term.operator), term.values) for term in selector.match_expressions)
    return selector_matches(LabelSelector(labels_of(selector.match_labels), tuple(tests)), label_map(labels))


def in_mode(policies: Policies, mode: UpdateMode) -> Policies:
    """Return the same policies as if every document, and the defaults where none governs nodes, asked for *mode*."""
    if _widest(policies) is None:
        policies = msgspec.structs.replace(policies, scaling=(ScalingPolicy(name="default", spec=DEFAULT_RULES),))
    scaling = tuple(
        msgspec.structs.replace(
            policy,
            spec=msgspec.structs.replace(
                policy.spec,
                mode=mode,
                defaults=msgspec.structs.replace(
                    policy.spec.defaults, policy=msgspec.structs.replace(policy.spec.defaults.policy, update_mode=mode)
                ),
            ),
        )
        for policy in policies.scaling
    )
    mpas = tuple(
        msgspec.structs.replace(
            mpa,
            spec=msgspec.structs.replace(mpa.spec, policy=msgspec.structs.replace(mpa.spec.policy, update_mode=mode)),
        )
        for mpa in policies.mpas
    )
    return msgspec.structs.replace(policies, scaling=scaling, mpas=mpas)


class _Same:
    """Policies, told apart by identity: documents hold mappings and cannot be hashed."""

    __slots__ = ("policies",)

    def __init__(self, policies: Policies) -> None:
        self.policies = policies

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.policies is other.policies

    def __hash__(self) -> int:
        return id(self.policies)


@lru_cache(maxsize=8)
def _resolver(same: _Same, namespaces: tuple[Namespace, ...], windows: tuple[str, ...]) -> _Resolver:
    """Return the resolver of these inputs: from one cycle to the next they rarely change."""
    return _Resolver(same.policies, namespaces, windows)


class _Resolver:
    """Remembers what it resolved, by all of a workload that the answer depends on."""

    def __init__(self, policies: Policies, namespaces: Sequence[Namespace], windows: Sequence[str]) -> None:
        self._namespaces: Mapping[str, Labels] = {each.name: each.labels for each in namespaces}
        self._open = frozenset(windows)
        broken = [each for each in policies.invalid if each.kind == _MPA]
        documents: list[_Own] = [*policies.mpas, *broken]
        self._mpas: dict[tuple[str, str, str], _Own] = {}
        for mpa in sorted(documents, key=lambda m: (m.namespace, m.name), reverse=True):
            target = mpa.target if isinstance(mpa, InvalidPolicy) else mpa.spec.scale_target_ref
            if target is not None:
                self._mpas[mpa.namespace, target.kind, target.name] = mpa
        self._without_target = {each.namespace: each for each in reversed(broken) if each.target is None}
        scaling = sorted(_scaling_of(policies), key=lambda policy: (-_specificity(policy), policy.name))
        self._scaling = [policy for policy in scaling if _scope(policy) is not None]
        self._without_scope = next((each for each in policies.invalid if _is_without_scope(each)), None)
        self._merged: dict[tuple[int, int], MpaSpec] = {}
        self._resolved: dict[tuple[str, str, str, Labels], Effective | None] = {}

    def resolve(self, workload: Workload) -> Effective | None:
        about = (workload.namespace, workload.kind, workload.name, workload.labels)
        if about not in self._resolved:
            self._resolved[about] = self._resolve(workload)
        return self._resolved[about]

    def _resolve(self, workload: Workload) -> Effective | None:
        mpa = self._mpas.get((workload.namespace, workload.kind, workload.name))
        policy = next((p for p in self._scaling if self._covers(p, workload, has_mpa=mpa is not None)), None)
        if mpa is None and policy is None:
            return None
        broken = self._broken(workload, mpa, policy)
        if broken is not None:
            return _held(workload, broken)
        assert not isinstance(mpa, InvalidPolicy)
        assert not isinstance(policy, InvalidPolicy)
        spec = self._merge(workload, mpa, policy)
        engine = spec.policy.engine or "joint"
        spec = with_schedules(spec, self._open, floors=engine not in _SCALES_BY_SCHEDULE)
        rules = policy.spec if policy else DEFAULT_RULES
        wanted = spec.policy.update_mode or UpdateMode.RECOMMEND
        most = rules.mode if policy else UpdateMode.AUTO
        return Effective(
            workload=workload.key,
            spec=spec,
            rules=rules,
            mode=min(wanted, most, key=_MODES.index),
            engine=engine,
            mpa=mpa.name if mpa else "",
            policy=policy.name if policy else "",
            down_share=1.0 if engine in PARITY_ENGINES else 0.25,
        )

    def _broken(self, workload: Workload, mpa: _Own | None, policy: _Scaling | None) -> InvalidPolicy | None:
        """Return the document that would govern the workload, or could, and cannot be used."""
        if isinstance(mpa, InvalidPolicy):
            return mpa
        if self._without_scope is not None:
            return self._without_scope
        if isinstance(policy, InvalidPolicy):
            return policy
        return self._without_target.get(workload.namespace) if mpa is None else None

    def _covers(self, policy: _Scaling, workload: Workload, *, has_mpa: bool) -> bool:
        scope = _scope(policy) or WorkloadScope()
        if scope.label_selector is None and scope.namespace_selector is None:
            return has_mpa
        namespace = self._namespaces.get(workload.namespace, (("kubernetes.io/metadata.name", workload.namespace),))
        return (scope.namespace_selector is None or selects(scope.namespace_selector, namespace)) and (
            scope.label_selector is None or selects(scope.label_selector, workload.labels)
        )

    def _merge(self, workload: Workload, mpa: MultidimPodAutoscaler | None, policy: ScalingPolicy | None) -> MpaSpec:
        target = TargetRef(kind=workload.kind, name=workload.name, api_version=workload.api_version)
        own = mpa.spec if mpa is not None else MpaSpec(scale_target_ref=target)
        if policy is None:
            return own
        key = (id(mpa), id(policy))
        if key not in self._merged:
            defaults = policy.spec.defaults
            self._merged[key] = msgspec.structs.replace(
                own,
                goals=overlay(defaults.goals, own.goals),
                constraints=overlay(defaults.constraints, own.constraints),
                policy=overlay(defaults.policy, own.policy),
            )
        merged = self._merged[key]
        return merged if mpa is not None else msgspec.structs.replace(merged, scale_target_ref=target)


def resize_mode(spec: MpaSpec) -> ResizeMode:
    """Return how running pods get new sizes, the default where the document does not say."""
    return spec.policy.resize or ResizeMode.IN_PLACE_OR_RECREATE


def _held(workload: Workload, broken: InvalidPolicy) -> Effective:
    target = TargetRef(kind=workload.kind, name=workload.name, api_version=workload.api_version)
    is_mpa = broken.kind == _MPA
    return Effective(
        workload=workload.key,
        spec=MpaSpec(scale_target_ref=target),
        rules=DEFAULT_RULES,
        mode=UpdateMode.OFF,
        engine="joint",
        mpa=broken.name if is_mpa else "",
        policy="" if is_mpa else broken.name,
        problem=f"{broken.title}: {broken.message}",
    )


def _scaling_of(policies: Policies) -> list[_Scaling]:
    return [*policies.scaling, *(each for each in policies.invalid if each.kind == _POLICY)]


def _is_without_scope(broken: InvalidPolicy) -> bool:
    return broken.kind == _POLICY and broken.workloads is None


def _scope(policy: _Scaling) -> WorkloadScope | None:
    return policy.workloads if isinstance(policy, InvalidPolicy) else policy.spec.workloads


def _specificity(policy: _Scaling) -> int:
    scope = _scope(policy) or WorkloadScope()
    if scope.label_selector is not None:
        return 2
    return 1 if scope.namespace_selector is not None and scope.namespace_selector != Selector() else 0


@lru_cache(maxsize=256)
def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Return the fields of a Struct type; looking them up evaluates annotations, which is slow."""
    return msgspec.structs.fields(kind)


def _is_default(field: msgspec.structs.FieldInfo, value: Any) -> bool:
    if field.default is not msgspec.NODEFAULT:
        return bool(value == field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return bool(value == field.default_factory())
    return False
