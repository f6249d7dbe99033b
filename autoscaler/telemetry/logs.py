"""
Logs: a constant event, facts as keys; one JSON object a line, or text for people.

At info there is one line a cycle and one an action. No pod's spec, no
environment variable and no secret is ever a fact.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

ROOT = "autoscaler"


class Log:
    """
    A named log of one module.

    >>> Log("autoscaler.example").info("node group resized", group="web-a", size=7, expected=5)
    """

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(name)

    def debug(self, event: str, **facts: Any) -> None:
        self._write(logging.DEBUG, event, facts)

    def info(self, event: str, **facts: Any) -> None:
        self._write(logging.INFO, event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        self._write(logging.WARNING, event, facts)

    def error(self, event: str, **facts: Any) -> None:
        self._write(logging.ERROR, event, facts)

    def exception(self, event: str, **facts: Any) -> None:
        """Write the error that is being handled, too: for bugs only."""
        self._log.error(event, exc_info=True, extra={"facts": facts})

    def _write(self, level: int, event: str, facts: dict[str, Any]) -> None:
        if self._log.isEnabledFor(level):
            self._log.log(level, event, extra={"facts": facts})


class JsonLines(logging.Formatter):
    """`{"time", "level", "event", facts...}`, one object a line; a fact that has no JSON form is written as text."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        # A fact cannot take the place of what every line has.
        line.update((name, value) for name, value in _facts_of(record).items() if name not in line)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class PlainText(logging.Formatter):
    """Time, level, event, and facts as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f"  {name}={_shown(value)}" for name, value in _facts_of(record).items())
        text = f"{_time_of(record)} {record.levelname.lower():7} {record.getMessage()}{facts}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure_logs(*, level: str = "info", form: str = "json", stream: TextIO | None = None) -> None:
    """
    Write the logs of this package to *stream*, standard error if None; called twice, the last call counts.

    Args:
        level: debug, info, warning or error: the least that is written.
        form: json or text.
        stream: where to write to.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else PlainText())
    log = logging.getLogger(ROOT)
    log.handlers[:] = [handler]
    log.setLevel(level.upper())
    log.propagate = False


def _facts_of(record: logging.LogRecord) -> dict[str, Any]:
    facts = getattr(record, "facts", None)
    return facts if isinstance(facts, dict) else {}


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(value: Any) -> str:
    """Return a fact as people write it: `cpu:1,memory:2Gi`, `one,two`, and `-` for none of them."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        value = [f"{name}:{_shown(each)}" for name, each in value.items()]
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value)) or "-"
    text = str(value)
    return repr(text) if " " in text or not text else text
