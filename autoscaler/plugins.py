"""
Finds engines, providers, metrics sources and expanders by name.

Our own recommenders are known without installation; everything else comes
from the entry-point groups `autoscaler.recommenders`, `.providers`,
`.metrics_sources` and `.expanders`, and is loaded only when it is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from autoscaler.errors import InputError
from autoscaler.interfaces import Recommender
from autoscaler.recommend.engines import BUILT_IN

RECOMMENDERS = "autoscaler.recommenders"
PROVIDERS = "autoscaler.providers"
METRICS_SOURCES = "autoscaler.metrics_sources"
EXPANDERS = "autoscaler.expanders"


def names(group: str) -> tuple[str, ...]:
    """Return the names that an entry-point group offers, sorted; nothing is loaded."""
    from importlib.metadata import entry_points

    found = {entry.name for entry in entry_points(group=group)}
    return tuple(sorted(found.union(BUILT_IN) if group == RECOMMENDERS else found))


def load(group: str, name: str) -> Any:
    """
    Return what the entry point *name* of *group* refers to.

    Raises:
        InputError: there is no such entry point, or it cannot be imported.
    """
    from importlib.metadata import entry_points

    for entry in entry_points(group=group):
        if entry.name == name:
            try:
                return entry.load()
            except (ImportError, AttributeError) as cause:
                raise InputError(
                    f"entry point {group}", name, entry.value, f"an importable object ({cause})"
                ) from cause
    raise InputError(
        f"entry point {group}", "", name, f"one of {', '.join(names(group)) or 'none (nothing installed)'}"
    )


def recommender(name: str) -> Recommender:
    """
    Return the engine *name*.

    Raises:
        InputError: no engine has that name, or its plug-in cannot be loaded.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    engine = load(RECOMMENDERS, name)
    made = engine() if isinstance(engine, type) else engine
    if not isinstance(made, Recommender):
        raise InputError(f"entry point {RECOMMENDERS}", name, engine, "an object with the methods of a Recommender")
    return made


class Installed(Mapping[str, Recommender]):
    """
    The built-in engines, and those that plug-ins bring: each is loaded when it is first asked for.

    One that cannot be loaded is not there; `recommender` says why.
    """

    def __init__(self) -> None:
        self._found: dict[str, Recommender | None] = dict(BUILT_IN)

    def __getitem__(self, name: str) -> Recommender:
        if name not in self._found:
            try:
                self._found[name] = recommender(name)
            except InputError:
                self._found[name] = None
        engine = self._found[name]
        if engine is None:
            raise KeyError(name)
        return engine

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return names(RECOMMENDERS)
