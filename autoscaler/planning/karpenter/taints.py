"""
Which taints keep a pod off: all of them, also those that only discourage.

Source: Karpenter `pkg/scheduling/taints.go` (main of 2026-08-20), which takes
comparing tolerations as enabled: k8s.io/api `core/v1/toleration.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from autoscaler.model.placement import Taint, Toleration
from autoscaler.scheduling.requirements import tolerates

_INTEGER = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)
_INT64 = 1 << 63


def tolerates_all(tolerations: Iterable[Toleration], taints: Iterable[Taint]) -> bool:
    """Tell whether every taint is tolerated, whatever its effect."""
    return untolerated(tuple(tolerations), tuple(taints)) is None


@lru_cache(maxsize=1 << 14)
def untolerated(tolerations: tuple[Toleration, ...], taints: tuple[Taint, ...]) -> Taint | None:
    """Return the first taint that is not tolerated, None where all are."""
    for taint in taints:
        if not any(tolerates(each, taint) or _compares(each, taint) for each in tolerations):
            return taint
    return None


def _compares(toleration: Toleration, taint: Taint) -> bool:
    """Tell whether a `Gt` or `Lt` toleration holds: the taint's value is greater, or less, than its own."""
    if toleration.operator not in ("Gt", "Lt") or toleration.key not in ("", taint.key):
        return False
    if toleration.effect is not None and toleration.effect != taint.effect:
        return False
    own, other = _integer(toleration.value), _integer(taint.value)
    if own is None or other is None:
        return False
    return other > own if toleration.operator == "Gt" else other < own


def _integer(text: str) -> int | None:
    if not _INTEGER.fullmatch(text):
        return None
    return int(text) if -_INT64 <= int(text) < _INT64 else None
