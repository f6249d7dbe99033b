"""How a simulated run looks while it runs: a live view in a terminal, or plain lines."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from autoscaler.clock import SystemClock
from autoscaler.model.units import DAY, HOUR, format_duration

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table

    from autoscaler.model.plan import AnyAction
    from autoscaler.simulator.results import Moment

BARS = "▁▂▃▄▅▆▇█"
_WEEKDAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")  # the epoch began on a Thursday
_REFRESH_SECONDS = 0.1
_HISTORY = 48
_MOST_ROWS = 14
_ACTIONS = 6
_LINES = 20
_WIDE = 64
_SUMMARY_WIDTH = 24
_WORKLOADS_WIDTH = 44
_LEAST_BARS = 8


class PlainView:
    """A line for each twentieth of a run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next = 0.0
        self._start = SystemClock().monotonic()

    def __call__(self, step: int, moment: Moment) -> None:
        done = (step + 1) / moment.steps
        if step < 0 or (done < self._next and done < 1):
            return
        self._next = done + 1 / _LINES
        left = (SystemClock().monotonic() - self._start) / done * (1 - done)
        print(
            f"{done:4.0%}  {clock_text(moment)}  {sum(moment.nodes_by_type.values())} nodes  "
            f"{int(moment.ready.sum())} pods ready  {moment.usd_per_hour:.2f} USD/h  "
            f"{moment.slo_violation_share:.2%} missed  about {format_duration(max(1.0, left))} left",
            file=self._stream,
            flush=True,
        )

    def close(self) -> None:
        """Nothing is held open."""


