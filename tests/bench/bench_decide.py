"""
CPU seconds and memory of whole decisions on large clusters, and of starting the program.

A steady cycle finds nothing to do; a busy one scales 3 % of the workloads and
has 1 % of the pods waiting. Each size runs in a process of its own, so that
its peak memory, the snapshot included, is its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SMALL, LARGE = 1000, 5000
LIMITS = {SMALL: 0.3, LARGE: 1.5}
GROWTH_LIMIT, RSS_LIMIT_MIB = 5.5, 600
HELP_LIMIT, ROUNDS = 0.2, 3
_MEASURE = (
    "import json, sys; from tests.bench.bench_decide import measure; print(json.dumps(measure(int(sys.argv[1]))))"
)
_IMPORT = "import time, sys; t = time.process_time(); import {}; print(time.process_time() - t, len(sys.modules))"
UNWANTED = ("asyncio", "aiohttp", "kubernetes_asyncio", "pandas", "scipy", "statsmodels", "highspy")


def run() -> list[dict[str, object]]:
    """Return the figures of both sizes, how they grow, and of starting the program."""
    small, large = (_in_a_process(nodes) for nodes in (SMALL, LARGE))
    rows = [
        _row(f"decide_{cycle}_{nodes}_nodes", found[cycle], "s CPU", LIMITS[nodes])
        for nodes, found in ((SMALL, small), (LARGE, large))
        for cycle in ("steady", "busy")
    ]
    rows += [
        _row("decide_growth_for_5x_steady", large["steady"] / small["steady"], "x", GROWTH_LIMIT),
        _row("decide_growth_for_5x_busy", large["busy"] / small["busy"], "x", None),
        _row("decide_consolidation_5000_nodes", large["consolidation"], "s CPU", None),
        _row("decide_peak_rss_5000_nodes", large["rss_mib"], "MiB", RSS_LIMIT_MIB),
        _row("decide_pods", int(large["pods"]), "pods", None),
        _row("decide_busy_actions", int(large["actions"]), "actions", None),
    ]
    return [*rows, *_start_up()]


def measure(nodes: int) -> dict[str, float]:
    """Return CPU seconds of each kind of cycle (median of three), counts and the peak memory of this process."""
    import msgspec

    from autoscaler.model.state import DecisionState
    from autoscaler.planning.decide import decide
    from autoscaler.testing.builders import NOW
    from tests.bench.clusters import Draw, everything_auto, make_cluster
    from tests.unit.planning.decisions import later

    rules = everything_auto()
    quiet = make_cluster(Draw(nodes=nodes))
    state = DecisionState(last_consolidation_at=NOW)
    for cycle in range(2):
        state = decide(msgspec.structs.replace(quiet, observed_at=NOW + 15.0 * cycle), rules, state).state
    calm = msgspec.structs.replace(quiet, observed_at=NOW + 30.0)
    steady, decision = _timed(lambda: decide(calm, rules, state))
    if decision.plan.actions:
        raise AssertionError(f"a steady cycle has nothing to do, but {len(decision.plan.actions)} actions came of it")
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    late = later(quiet, 600.0)
    consolidation, _ = _timed(lambda: decide(late, rules, state), rounds=1)
    busy = msgspec.structs.replace(make_cluster(Draw(nodes=nodes, loaded=0.03, waiting=0.01)), observed_at=NOW + 30.0)
    loaded, decision = _timed(lambda: decide(busy, rules, state))
    return {
        "steady": steady,
        "busy": loaded,
        "consolidation": consolidation,
        "rss_mib": rss,
        "pods": len(quiet.pods),
        "actions": len(decision.plan.actions),
    }


def _timed(work: Callable[[], Any], *, rounds: int = ROUNDS) -> tuple[float, Any]:
    taken, result = [], None
    for _ in range(rounds):
        started = time.process_time()
        result = work()
        taken.append(time.process_time() - started)
    return median(taken), result


def _in_a_process(nodes: int) -> dict[str, float]:
    found: dict[str, float] = json.loads(_output(_MEASURE, str(nodes)))
    return found


def _start_up() -> list[dict[str, object]]:
    seconds, modules = _output(_IMPORT.format("autoscaler")).split()
    loaded = _output("import sys, autoscaler, autoscaler.planning.decide; print(*sys.modules)").split()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "autoscaler", "--help"], check=True, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [
        _row("import_autoscaler", float(seconds), "s CPU", HELP_LIMIT),
        _row("import_autoscaler_modules", int(modules), "modules", None),
        _row("import_decide_unwanted_modules", len(set(UNWANTED) & set(loaded)), "modules", 0),
        _row("help", spent, "s CPU", HELP_LIMIT),
    ]


def _output(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return done.stdout


def _row(name: str, value: float, unit: str, limit: float | None) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "limit": limit, "ok": limit is None or value <= limit}


if __name__ == "__main__":
    for figure in run():
        print(figure)
