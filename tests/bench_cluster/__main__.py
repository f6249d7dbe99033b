"""
Runs every `bench_*.py` here as `tests.bench` does its own, and appends the rows to the same `build/bench.jsonl`.

`python -m tests.bench_cluster WORD` runs those with WORD in their names.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench.__main__ import OUTPUT, lines_of, rows_in, show


def main(only: str = "") -> int:
    rows = rows_in(Path(__file__).resolve().parent, only)
    OUTPUT.parent.mkdir(exist_ok=True)
    with OUTPUT.open("a", encoding="utf-8") as file:
        file.write(lines_of(rows))
    return show(rows)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
