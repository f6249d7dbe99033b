"""
What a Prometheus-compatible query API answers, decoded from bytes.

Source: Prometheus HTTP API v1, "Format overview" and "Expression query result
formats"; `isPartial` is VictoriaMetrics' (cluster version).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from autoscaler.model.arrays import Floats
from autoscaler.model.readings import MissingReason

_PROMQL_REMARK = "PromQL"
"""Warnings that begin with it are about the query's text; all others say that data are missing."""
_NOT_DIGITS = b'[]" '


class Labels(msgspec.Struct, frozen=True, gc=False):
    """The labels that our queries group by; others are not decoded."""

    namespace: str = ""
    pod: str = ""
    container: str = ""
    workload: str = ""
    workload_kind: str = ""
    podnode_query: str = ""


class Point(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One sample: when (epoch seconds), and its value as the server has it; NaN for what is no number."""

    at: float = 0.0
    number: float = math.nan


class Row(msgspec.Struct, frozen=True, gc=False):
    """One series of an instant query; a native histogram has no value."""

    metric: Labels
    value: Point = Point()


class _TextRow(msgspec.Struct, frozen=True, gc=False):
    metric: Labels
    value: tuple[float, str] = (0.0, "")


class RangeRow(msgspec.Struct, frozen=True, gc=False):
    """One series of a range query, its samples not decoded yet."""

    metric: Labels
    values: msgspec.Raw = msgspec.Raw(b"[]")


class _Data(msgspec.Struct, frozen=True):
    result_type: str = msgspec.field(name="resultType", default="")
    result: msgspec.Raw = msgspec.Raw(b"[]")


class _Answer(msgspec.Struct, frozen=True):
    status: str
    data: _Data = _Data()
    error_type: str = msgspec.field(name="errorType", default="")
    error: str = ""
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    is_partial: bool = msgspec.field(name="isPartial", default=False)


class Answered(msgspec.Struct, frozen=True):
    """
    The undecoded `result` of a query, and what the server remarked.

    `partial` is why the answer is not complete, "" where it is.
    """

    result_type: str
    result: msgspec.Raw
    partial: str = ""
    remarks: int = 0


class BadAnswerError(ValueError):
    """The body is not what the API answers."""


_ENVELOPE = msgspec.json.Decoder(_Answer)
_VECTOR = msgspec.json.Decoder(tuple[Row, ...], strict=False)
_TEXT_VECTOR = msgspec.json.Decoder(tuple[_TextRow, ...])
_MATRIX = msgspec.json.Decoder(tuple[RangeRow, ...])
_SCALAR = msgspec.json.Decoder(tuple[float, str])


def decode_answer(body: bytes) -> Answered:
    """
    Return what a successful query answered.

    Raises:
        BadAnswerError: it is not the JSON of the API, or says that it failed.
    """
    try:
        answer = _ENVELOPE.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise BadAnswerError(f"not the JSON of a query API: {problem}") from problem
    if answer.status != "success":
        raise BadAnswerError(answer.error or f"status is {answer.status!r}")
    lacking = [text for text in answer.warnings if not text.startswith(_PROMQL_REMARK)]
    if answer.is_partial and not lacking:
        lacking = ["the answer is partial"]
    return Answered(
        result_type=answer.data.result_type,
        result=answer.data.result,
        partial="; ".join(lacking)[:200],
        remarks=len(answer.warnings) + len(answer.infos),
    )


def error_text(body: bytes) -> str:
    """Return what a refusal says: the API's error, or the first line of whatever else was sent."""
    try:
        answer = _ENVELOPE.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return body[:200].decode(errors="replace").strip().partition("\n")[0]
    return f"{answer.error_type}: {answer.error}"[:300] if answer.error_type else answer.error[:300]


def rows_of(answered: Answered) -> tuple[Row, ...]:
    """
    Return the series of an instant query; a scalar is one series without labels.

    Raises:
        BadAnswerError: it is neither a vector nor a scalar.
    """
    try:
        if answered.result_type == "vector":
            return _vector(answered.result)
        if answered.result_type == "scalar":
            at, text = _SCALAR.decode(answered.result)
            return (Row(Labels(), Point(at, _number(text))),)
    except msgspec.MsgspecError as problem:
        raise BadAnswerError(f"not a {answered.result_type}: {problem}") from problem
    raise BadAnswerError(f"it gives a {answered.result_type or 'nothing'}, not a vector or a scalar")


def _vector(result: msgspec.Raw) -> tuple[Row, ...]:
    try:
        return _VECTOR.decode(result)
    except msgspec.ValidationError:
        # Some number is one only for Python ("+Inf"), or none: read them one by one.
        rows = _TEXT_VECTOR.decode(result)
        return tuple(Row(row.metric, Point(row.value[0], _number(row.value[1]))) for row in rows)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def series_of(answered: Answered) -> tuple[RangeRow, ...]:
    """
    Return the series of a range query.

    Raises:
        BadAnswerError: it is not a matrix.
    """
    if answered.result_type != "matrix":
        raise BadAnswerError(f"it gives a {answered.result_type or 'nothing'}, not a matrix")
    try:
        return _MATRIX.decode(answered.result)
    except msgspec.MsgspecError as problem:
        raise BadAnswerError(f"not a matrix: {problem}") from problem


def samples_of(row: RangeRow) -> tuple[Floats, Floats]:
    """
    Return times and values of one series; what is infinite or negative is NaN.

    Bytes are split and given to NumPy as they are: a third of the time that Python floats take.

    Raises:
        BadAnswerError: a sample is not a pair of numbers.

    >>> samples_of(RangeRow(Labels(), msgspec.Raw(b'[[60,"1.5"],[120,"NaN"]]')))
    (array([ 60., 120.]), array([1.5, nan]))
    """
    text = bytes(row.values).translate(None, _NOT_DIGITS)
    try:
        flat = np.array(text.split(b",") if text else [], dtype=np.float64)
    except ValueError as problem:
        raise BadAnswerError(f"not a sample: {problem}") from problem
    if len(flat) % 2:
        raise BadAnswerError("a sample is not a pair of numbers")
    times, values = flat[::2], flat[1::2]
    return times, np.where(np.isfinite(values) & (values >= 0), values, np.nan)


def flaw_of(number: float) -> MissingReason | None:
    """
    Return what is wrong with a sample's value, None for an amount.

    >>> flaw_of(1.5), flaw_of(math.inf).value, flaw_of(-1.0).value, flaw_of(math.nan).value
    (None, 'Infinite', 'Negative', 'NotANumber')
    """
    if 0 <= number < math.inf:
        return None
    if math.isnan(number):
        return MissingReason.NOT_A_NUMBER
    return MissingReason.INFINITE if math.isinf(number) else MissingReason.NEGATIVE
