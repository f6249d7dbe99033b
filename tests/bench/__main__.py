"""
Runs every `bench_*.py` here and prints counts and CPU seconds as one table.

A bench is a module with `run() -> list of {name, value, unit, limit, ok}`;
`limit` None sets no bound. The same rows go to `build/bench.jsonl`, one JSON
object a line. The exit code is 1 when a row is not ok. Each bench runs in a
process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoscaler.cli.output import table

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parents[1] / "build" / "bench.jsonl"
FIELDS = ("name", "value", "unit", "limit", "ok")
_RUN = "import importlib, json, sys; print(json.dumps(importlib.import_module(sys.argv[1]).run()))"


def rows_of(module: str) -> list[dict[str, Any]]:
    """Run one bench; one that fails gives a row of its own, which is not ok."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN, module], check=False, stdout=subprocess.PIPE, text=True, cwd=HERE.parents[1]
    )
    if done.returncode != 0:
        return [{"name": module, "value": None, "unit": "failed", "limit": None, "ok": False}]
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return [{field: row[field] for field in FIELDS} for row in rows]


def main(only: str = "") -> int:
    rows = rows_in(HERE, only)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(lines_of(rows), encoding="utf-8")
    return show(rows)


def rows_in(folder: Path, only: str) -> list[dict[str, Any]]:
    """Run the benches of a folder under `tests` whose names have *only* in them."""
    rows = []
    for path in sorted(folder.glob("bench_*.py")):
        if only in path.stem:
            print(f"running {path.stem}", file=sys.stderr, flush=True)
            rows += rows_of(f"tests.{folder.name}.{path.stem}")
    return rows


def lines_of(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as JSON, one object a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def show(rows: Sequence[dict[str, Any]]) -> int:
    """Print rows as a table; return the exit code that they make."""
    shown = [
        (r["name"], _number(r["value"]), r["unit"], _number(r["limit"]), "ok" if r["ok"] else "MISSED") for r in rows
    ]
    print(table(shown, header=FIELDS, right=(1, 3)))
    return 0 if all(row["ok"] for row in rows) else 1


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