class LiveView:
    """A screen that is drawn anew ten times a second; needs the extra `ui`."""

    def __init__(self, stream: TextIO, title: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._title = title
        self._clock = SystemClock()
        self._drawn = 0.0
        self._usd: deque[float] = deque(maxlen=_HISTORY)
        self._nodes: deque[float] = deque(maxlen=_HISTORY)
        self._ready: deque[Any] = deque(maxlen=_HISTORY)
        self._actions: deque[str] = deque(maxlen=_ACTIONS)
        self._live: Live = Live(console=Console(file=stream), auto_refresh=False)
        self._live.start()

    def __call__(self, step: int, moment: Moment) -> None:
        every = max(1, moment.steps // (_HISTORY * 4))
        if step % every == 0:
            self._usd.append(moment.usd_per_hour)
            self._nodes.append(sum(moment.nodes_by_type.values()))
            self._ready.append(moment.ready.copy())
        if moment.decision is not None:
            for action in moment.decision.plan.actions:
                self._actions.append(f"{clock_text(moment)}  {action_text(action)}")
        now = self._clock.monotonic()
        if now - self._drawn >= _REFRESH_SECONDS or step + 1 >= moment.steps:
            self._drawn = now
            self._live.update(self._screen(step, moment), refresh=True)

    def close(self) -> None:
        """Leave the last screen standing."""
        self._live.stop()

    def _screen(self, step: int, moment: Moment) -> Group:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        head = Text.assemble((self._title, "bold"), "   ", clock_text(moment), style="default", overflow="ellipsis")
        if step < 0:
            head.append("   warming up", style="dim")
        days = max((step + 1) / moment.steps, 0)
        parts: list[Any] = [head, ProgressBar(total=1.0, completed=days, width=72), Text()]
        parts += [self._summary(moment), Text(), self._workloads(moment)]
        if self._actions:
            parts += [
                Text(),
                Text("latest actions", style="bold"),
                *(Text(line, no_wrap=True, overflow="ellipsis") for line in self._actions),
            ]
        return Group(*parts)

    def _summary(self, moment: Moment) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        missed = moment.slo_violation_share
        colour = "green" if missed <= 0.005 else "yellow" if missed <= 0.02 else "red"
        nodes = ", ".join(f"{count} {name}" for name, count in sorted(moment.nodes_by_type.items()) if count)
        room = max(0, self._live.console.width - _SUMMARY_WIDTH)
        for name, value, history in (
            ("cost", f"{moment.usd_per_hour:.2f} USD/h", self._usd),
            ("nodes", str(sum(moment.nodes_by_type.values())), self._nodes),
        ):
            table.add_row(name, value, Text(sparkline(list(history))[-room:] if room else "", style="cyan"))
        table.add_row("", "", Text(nodes, style="dim", no_wrap=True, overflow="ellipsis"))
        table.add_row("missed", Text(f"{missed:.2%}", style=colour), Text("of service-time so far", style="dim"))
        table.add_row("pending", f"{moment.pending_pods} pods", "")
        return table

    def _workloads(self, moment: Moment) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("workload", no_wrap=True, overflow="ellipsis")
        wide = self._live.console.width >= _WIDE
        for name in ("load", "ready", "wanted", "slow", "latency") if wide else ("load", "ready", "slow"):
            table.add_column(name, justify="right", no_wrap=True)
        names = short_names(moment.services)
        room = self._live.console.width - _WORKLOADS_WIDTH - max(map(len, names), default=0)
        if room >= _LEAST_BARS:
            table.add_column("ready pods", no_wrap=True)
        order = sorted(range(len(moment.services)), key=lambda place: (-float(moment.ready[place]), place))
        for place in sorted(order[:_MOST_ROWS]):
            slow, latency = float(moment.slow[place]), float(moment.latency[place])
            cells: dict[str, Text | str] = {
                "load": f"{moment.load[place]:,.1f}",
                "ready": f"{moment.ready[place]:.0f}",
                "wanted": f"{moment.replicas[place]:.0f}",
                "slow": Text(f"{slow:.1%}", style="red" if slow > 0.05 else ""),
                "latency": f"{latency * 1000:,.0f} ms" if math.isfinite(latency) else "-",
                "ready pods": Text(
                    sparkline([float(row[place]) for row in self._ready])[-max(room, 1) :], style="cyan"
                ),
            }
            table.add_row(names[place], *(cells[str(column.header)] for column in table.columns[1:]))
        hidden = len(moment.services) - min(len(moment.services), _MOST_ROWS)
        if hidden:
            table.add_row(Text(f"and {hidden} more", style="dim"))
        return table


def sparkline(values: Sequence[float] | deque[float]) -> str:
    """
    Return one bar a value, from 0 to the largest.

    >>> sparkline([0, 1, 2, 4])
    '▁▂▄█'
    """
    top = max(values, default=0.0)
    if top <= 0:
        return BARS[0] * len(values)
    return "".join(BARS[min(len(BARS) - 1, int(value / top * (len(BARS) - 1)))] for value in values)


def short_names(keys: Sequence[str]) -> list[str]:
    """
    Return workloads as people call them: without the kind, and without a namespace that all share.

    >>> short_names(["shop/Deployment/web", "shop/StatefulSet/db"])
    ['web', 'db']
    >>> short_names(["shop/Deployment/web", "travel/Deployment/web"])
    ['shop/web', 'travel/web']
    """
    parts = [key.split("/", 2) for key in keys]
    shared = len({part[0] for part in parts}) == 1
    names = [part[-1] if shared else f"{part[0]}/{part[-1]}" for part in parts]
    return names if len(set(names)) == len(names) else list(keys)


def clock_text(moment: Moment) -> str:
    """Return the simulated weekday and time of day, UTC."""
    seconds = moment.time % DAY
    weekday = _WEEKDAYS[int(moment.time // DAY) % len(_WEEKDAYS)]
    return f"{weekday} {int(seconds // HOUR):02d}:{int(seconds % HOUR // 60):02d}"


def action_text(action: AnyAction) -> str:
    """Return an action in one line, with its first reason."""
    from autoscaler.model.plan import SetGroupSize, SetReplicas

    names = ("workload", "group", "node", "pod", "name")
    subject = next((str(getattr(action, name)) for name in names if getattr(action, name, "")), "")
    change = ""
    if isinstance(action, SetReplicas):
        change = f" {action.expected} → {action.replicas}"
    elif isinstance(action, SetGroupSize):
        change = f" {action.expected} → {action.size}"
    reason = f"   {action.reasons[0].message}" if action.reasons else ""
    return f"{type(action).__name__} {subject}{change}{reason}"
