"""
Decision records as bytes: debug dump, golden vector and benchmark input at once.

Pods name their shape by number, so that what siblings share is written once.
A record read back replays to the same bytes.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from autoscaler.errors import InputError
from autoscaler.interfaces import Recommender
from autoscaler.model.plan import Decision
from autoscaler.model.pod import Pod, PodShape, ShapeInterner
from autoscaler.model.policy import Policies
from autoscaler.model.record import DecisionRecord
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import decode_hook, encode_hook
from autoscaler.model.state import DecisionState, WorkloadMemory

VERSION = 1
MAX_BYTES = 1 << 30
_GZIP = b"\x1f\x8b"

PodRow = msgspec.defstruct(
    "PodRow",
    [
        (field.name, int if field.name == "shape" else field.type, field.default)
        if field.default is not msgspec.NODEFAULT
        else (field.name, int if field.name == "shape" else field.type)
        for field in msgspec.structs.fields(Pod)
    ],
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
)
_ROW_FIELDS = tuple(field.name for field in msgspec.structs.fields(Pod))


class RecordFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A record as it is written. `snapshot.pods` is empty: they are in `pods`."""

    version: int
    shapes: tuple[PodShape, ...]
    pods: tuple[PodRow, ...]  # type: ignore[valid-type]
    snapshot: ClusterSnapshot
    policies: Policies = Policies()
    state: DecisionState = DecisionState()
    decision: Decision | None = None
    digest: str = ""


_ENCODER = msgspec.json.Encoder(enc_hook=encode_hook, order="deterministic")
_DECODER = msgspec.json.Decoder(RecordFile, dec_hook=decode_hook)


def encode_record(record: DecisionRecord) -> bytes:
    """Return a record as JSON; equal records give equal bytes."""
    return _ENCODER.encode(_file_of(record.snapshot, record.policies, record.state, record.decision))


def encode_decision(decision: Decision) -> bytes:
    """Return a decision as JSON, to compare with another."""
    return _ENCODER.encode(decision)


def encode_snapshot(snapshot: ClusterSnapshot, policies: Policies, state: DecisionState | None = None) -> bytes:
    """Return a snapshot, the policies in force and what is remembered, as a record without a decision."""
    return _ENCODER.encode(_file_of(snapshot, policies, state or DecisionState(), None))


def digest_of(snapshot: ClusterSnapshot, policies: Policies, state: DecisionState) -> str:
    """Return a SHA-256 (hex) of everything that goes into a decision."""
    inputs = _plain(snapshot, policies, state)
    return hashlib.sha256(_ENCODER.encode(inputs)).hexdigest()


def decode_record(data: bytes, *, where: str, engines: Mapping[str, Recommender]) -> RecordFile:
    """
    Read a record or a snapshot, gzipped or not; `snapshot.pods` is filled in.

    *engines* give the types of the recommenders' memories.

    Raises:
        InputError: it is not a record; names *where* and the path in it.
    """
    try:
        file = _DECODER.decode(unpacked(data, where=where))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        message, _, path = str(problem).partition(" - at ")
        raise InputError(where, path.strip("`"), message, "a decision record or snapshot of this version") from problem
    if file.version != VERSION:
        raise InputError(where, "$.version", file.version, str(VERSION))
    return _restored(file, where, engines)


def unpacked(data: bytes, *, where: str) -> bytes:
    """
    Return *data*, decompressed if it is gzipped.

    Raises:
        InputError: it is no whole gzip file, or holds more than a GiB.
    """
    if not data.startswith(_GZIP):
        return data
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = reader.decompress(data, MAX_BYTES)
    except zlib.error as problem:
        raise InputError(where, "", str(problem), "a whole gzip file") from problem
    if reader.unconsumed_tail:
        raise InputError(where, "", "a larger file", f"at most {MAX_BYTES} bytes when decompressed")
    if not reader.eof:
        raise InputError(where, "", "a part of a gzip file", "a whole gzip file")
    return plain


def record_of(file: RecordFile) -> DecisionRecord:
    """
    Return the whole record.

    Raises:
        ValueError: the file holds only a snapshot.
    """
    if file.decision is None:
        raise ValueError("the file holds a snapshot without a decision")
    return DecisionRecord(
        version=file.version,
        snapshot=file.snapshot,
        policies=file.policies,
        state=file.state,
        decision=file.decision,
        digest=file.digest,
    )


def _plain(snapshot: ClusterSnapshot, policies: Policies, state: DecisionState) -> RecordFile:
    numbers: dict[PodShape, int] = {}
    rows = []
    for pod in snapshot.pods:
        number = numbers.setdefault(pod.shape, len(numbers))
        rows.append(PodRow(**{name: number if name == "shape" else getattr(pod, name) for name in _ROW_FIELDS}))
    return RecordFile(
        version=VERSION,
        shapes=tuple(numbers),
        pods=tuple(rows),
        snapshot=msgspec.structs.replace(snapshot, pods=()),
        policies=policies,
        state=state,
    )


def _file_of(
    snapshot: ClusterSnapshot, policies: Policies, state: DecisionState, decision: Decision | None
) -> RecordFile:
    file = _plain(snapshot, policies, state)
    file.digest = hashlib.sha256(_ENCODER.encode(file)).hexdigest()
    file.decision = decision
    return file


def _restored(file: RecordFile, where: str, engines: Mapping[str, Recommender]) -> RecordFile:
    shapes = ShapeInterner()
    known = [shapes.intern(shape) for shape in file.shapes]
    pods = []
    for number, row in enumerate(file.pods):
        if not 0 <= row.shape < len(known):  # type: ignore[attr-defined]
            raise InputError(where, f"$.pods[{number}].shape", row.shape, f"0 to {len(known) - 1}")  # type: ignore[attr-defined]
        fields = {name: getattr(row, name) for name in _ROW_FIELDS}
        pods.append(Pod(**{**fields, "shape": known[fields["shape"]]}))
    workloads = tuple(
        msgspec.structs.replace(workload, template=shapes.intern(workload.template))
        for workload in file.snapshot.workloads
    )
    file.snapshot = msgspec.structs.replace(file.snapshot, pods=tuple(pods), workloads=workloads)
    file.state = with_memories(file.state, where, engines)
    if file.decision is not None:
        state = with_memories(file.decision.state, where, engines)
        file.decision = msgspec.structs.replace(file.decision, state=state)
    return file


def with_memories(state: DecisionState, where: str, engines: Mapping[str, Recommender]) -> DecisionState:
    """
    Return a decoded *state* whose memories are of their engines' types; *where* it came from is for errors.

    Raises:
        InputError: a memory is not of its engine's type.
    """
    workloads = tuple(_with_memory(entry, where, engines) for entry in state.workloads)
    return msgspec.structs.replace(state, workloads=workloads)


def _with_memory(entry: WorkloadMemory, where: str, engines: Mapping[str, Recommender]) -> WorkloadMemory:
    engine = engines.get(entry.engine)
    if engine is None or entry.memory is None:
        return entry
    memory: Any
    try:
        memory = msgspec.convert(entry.memory, engine.Memory, dec_hook=decode_hook, strict=False)
    except msgspec.ValidationError as problem:
        allowed = f"a memory of engine {entry.engine}"
        raise InputError(where, f"state of {entry.workload}", str(problem), allowed) from problem
    return msgspec.structs.replace(entry, memory=memory)
