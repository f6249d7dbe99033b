"""Prints the pass and fail counts of every vector set at the end of the run, also when workers ran the tests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.golden.vectors import RESULTS, folder


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["golden"] = RESULTS


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    RESULTS.update(getattr(node, "workeroutput", {}).get("golden", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not RESULTS:
        return
    terminalreporter.section("golden vectors")
    terminalreporter.write_line(f"from {'the bundled excerpt' if folder().name == 'excerpt' else folder()}")
    for name, counts in sorted(RESULTS.items()):
        line = "  ".join(f"{word} {count}" for word, count in counts.items()) if any(counts.values()) else "absent"
        terminalreporter.write_line(f"{name:34s} {line}")
