"""Reads one API object, from bytes or from a parsed document, and says plainly what is wrong with it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from autoscaler.errors import InputError
from autoscaler.kube import decode_wire as wire
from autoscaler.model.resources import CPU, NOTHING, Resources
from autoscaler.model.units import QUANTITY_FORM, quantity_milli, quantity_value

Document = bytes | msgspec.Raw | dict[str, Any]
"""One API object: raw JSON, or what a JSON or YAML parser made of it."""

_T = TypeVar("_T", bound=wire.Any)
_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]")
_MOST = 2**63 - 1


def read(document: Document, kind: type[_T]) -> _T:
    """
    Read *document* as one kind of object.

    Raises:
        InputError: it is not JSON, or a field has the wrong type; the message
            names the object, the field and what is expected there.
    """
    try:
        if isinstance(document, dict):
            return msgspec.convert(document, kind)
        return msgspec.json.decode(document, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise explain(document, error) from error


def explain(document: Document | list[Any], error: Exception) -> InputError:
    """Turn a decoder's error into one that names the object, the field, the value and what is allowed."""
    found = _MESSAGE.match(str(error))
    what, path = (found["what"], (found["path"] or "").removeprefix("$").lstrip(".")) if found else (str(error), "")
    try:
        parsed = document if isinstance(document, dict | list) else msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return InputError("document", "", "the text", f"a JSON object ({what})")
    return InputError(_title(parsed), path, _at(parsed, f".{path}"), what[:1].lower() + what[1:])


def object_name(thing: wire.Any) -> str:
    """Return `Kind namespace/name` for messages."""
    name = "/".join(filter(None, (thing.metadata.namespace, thing.metadata.name)))
    return f"{thing.kind or type(thing).__name__} {name or 'without a name'}"


def amounts(quantities: wire.Quantities | None, where: str, path: str) -> Resources:
    """
    Read quantities: millicores for cpu (also `requests.cpu` and `limits.cpu` of a quota), else whole units.

    Raises:
        InputError: one is not a quantity, or is negative.
    """
    if not quantities:
        return NOTHING
    return Resources.of({name: _amount(name, text, where, path) for name, text in quantities.items()})


def amounts_or_none(quantities: wire.Quantities | None, where: str, path: str) -> Resources | None:
    """Read quantities, keeping absent apart from empty."""
    return None if quantities is None else amounts(quantities, where, path)


def seconds(moment: datetime | None) -> float:
    """Return seconds since the epoch, 0 for an absent time."""
    return seconds_or_none(moment) or 0.0


def seconds_or_none(moment: datetime | None) -> float | None:
    """Return seconds since the epoch; a time without a zone is UTC, as the API writes it."""
    if moment is None:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _amount(name: str, text: wire.Quantity, where: str, path: str) -> int:
    try:
        amount = _units(text, in_milli=name.rpartition(".")[2] == CPU)
    except ValueError as error:
        raise InputError(where, f"{path}.{name}", text, QUANTITY_FORM) from error
    if amount < 0:
        raise InputError(where, f"{path}.{name}", text, "a quantity of at least 0")
    return min(amount, _MOST)


@lru_cache(maxsize=1 << 14, typed=True)
def _units(text: wire.Quantity, *, in_milli: bool) -> int:
    """Read one quantity. A cluster uses few different ones, many times over."""
    return quantity_milli(text) if in_milli else quantity_value(text)


def _title(parsed: Any) -> str:
    if not isinstance(parsed, dict):
        return "document"
    metadata = parsed.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = "/".join(str(metadata[key]) for key in ("namespace", "name") if metadata.get(key))
    return f"{parsed.get('kind') or 'object'} {name or 'without a name'}"


def _at(parsed: Any, path: str) -> Any:
    """Return the value at a decoder's path, or the nearest thing above it."""
    for step in _STEP.finditer(path):
        key = step.group(1) if step.group(1) is not None else int(step.group(2) or 0)
        try:
            parsed = parsed[key]
        except (KeyError, IndexError, TypeError):
            return parsed
    return parsed
