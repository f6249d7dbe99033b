"""
Reads documents of other autoscalers field by field, and keeps count of what was not understood.

What nobody has taken is lost, and said so: that way nothing is lost in silence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from autoscaler.errors import InputError


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The object that something was made of; `namespace` is "" where the document does not say."""

    kind: str
    name: str
    namespace: str
    version: str
    where: str

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something to know about one field ("" for the whole object). `lost` tells that it has no equivalent."""

    source: str
    path: str
    message: str
    lost: bool = True

    def __str__(self) -> str:
        at = f"{self.source}: {self.path}" if self.path else self.source
        return f"{'no equivalent' if self.lost else 'note'}: {at}: {self.message}"


class Fields:
    """
    A mapping of a document, whose fields are taken one by one; `left` notes the rest.

    Raises (all takers): InputError where a value has the wrong type.
    """

    def __init__(self, source: Source, value: Any, path: str, notes: list[Note]) -> None:
        if not isinstance(value, Mapping):
            raise InputError(f"{source.where}: {source.title}", path, value, "a mapping")
        self.source, self.path, self._notes = source, path, notes
        self._rest = {str(name): each for name, each in value.items() if each is not None}

    def take(self, name: str) -> Any:
        """Return a field as it is, None where it is not given."""
        return self._rest.pop(name, None)

    def text(self, name: str, default: str = "") -> str:
        """Return a field as text; numbers and booleans are written as YAML does."""
        value = self.take(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return str(value).lower()
        if not isinstance(value, (str, int, float)):
            raise self._wrong(name, value, "text")
        return str(value)

    def count(self, name: str) -> int | None:
        """Return a whole number, None where it is not given."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, value, "a whole number")
        return value

    def number(self, name: str) -> int | float | None:
        """Return a finite number, given as such or as text; None where it is not given."""
        text = self.text(name)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self._wrong(name, text, "a finite number")
        return int(value) if value.is_integer() else value

    def words(self, name: str) -> list[str] | None:
        """Return a list of texts, None where it is not given."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
            raise self._wrong(name, value, "a list of texts")
        return list(value)

    def mapping(self, name: str) -> dict[str, Any]:
        """Return a mapping as it is, {} where it is not given: our own reader looks into it."""
        return self.part(name).others()

    def others(self) -> dict[str, Any]:
        """Return all fields that nobody has taken, and take them."""
        rest, self._rest = self._rest, {}
        return rest

    def part(self, name: str) -> Fields:
        """Return a mapping inside, an empty one where it is not given."""
        return Fields(self.source, self._rest.pop(name, None) or {}, self.at(name), self._notes)

    def parts(self, name: str) -> list[Fields]:
        """Return the mappings in a list, none where it is not given."""
        value = self.take(name) or []
        if not isinstance(value, (list, tuple)):
            raise self._wrong(name, value, "a list")
        at = self.at(name)
        return [Fields(self.source, each, f"{at}[{index}]", self._notes) for index, each in enumerate(value)]

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the fields that nobody has taken and that begin so."""
        return [name for name in self._rest if name.startswith(prefix)]

    def at(self, name: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def lose(self, name: str, message: str) -> None:
        """Note that a field has no equivalent, where it is given."""
        if self.take(name) is not None:
            self.note(name, message)

    def note(self, name: str, message: str, *, lost: bool = True) -> None:
        """Note something about a field, given or not; "" for this mapping itself."""
        path = self.at(name) if name else self.path
        self._notes.append(Note(source=self.source.title, path=path, message=message, lost=lost))

    def ignore(self, names: Iterable[str]) -> None:
        """Take fields that mean nothing for what we do."""
        for name in names:
            self.take(name)

    def left(self) -> None:
        """Note every field that nobody has taken."""
        for name, value in self._rest.items():
            self.note(name, f"{_short(value)} has no counterpart")
        self._rest.clear()

    def _wrong(self, name: str, value: Any, allowed: str) -> InputError:
        return InputError(f"{self.source.where}: {self.source.title}", self.at(name), value, allowed)


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value not in (None, "", {}, [])}


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."
