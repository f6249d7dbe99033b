"""Reads what `plan`, `explain` and `replay` work on: records, snapshots, or objects as kubectl prints them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from autoscaler.errors import InputError, PolicyError

if TYPE_CHECKING:
    from autoscaler.model.plan import Decision, Plan
    from autoscaler.model.policy import Policies
    from autoscaler.model.reasons import Reason
    from autoscaler.model.snapshot import ClusterSnapshot
    from autoscaler.telemetry.record import RecordFile

MAX_BYTES = 1 << 30
_SETTLE_SECONDS = 300.0
_FORM = "a decision record, or Kubernetes objects as kubectl prints them"


def read_bytes(name: str) -> bytes:
    """
    Return a file's content.

    Raises:
        InputError: it cannot be read or is larger than a GiB.
    """
    path = Path(name)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(name, "", path.stat().st_size, "a file of at most 1 GiB")
        return path.read_bytes()
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise InputError(name or "FILE", "", name, f"a file that can be read ({reason})") from problem


def read_snapshot(name: str) -> RecordFile:
    """
    Return a record, a snapshot, or a snapshot made of a `kubectl get ... -o json|yaml` list.

    Raises:
        InputError: the file is none of these.
    """
    from autoscaler.cli.snapshot_checks import check_snapshot
    from autoscaler.kube.decode import decode_list, decode_objects
    from autoscaler.plugins import Installed
    from autoscaler.providers.catalog import with_groups
    from autoscaler.telemetry.record import VERSION, RecordFile, decode_record, unpacked

    data = unpacked(read_bytes(name), where=name)
    is_json, kind = _form_of(data)
    if is_json and not kind:
        file = decode_record(data, where=name, engines=Installed())
        check_snapshot(file.snapshot, name)
        return file
    observed_at = Path(name).stat().st_mtime
    try:
        if is_json and kind.endswith("List"):
            snapshot = decode_list(data, observed_at=observed_at)
        else:
            objects = [data] if is_json else _yaml_objects(data, name)
            snapshot = decode_objects(objects, observed_at=observed_at)
    except InputError as problem:
        where = problem.where if problem.where.startswith(name) else f"{name}: {problem.where}"
        raise InputError(where, problem.path, problem.found, problem.allowed) from problem
    snapshot = msgspec.structs.replace(with_groups(snapshot), name=Path(name).stem)
    return RecordFile(version=VERSION, shapes=(), pods=(), snapshot=snapshot)


def policies_for(file: RecordFile, paths: Iterable[str]) -> Policies:
    """
    Return the policies to decide by: those named, else the record's, else one that covers everything.

    Raises:
        PolicyError: a document is wrong, or nothing is in what is named.
    """
    from autoscaler.model.policy import Policies, ScalingPolicy, ScalingPolicySpec, WorkloadScope
    from autoscaler.model.spec import Selector
    from autoscaler.policy_files import load_policies

    named = [Path(path) for path in paths]
    if named:
        policies = load_policies(named)
        if policies == Policies():
            raise PolicyError(", ".join(map(str, named)), "", "no document", "at least one document")
        return policies
    if file.policies != Policies():
        return file.policies
    everything = ScalingPolicySpec(workloads=WorkloadScope(namespace_selector=Selector()))
    return Policies(scaling=(ScalingPolicy(name="everything", spec=everything),))


def settled_decision(file: RecordFile, policies: Policies) -> tuple[ClusterSnapshot, Decision]:
    """
    Return the decision as it would be if all stayed as seen for ten minutes, or as long as the policy waits.

    Waiting periods (stabilisation, empty nodes, time between consolidations)
    have then passed, so that a single look shows everything there is to do.
    """
    from autoscaler.model.plan import CordonNode
    from autoscaler.planning.decide import decide
    from autoscaler.planning.effective import cluster_rules
    from autoscaler.plugins import Installed

    snapshot, engines = file.snapshot, Installed()
    _, rules = cluster_rules(policies)
    wait = max(_SETTLE_SECONDS, 5 * rules.nodes.consolidate_after.seconds)
    decision = decide(snapshot, policies, file.state, engines=engines)
    begun: dict[str, tuple[Reason, ...]] = {}
    for later in (wait, 2 * wait):
        cordons = {action.node: action.reasons for action in decision.plan.actions if isinstance(action, CordonNode)}
        begun = cordons | begun
        decision = decide(_seen_again(snapshot, later), policies, decision.state, engines=engines)
    return snapshot, msgspec.structs.replace(decision, plan=_as_begun(decision.plan, begun))


def _as_begun(plan: Plan, begun: Mapping[str, tuple[Reason, ...]]) -> Plan:
    """Return *plan* with the reasons for which drains were begun, for one that goes on only says that it does."""
    from autoscaler.model.plan import CordonNode

    return msgspec.structs.replace(
        plan,
        actions=tuple(
            msgspec.structs.replace(action, reasons=begun[action.node])
            if isinstance(action, CordonNode) and action.node in begun
            else action
            for action in plan.actions
        ),
    )


def _seen_again(snapshot: ClusterSnapshot, seconds: float) -> ClusterSnapshot:
    """Return *snapshot* as if the same were observed, and measured, so much later."""
    from autoscaler.model.readings import PodSamples, Reading, Sample

    def again(reading: Reading) -> Reading:
        if isinstance(reading, Sample):
            return msgspec.structs.replace(reading, at=reading.at + seconds)
        if isinstance(reading, PodSamples):
            return PodSamples(tuple(msgspec.structs.replace(each, at=each.at + seconds) for each in reading.samples))
        return reading

    return msgspec.structs.replace(
        snapshot,
        observed_at=snapshot.observed_at + seconds,
        readings=tuple((signal, again(reading)) for signal, reading in snapshot.readings),
    )


class _Head(msgspec.Struct):
    """What tells a record from a Kubernetes object; all else of both is skipped."""

    kind: str = ""


def _form_of(data: bytes) -> tuple[bool, str]:
    """Tell whether it is a JSON object, and of what kind; a record has none."""
    try:
        return True, msgspec.json.decode(data, type=_Head).kind
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # Cut off or wrong in some way: whoever reads it next says how.
        return data.startswith(b'{"version"'), ""


def _yaml_objects(data: bytes, name: str) -> list[dict[str, Any]]:
    from autoscaler.documents import parse_documents

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise InputError(name, "", data[problem.start : problem.start + 8], _FORM) from problem
    found: list[dict[str, Any]] = []
    for document in parse_documents(text, name, max_bytes=MAX_BYTES):
        value = document.value
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
            raise InputError(document.where, "", value, _FORM)
        items = value.get("items")
        found.extend(items if value["kind"].endswith("List") and isinstance(items, list) else [value])
    if not found:
        raise InputError(name, "", "an empty file", _FORM)
    return found
