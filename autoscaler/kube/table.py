"""Keeps what a list-watch sees of one kind: translated, sorted, and counted when it really changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from autoscaler.errors import InputError
from autoscaler.kube import decode_wire as wire
from autoscaler.kube.rows import SortedRows

W = TypeVar("W", bound=wire.Any)
T = TypeVar("T")

Changed = Callable[[str, T | None, T | None], None]
"""
Is told the key, the value that was there and the one that is there now; None for neither.

What a new list has is told as it is staged, so that a commit stays short.
"""


class Table(Generic[W, T]):
    """
    The values of one kind by key, filled by a list-watch.

    Between `begin` and `commit` what arrives is staged: readers see the old
    rows until the new list is complete. A value equal to the old one is not a
    change, so that an update of what nobody reads here costs its readers nothing.

    An object that cannot be translated keeps its old value, if it has one, and
    is named in `problems`; the others are not affected.

    Keys are namespace, *separator* and name: with a NUL they sort as the pair does.
    """

    def __init__(
        self, translate: Callable[[W], T | None], *, changed: Changed[T] | None = None, separator: str = "/"
    ) -> None:
        self._translate = translate
        self._separator = separator
        self._changed = changed
        self._rows: SortedRows[T] = SortedRows()
        self._fresh: SortedRows[T] | None = None
        self._problems: dict[str, str] = {}
        self._fresh_problems: dict[str, str] = {}
        self._values: tuple[T, ...] | None = ()
        self.version = 0
        """Goes up with every change of a row."""

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str) -> T | None:
        """Return a committed value."""
        return self._rows.get(key)

    @property
    def is_staging(self) -> bool:
        """A list is being read."""
        return self._fresh is not None

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read, one line an object, by key."""
        return tuple(self._problems[key] for key in sorted(self._problems))

    def key_of(self, meta: wire.Metadata) -> str:
        """Return an object's key."""
        return f"{meta.namespace or ''}{self._separator}{meta.name}"

    def values(self) -> tuple[T, ...]:
        """Return the committed values, sorted by key."""
        if self._values is None:
            self._values = self._rows.values()
        return self._values

    def begin(self) -> None:
        """Start a new list; one that was not committed is forgotten."""
        self._fresh, self._fresh_problems = SortedRows(), {}

    def commit(self) -> None:
        """Put the staged rows in place of all others."""
        old, self._rows = self._rows, SortedRows() if self._fresh is None else self._fresh
        self._fresh, self._problems = None, self._fresh_problems
        self._note()
        if self._changed is not None:
            for key in old:
                gone = old.get(key) if key not in self._rows else None
                if gone is not None:
                    self._changed(key, gone, None)

    def put(self, thing: W) -> None:
        """Take an object that was listed, added or modified."""
        key = self.key_of(thing.metadata)
        try:
            value = self._translate(thing)
        except InputError as error:
            self.refuse(thing.metadata, str(error))
            return
        problems = self._problems if self._fresh is None else self._fresh_problems
        problems.pop(key, None)
        if value is None:
            self.drop(thing)
        else:
            self._set(key, value)

    def amend(self, start: str, change: Callable[[T], T]) -> None:
        """Change the values whose keys begin with *start*, staged ones too; *change* may return what it was given."""
        for rows in [self._rows] if self._fresh is None else [self._rows, self._fresh]:
            for key in rows.keys_with(start):
                old = rows.get(key)
                new = change(old) if old is not None else None
                if new is None or new is old:
                    continue
                rows.put(key, new)
                if rows is self._rows:
                    self._note()
                    if self._changed is not None:
                        self._changed(key, old, new)

    def _set(self, key: str, value: T) -> None:
        old = self._rows.get(key)
        if old == value and old is not None:
            if self._fresh is not None:
                self._fresh.put(key, old)
            return
        if self._fresh is not None:
            self._fresh.put(key, value)
        else:
            self._rows.put(key, value)
            self._note()
        if self._changed is not None:
            self._changed(key, old, value)

    def drop(self, thing: wire.Any) -> None:
        """Take the news that an object is gone."""
        key = self.key_of(thing.metadata)
        if self._fresh is not None:
            self._fresh.pop(key)
            self._fresh_problems.pop(key, None)
            return
        self._problems.pop(key, None)
        old = self._rows.pop(key)
        if old is None:
            return
        self._note()
        if self._changed is not None:
            self._changed(key, old, None)

    def refuse(self, meta: wire.Metadata, problem: str) -> None:
        """Take an object that cannot be read, and why."""
        key = self.key_of(meta)
        if self._fresh is None:
            self._problems[key] = problem
            return
        self._fresh_problems[key] = problem
        known = self._rows.get(key)
        if known is not None:
            self._fresh.put(key, known)

    def _note(self) -> None:
        self._values = None
        self.version += 1
