"""Rows of a bench, and what is read for them."""

from __future__ import annotations

import os

Figures = list[dict[str, object]]


def figure(name: str, value: float, unit: str, limit: float | None) -> dict[str, object]:
    """Return a row; *limit* is the most that is allowed, None for no bound."""
    return {"name": name, "value": value, "unit": unit, "limit": limit, "ok": limit is None or value <= limit}


def values_of(metrics: bytes) -> dict[str, float]:
    """
    Return the values of a page of metrics by name and labels.

    >>> values_of(b'# TYPE up gauge\\nup{job="a"} 1.0\\n')
    {'up{job="a"}': 1.0}
    """
    rows = (line.rpartition(" ") for line in metrics.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def load_average() -> float:
    """Return how many processes ran or waited for a core, on average over five minutes."""
    return os.getloadavg()[1]
