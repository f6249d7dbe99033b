"""
Users' own queries, many in one: a bad one harms only itself.

All queries that are known to be good go out in one union. When it fails, it is
halved, and halved again, until the query at fault stands alone; that is
remembered, so that the search is paid once. A query at fault is tried again
later, alone, and waits longer each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from autoscaler.model.readings import Missing, MissingReason, Reading, Sample
from autoscaler.sources.answers import Row, flaw_of
from autoscaler.sources.promql import unbalanced, union

FIRST_WAIT, LONGEST_WAIT = 60.0, 900.0
MOST_IN_ONE = 500
"""More queries than this are sent in two unions."""
_GIVES_SCALAR = "got scalar"
"""Part of Prometheus' message where a vector is wanted (promql/parser, `expectType`)."""


class Blamed(msgspec.Struct, frozen=True):
    """Why a query cannot be answered, when it is tried again, and how long it waited last."""

    detail: str
    again_at: float
    waited: float


class UserQueries:
    """Which queries may go out together, and which are at fault."""

    def __init__(self) -> None:
        self._suspects: list[tuple[str, ...]] = []
        self._blamed: dict[str, Blamed] = {}
        self._scalars: set[str] = set()

    def text_of(self, group: Sequence[str]) -> str:
        """Return the union of a group's queries; those that give a scalar are made vectors."""
        return union([f"vector({query}\n)" if query in self._scalars else query for query in group])

    def groups(self, queries: Iterable[str], *, at: float) -> list[tuple[str, ...]]:
        """Return what to send, in this order and as far as the cycle's queries go; the good ones come first."""
        wanted = dict.fromkeys(queries)
        self._blamed = {query: blamed for query, blamed in self._blamed.items() if query in wanted}
        self._scalars &= wanted.keys()
        suspects = [tuple(query for query in group if query in wanted) for group in self._suspects]
        self._suspects = [group for group in suspects if group]
        apart = {query for group in self._suspects for query in group} | self._blamed.keys()
        good = []
        for query in wanted:
            if query in apart:
                continue
            problem = unbalanced(query)
            if problem is None:
                good.append(query)
            else:
                self._blamed[query] = Blamed(problem, float("inf"), 0.0)
        due = [(query,) for query, blamed in self._blamed.items() if blamed.again_at <= at]
        return [*_parts(good), *self._suspects, *due]

    def answered(self, group: tuple[str, ...]) -> None:
        """Note that a group was answered: its queries are good."""
        self._suspects = [each for each in self._suspects if each != group]
        for query in group:
            self._blamed.pop(query, None)

    def failed(self, group: tuple[str, ...], detail: str, *, at: float) -> list[tuple[str, ...]]:
        """Note that a group's text was refused; return its halves, which are to be tried next."""
        self._suspects = [each for each in self._suspects if each != group]
        if len(group) == 1 and _GIVES_SCALAR in detail and group[0] not in self._scalars:
            self._scalars.add(group[0])
            self._suspects.append(group)
            return [group]
        if len(group) == 1:
            before = self._blamed.get(group[0])
            wait = FIRST_WAIT if before is None else min(2 * before.waited, LONGEST_WAIT)
            self._blamed[group[0]] = Blamed(detail, at + wait, wait)
            return []
        halves = [group[: len(group) // 2], group[len(group) // 2 :]]
        self._suspects += halves
        return halves

    def reading_of(self, query: str, found: Mapping[str, Reading]) -> Reading:
        """Return what a query gave, or why it gave nothing."""
        if query in found:
            return found[query]
        blamed = self._blamed.get(query)
        if blamed is not None:
            return Missing(MissingReason.FAILED, blamed.detail)
        return Missing(MissingReason.NOT_READ, "sent together with a query that fails; being told apart")


def readings_of(group: Sequence[str], rows: Iterable[Row], *, at: float) -> dict[str, Reading]:
    """Return one reading for each query of a group, by its text, from the rows of their union."""
    found: list[list[float]] = [[] for _ in group]
    for row in rows:
        number = row.metric.podnode_query
        if number.isdecimal() and int(number) < len(found):
            found[int(number)].append(row.value.number)
    return {query: _one(numbers, at) for query, numbers in zip(group, found, strict=True)}


def _one(numbers: Sequence[float], at: float) -> Reading:
    if not numbers:
        return Missing(MissingReason.ABSENT, "the query gives nothing")
    if len(numbers) > 1:
        return Missing(MissingReason.DUPLICATE, "the query gives several series, one is wanted: aggregate them")
    flaw = flaw_of(numbers[0])
    return Sample(numbers[0], at) if flaw is None else Missing(flaw, f"the query gives {numbers[0]:g}")


def _parts(good: Sequence[str]) -> list[tuple[str, ...]]:
    if not good:
        return []
    if len(good) <= MOST_IN_ONE:
        return [tuple(good)]
    middle = len(good) // 2
    return [tuple(good[:middle]), tuple(good[middle:])]
