"""
Reads YAML and JSON documents safely.

YAML is read by the 1.2 core schema (yaml.org/spec/1.2.2, section 10.3), of which
JSON is a subset: `Off`, `yes` and `1:30` are text, not booleans or base-60
numbers. Refused are tags, duplicate keys, keys that are not scalars, and
documents that are too large, too deep, or grow too much by their aliases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from autoscaler.errors import InputError
from autoscaler.mismatch import ErrorType, convert

__all__ = ["Document", "convert", "parse_documents", "read_documents", "read_text"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_VALUES = 100_000
"""Scalars, lists and mappings in all documents of one text together, aliases counted in full."""

_INT = re.compile(r"[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,400}|[0-9]{1,400}(?:\.[0-9]{0,400})?)(?:[eE][-+]?[0-9]{1,9})?")
_SPECIAL = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document(msgspec.Struct, frozen=True):
    """One document. `where` names the file, and the document's number when there are several."""

    where: str
    value: Any


def read_documents(path: Path, *, error: ErrorType = InputError, max_bytes: int = MAX_BYTES) -> list[Document]:
    """
    Return the documents in a file; empty ones are left out.

    Raises:
        InputError: (or what *error* makes) the file cannot be read, or is not what this module accepts.
    """
    text = read_text(path, error=error, max_bytes=max_bytes)
    return parse_documents(text, str(path), error=error, max_bytes=max_bytes)


def read_text(path: Path, *, error: ErrorType = InputError, max_bytes: int = MAX_BYTES) -> str:
    """
    Return what a file of UTF-8 text holds.

    Raises:
        InputError: (or what *error* makes) the file cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except (OSError, ValueError) as cause:
        raise error(str(path), "", str(path), f"a file that can be read ({cause})") from cause
    if len(raw) > max_bytes:
        raise error(str(path), "", "a larger file", f"at most {max_bytes} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error(str(path), "", raw[cause.start : cause.start + 8], f"UTF-8 text (byte {cause.start})") from cause


def parse_documents(
    text: str, where: str, *, error: ErrorType = InputError, max_bytes: int = MAX_BYTES
) -> list[Document]:
    """
    Return the documents in *text*; empty ones are left out.

    Raises:
        InputError: (or what *error* makes) the text is not what this module accepts.
    """
    if len(text) > max_bytes or len(text.encode("utf-8", "replace")) > max_bytes:
        raise error(where, "", f"{len(text)} characters", f"at most {max_bytes} bytes")
    try:
        values = list(_Builder(where, error).build(yaml.parse(text, Loader=_LOADER)))
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        found = text.splitlines()[mark.line : mark.line + 1] if mark else []
        at = f"line {mark.line + 1}" if mark else ""
        problem = getattr(cause, "problem", None) or str(cause).split("\n", 1)[0]
        raise error(where, at, found[0] if found else "the text", f"well-formed YAML ({problem})") from cause
    except UnicodeError as cause:
        raise error(where, "", "the text", f"Unicode text ({cause})") from cause
    several = len(values) > 1
    return [
        Document(f"{where} (document {number})" if several else where, value)
        for number, value in enumerate(values, start=1)
        if value is not None
    ]


class _Builder:
    """Builds plain values from parser events, without recursion; a text's documents share the limits."""

    def __init__(self, where: str, error: ErrorType) -> None:
        self._where = where
        self._error = error
        self._values = 0

    def build(self, events: Iterator[Any]) -> Iterator[Any]:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                yield self._document(events)

    def _document(self, events: Iterator[Any]) -> Any:
        anchors: dict[str, tuple[Any, int]] = {}
        open_: list[_Open] = []
        for event in events:
            if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                done = open_.pop()
                value, size, anchor = done.value, done.size, done.anchor
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                self._check_tag(event)
                if len(open_) >= MAX_DEPTH:
                    raise self._refuse(event, "a deeper level", f"at most {MAX_DEPTH} levels")
                open_.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else [], event.anchor))
                continue
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in anchors:
                    raise self._refuse(event, f"*{event.anchor}", "an alias of a value that ends before it")
                (value, size), anchor = anchors[event.anchor], None
            else:
                self._check_tag(event)
                value, size, anchor = self._scalar(event, key=bool(open_) and open_[-1].wants_key), 1, event.anchor
            self._count(event, size)
            if anchor is not None:
                anchors[anchor] = (value, size)
            if not open_:
                next(events)
                return value
            self._add(open_[-1], value, size, event)
        raise AssertionError("a document has an end")

    def _add(self, parent: _Open, value: Any, size: int, event: Any) -> None:
        parent.size += size
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.wants_key:
            if not isinstance(value, str):
                raise self._refuse(event, value, "text as a key")
            if value in parent.value:
                raise self._refuse(event, value, "each key once")
            parent.key = value
        else:
            parent.value[parent.key or ""] = value
            parent.key = None
        parent.wants_key = isinstance(parent.value, dict) and parent.key is None

    def _count(self, event: Any, size: int) -> None:
        alias = isinstance(event, yaml.AliasEvent)
        if alias or isinstance(event, yaml.ScalarEvent):
            self._values += size
        else:
            self._values += 1
        if self._values > MAX_VALUES:
            raise self._refuse(event, "one value more", f"at most {MAX_VALUES} values, aliases counted in full")

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag != "!":
            raise self._refuse(event, event.tag, "values without a tag")

    def _scalar(self, event: Any, *, key: bool) -> Any:
        text: str = event.value
        if key or not event.implicit[0]:
            return text
        if text in _SPECIAL:
            return _SPECIAL[text]
        if _INT.fullmatch(text):
            return int(text, 8 if text[:2] == "0o" else 16 if text[:2] == "0x" else 10)
        if _FLOAT.fullmatch(text):
            return float(text)
        return text

    def _refuse(self, event: Any, found: object, allowed: str) -> InputError:
        return self._error(self._where, f"line {event.start_mark.line + 1}", found, allowed)


class _Open:
    """A list or mapping whose end has not been read yet."""

    def __init__(self, value: Any, anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.key: str | None = None
        self.wants_key = isinstance(value, dict)
        self.size = 1
