"""Sends the queries of one cycle: the fixed ones and the unions of users' own, within one number."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from autoscaler.errors import TransientError
from autoscaler.model.readings import Missing, MissingReason, Reading
from autoscaler.sources.answers import BadAnswerError, rows_of
from autoscaler.sources.connection import RETRY_SECONDS, Connection, QueryError
from autoscaler.sources.promql import Question
from autoscaler.sources.tables import Table, table_of
from autoscaler.sources.together import together
from autoscaler.sources.user_queries import UserQueries, readings_of

MOST_QUERIES = 12
"""Queries of one cycle, the search for a bad one of the users' included."""
_TIMED = frozenset(
    {Question.CPU, Question.CPU_TIME, Question.MEMORY, Question.MEMORY_TIME, Question.MEMORY_PEAK, Question.THROTTLED}
)
"""Questions whose samples come with their times, so that what is stale is told from what is absent."""
_BROKEN = (QueryError, TransientError, BadAnswerError)


class Answers(msgspec.Struct, frozen=True):
    """What the queries of a cycle gave: tables by question, and readings by the text of a user's query."""

    tables: Mapping[Question, Table]
    users: Mapping[str, Reading]

    def no_answer(self) -> TransientError | None:
        """Return the error of a server that answered nothing, None where it answered something."""
        problems = [table.problem for table in self.tables.values()]
        problems += [reading if isinstance(reading, Missing) else None for reading in self.users.values()]
        failed = [each for each in problems if each is not None and each.reason is MissingReason.FAILED]
        if not failed or len(failed) < len(problems):
            return None
        return TransientError(f"prometheus: {failed[0].detail}", retry_after_seconds=RETRY_SECONDS)


class _Sent(msgspec.Struct, frozen=True):
    """What became of one union: its readings, or the error."""

    group: tuple[str, ...]
    readings: Mapping[str, Reading] = {}
    error: Exception | None = None


class Asker:
    """
    Asks a connection; *lookback* is how old a sample may be where its time is not known, seconds.

    Raises (ask): AccessError.
    """

    def __init__(
        self, connection: Connection, queries: Mapping[Question, str], users: UserQueries, *, lookback: float
    ) -> None:
        self._connection, self._queries, self._users, self._lookback = connection, queries, users, lookback

    async def ask(self, questions: Iterable[Question], texts: Sequence[str], *, at: float) -> Answers:
        """Return what all *questions* that have a query and the users' *texts* give at a time."""
        asked = [question for question in questions if question in self._queries]
        unions = self._users.groups(texts, at=at)[: MOST_QUERIES - len(asked)]
        found, sent = await _both(
            [self._table(question, at) for question in asked], [self._union(group, at) for group in unions]
        )
        tables = dict(zip(asked, found, strict=True))
        alive = any(table.problem is None for table in found) or any(each.error is None for each in sent)
        users: dict[str, Reading] = {}
        queue = self._sorted_out(sent, users, at=at, alive=alive)
        for _ in range(MOST_QUERIES - len(asked) - len(sent)):
            if not queue:
                break
            queue += self._sorted_out([await self._union(queue.pop(0), at)], users, at=at, alive=alive)
        return Answers(tables, users)

    def _sorted_out(
        self, sent: Iterable[_Sent], users: dict[str, Reading], *, at: float, alive: bool
    ) -> list[tuple[str, ...]]:
        """Add the readings of what was sent to *users*; return what to try next where a text is at fault."""
        following: list[tuple[str, ...]] = []
        for each in sent:
            error = each.error
            # A late answer is blamed on the text only where the server answers others in time.
            if isinstance(error, QueryError) and error.blames_text and (alive or not error.late):
                following += self._users.failed(each.group, str(error), at=at)
            elif error is not None:
                users.update(dict.fromkeys(each.group, failed(error)))
            else:
                self._users.answered(each.group)
                users.update(each.readings)
        return following

    async def _table(self, question: Question, at: float) -> Table:
        lookback = None if question in _TIMED else self._lookback
        try:
            answered = await self._connection.query(self._queries[question], at=at, lookback=lookback)
            if answered.partial:
                return Table(problem=Missing(MissingReason.PARTIAL, answered.partial))
            return table_of(rows_of(answered))
        except _BROKEN as error:
            return Table(problem=failed(error))

    async def _union(self, group: tuple[str, ...], at: float) -> _Sent:
        try:
            answered = await self._connection.query(self._users.text_of(group), at=at, lookback=self._lookback)
            if answered.partial:
                return _Sent(group, dict.fromkeys(group, Missing(MissingReason.PARTIAL, answered.partial)))
            return _Sent(group, readings_of(group, rows_of(answered), at=at))
        except _BROKEN as error:
            return _Sent(group, error=error)


def failed(error: Exception) -> Missing:
    """Return the reading of what could not be read because of an error."""
    return Missing(MissingReason.FAILED, str(error)[:300])


async def _both(
    tables: Sequence[Coroutine[Any, Any, Table]], unions: Sequence[Coroutine[Any, Any, _Sent]]
) -> tuple[list[Table], list[_Sent]]:
    found: list[Table] = []
    sent: list[_Sent] = []

    async def ask() -> None:
        found.extend(await together(tables))

    async def send() -> None:
        sent.extend(await together(unions))

    await together((ask(), send()))
    return found, sent
