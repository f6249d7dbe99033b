"""
Finds engines, providers, metrics sources and expanders by name.

Our own recommenders are known without installation; everything else comes
from the entry-point groups `autoscaler.recommenders`, `.providers`,
`.metrics_sources` and `.expanders`, and is loaded only when it is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def recommenders(wanted: Iterable[str] = ()) -> Mapping[str, Recommender]:
    """
    Return the built-in engines, and those of *wanted* that plug-ins bring.

    Raises:
        InputError: as `recommender`.
    """
    return {**BUILT_IN, **{name: recommender(name) for name in wanted}}
