"""
Reads the vector sets that the real peers computed and counts how many we match.

The folder is that of the environment variable `VECTORS`, else
`../shared/vectors` beside this checkout, else the excerpt bundled here. A set
is one gzipped (or plain) JSON-lines file; any folder with files of the same
schema will do.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
Case = dict[str, Any]
RESULTS: dict[str, dict[str, int]] = {}
"""Set name to counts of passed, failed and listed (known peer bugs) cases, for the summary."""


def folder() -> Path:
    """
    Return the folder that vectors are read from.

    Raises:
        AssertionError: `VECTORS` names one without any.
    """
    named = os.environ.get("VECTORS")
    if named:
        found = Path(named)
        assert any(found.glob("*.jsonl*")), f"VECTORS={named}: no .jsonl or .jsonl.gz file there"
        return found
    beside = HERE.parents[2] / "shared" / "vectors"
    return beside if beside.is_dir() else HERE / "excerpt"


def cases(name: str) -> Iterator[Case]:
    """Yield the cases of set *name*; nothing where the folder has no such set."""
    for path in (folder() / f"{name}.jsonl.gz", folder() / f"{name}.jsonl"):
        if path.exists():
            opener = gzip.open if path.suffix == ".gz" else open
            with opener(path, "rt", encoding="utf-8") as lines:
                yield from (json.loads(line) for line in lines if line.strip())
            return


def identity(case: Case) -> str:
    return str(case.get("id", case.get("index")))


def check_set(
    name: str, check: Callable[[Case], str], *, listed: Callable[[Case], str] | Mapping[str, str] = lambda _: ""
) -> None:
    """
    Run *check* on every case of set *name*; it returns "" or what differs.

    *listed* gives, for a case on which the peer is known to be wrong, the
    argument (else ""): such a case is still run, counted apart, and must not
    raise. Fails with the first differences when any other case differs.
    """
    counts = {"passed": 0, "failed": 0, "listed": 0}
    wrong: list[str] = []
    for case in cases(name):
        argument = listed(case) if callable(listed) else listed.get(identity(case), "")
        difference = check(case)
        if not difference:
            counts["passed"] += 1
        elif argument:
            counts["listed"] += 1
        else:
            counts["failed"] += 1
            wrong.append(f"{identity(case)}: {difference}")
    RESULTS[name] = counts
    assert not wrong, f"{name}: {len(wrong)} of {sum(counts.values())} cases differ\n" + "\n".join(wrong[:10])
