"""What a Prometheus may answer instead of the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from autoscaler.clock import SystemClock
from autoscaler.model.readings import MissingReason
from tests.cluster.proxy import Asked, Pass, Refuse, Rule, Verdict

Rows = list[dict[str, Any]]
HOUR = 3600.0


class Lie(msgspec.Struct, frozen=True):
    """A rule for the proxy, and what the controller is to say of it: a reason, or the problem of a whole turn."""

    name: str
    rule: Rule
    said: str


def amounts(text: str) -> Rule:
    """Answer *text* for every amount; times stay true."""

    def change(rows: Rows, asked: Asked) -> Rows:
        return rows if _is_about_times(asked) else [_valued(row, text) for row in rows]

    return _changed(change)


def _changed(change: Callable[[Rows, Asked], Rows], **remarks: Any) -> Rule:
    async def rule(asked: Asked) -> Verdict:
        def answer(body: bytes) -> bytes:
            document = msgspec.json.decode(body)
            if document["data"]["resultType"] == "vector":
                document["data"]["result"] = change(document["data"]["result"], asked)
            return msgspec.json.encode({**document, **remarks})

        return Pass(change=answer)

    return rule


def _shifted(seconds: float) -> Rule:
    """Say of all samples that they were taken so much later than they were."""

    def change(rows: Rows, asked: Asked) -> Rows:
        if not _is_about_times(asked):
            return rows
        return [_valued(row, str(float(row["value"][1]) + seconds)) for row in rows]

    return _changed(change)


def _answering(status: int, body: bytes) -> Rule:
    async def refuse(asked: Asked) -> Verdict:
        return Refuse(status=status, body=body)

    return refuse


async def _silent(asked: Asked) -> Verdict:
    """Never answer: who asks goes away first."""
    await SystemClock().sleep(HOUR)
    return Pass()


def _is_about_times(asked: Asked) -> bool:
    return "timestamp(" in asked.params["query"]


def _valued(row: dict[str, Any], text: str) -> dict[str, Any]:
    return {**row, "value": [row["value"][0], text]}


LIES = (
    Lie("not-a-number", amounts("NaN"), MissingReason.NOT_A_NUMBER),
    Lie("infinite", amounts("+Inf"), MissingReason.INFINITE),
    Lie("negative", amounts("-1"), MissingReason.NEGATIVE),
    Lie("an-hour-old", _shifted(-HOUR), MissingReason.STALE),
    Lie("from-the-future", _shifted(HOUR), MissingReason.STALE),
    Lie("twice", _changed(lambda rows, _: [*rows, *rows]), MissingReason.DUPLICATE),
    Lie("none", _changed(lambda rows, _: []), MissingReason.ABSENT),
    Lie("partial", _changed(lambda rows, _: rows[:1], warnings=["a store is away"]), MissingReason.PARTIAL),
    Lie("no-answer", _silent, "metrics: prometheus: no answer within"),
    Lie("unavailable", _answering(503, b"no upstream"), "503"),
    Lie("too-many-requests", _answering(429, b"slow down"), "429"),
    Lie("another-page", _answering(200, b"<html>log in</html>"), "not the JSON of a query API"),
)
