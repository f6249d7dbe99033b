"""
What outlives a restart, as bytes: the decision's memory and the models learned.

Gzipped JSON; memories are read back as the types of their engines, as in a record.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping

import msgspec

from autoscaler.errors import InputError
from autoscaler.interfaces import Recommender
from autoscaler.model.snapshot import Prices, WorkloadModel
from autoscaler.model.spec import decode_hook, encode_hook
from autoscaler.model.state import DecisionState
from autoscaler.telemetry.record import unpacked, with_memories

VERSION = 1
_LEVEL = 3
"""Of compression: a third of the time of the usual level for a few percent more bytes."""


class CheckpointFile(msgspec.Struct, frozen=True, kw_only=True):
    """
    Fields that are not known are skipped: a newer version may have written it.

    `identity` says which process wrote it, `saved_at` when (epoch seconds).
    """

    version: int
    identity: str
    saved_at: float
    state: DecisionState = DecisionState()
    models: tuple[WorkloadModel, ...] = ()
    prices: Prices = Prices()


_ENCODER = msgspec.json.Encoder(enc_hook=encode_hook)
_DECODER = msgspec.json.Decoder(CheckpointFile, dec_hook=decode_hook)


def encode_checkpoint(file: CheckpointFile) -> bytes:
    """Return a checkpoint as bytes."""
    return gzip.compress(_ENCODER.encode(file), _LEVEL, mtime=0)


def decode_checkpoint(data: bytes, *, where: str, engines: Mapping[str, Recommender]) -> CheckpointFile:
    """
    Read a checkpoint; *engines* give the types of the recommenders' memories.

    Raises:
        InputError: it is none, is cut off, or is of another version.
    """
    try:
        file = _DECODER.decode(unpacked(data, where=where))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise InputError(where, "", str(problem), "a checkpoint of this version") from problem
    if file.version != VERSION:
        raise InputError(where, "version", file.version, str(VERSION))
    return msgspec.structs.replace(file, state=with_memories(file.state, where, engines))
