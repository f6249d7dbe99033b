"""One self-contained HTML page: the frontier first, then how each run went, then every figure."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from autoscaler.backtest.engines import ENGINES
from autoscaler.backtest.results import LABELS, MEANINGS, METRICS, Failure, Outcome, Run, RunSeries, describe_settings
from autoscaler.backtest.scenario import Scenario

_TEMPLATE = Path(__file__).with_name("report.html")
_FIRST = (
    *("joint", "hpa+season", "hpa", "hpa+vpa", "mpa", "static", "vpa"),
    *("hpa+ca", "hpa+karpenter", "hpa+vpa+karpenter", "cron+hpa", "hpa+balloon", "keda", "phpa", "krr", "crane"),
)
"""Each has a colour of its own."""
_ASSUMED = """<p>Every engine met the same load, machines, delays and faults, second for second. Nothing here was
measured on a real cluster: traffic is replayed from the traces named in the scenario, CPU is shared by weight on each
node, latency follows a queueing formula, pods take their start time and nodes their boot time, metrics are late,
and nodes are billed from launch to termination. The node engine is the same under all engines but those that
name another: what differs is who decides replicas and requests.</p>
<p>A <b>frontier</b> shows more than one setting of an engine, since any single point can be moved along it: read
along a horizontal line (equal service) or a vertical one (equal cost). Down and to the left is better.
A point is faint where another one costs no more and misses no more.
Differences of a few percent between single runs are noise: repeat with <code>--seeds</code>.</p>"""


def render_report(scenarios: Sequence[Scenario], outcomes: Sequence[Outcome], *, version: str = "") -> str:
    """
    Return the page for all runs of *scenarios*; equal input gives equal bytes.

    Runs belong to the scenario whose name their figures carry, failures to
    the one whose file they name.
    """
    runs = [outcome for outcome in outcomes if isinstance(outcome, Run)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    engines = sort_engines({run.figures.engine for run in runs})
    content = {
        "metrics": METRICS,
        "labels": LABELS,
        "meanings": MEANINGS,
        "engines": engines,
        "palette": _palette(engines),
        "scenarios": [_scenario(scenario, runs, failures) for scenario in scenarios],
    }
    count = f"{len(runs)} run{'s' if len(runs) != 1 else ''}"
    seeds = {run.figures.scenario: set[int]() for run in runs}
    for run in runs:
        seeds[run.figures.scenario].add(run.figures.seed)
    many = max(map(len, seeds.values()), default=1)
    lead = (
        f"{count} of {len(engines)} engine{'s' if len(engines) != 1 else ''} on {len(scenarios)} "
        f"scenario{'s' if len(scenarios) != 1 else ''}, simulated with {many} seed{'s' if many != 1 else ''} each"
        + (f" by podnode-autoscaler {version}." if version else ".")
    )
    fields = {
        "@TITLE@": html.escape("Backtest" if len(scenarios) != 1 else f"Backtest: {_title(scenarios[0])}"),
        "@LEAD@": html.escape(lead),
        "@METHOD@": _method(engines),
        "@DATA@": _script_safe(content),
    }
    page = _TEMPLATE.read_text(encoding="utf-8")
    for mark, text in fields.items():
        page = page.replace(mark, text)
    return page


def sort_engines(names: Iterable[str]) -> list[str]:
    """Return engine names in the order of legends: ours first, then the peers, then others by name."""
    return sorted(names, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))


def _palette(engines: Sequence[str]) -> dict[str, int]:
    """Return the number of each engine's colour: known engines keep theirs from page to page."""
    others = [name for name in engines if name not in _FIRST]
    return {name: (*_FIRST, *others).index(name) for name in engines}


def _scenario(scenario: Scenario, runs: Sequence[Run], failures: Sequence[Failure]) -> dict[str, Any]:
    own = [run for run in runs if run.figures.scenario == scenario.name]
    order = sort_engines({run.figures.engine for run in own})
    own.sort(key=lambda run: (order.index(run.figures.engine), not run.job.preset))
    series = next((run.series for run in own if run.series is not None), None)
    return {
        "name": scenario.name,
        "title": _title(scenario),
        "description": scenario.file.description,
        "hours": series.hours if series else (),
        "length_hours": series.length_hours if series else 0,
        "bin_minutes": series.bin_minutes if series else 0,
        "services": list(series.services) if series else [],
        "runs": [_run(run) for run in own],
        "failed": [
            {
                "engine": failure.job.engine,
                "settings": describe_settings(failure.job.settings),
                "seed": failure.job.seed,
                "message": failure.message,
            }
            for failure in failures
            if failure.job.scenario in (scenario.where, scenario.name)
        ],
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "engine": run.figures.engine,
        "settings": describe_settings(run.figures.settings),
        "seed": run.figures.seed,
        "preset": run.job.preset,
        "figures": {name: getattr(run.figures, name) for name in (*METRICS, "node_hours")},
        **_lines(run.series),
    }


def _lines(series: RunSeries | None) -> dict[str, Any]:
    return {} if series is None else {"lines": series.lines, "services": series.services}


def _title(scenario: Scenario) -> str:
    return scenario.file.title or scenario.name


def _method(engines: Sequence[str]) -> str:
    about = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(ENGINES[name].about)}</dd>"
        for name in engines
        if name in ENGINES
    )
    meanings = "".join(f"<dt>{name}</dt><dd>{html.escape(MEANINGS[name])}</dd>" for name in METRICS)
    return f"{_ASSUMED}<h3>Engines</h3><dl>{about}</dl><h3>Figures</h3><dl>{meanings}</dl>"


def _script_safe(content: dict[str, Any]) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
