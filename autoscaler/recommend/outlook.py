"""
The demand to come: work seen lately, what the season has it become, and how wrong that may be.

Source: algorithms, section 3; algorithms-2, section 4.
"""

from __future__ import annotations

import math

import msgspec

from autoscaler.interfaces import WorkloadView
from autoscaler.model.policy import Switch
from autoscaler.model.snapshot import SeasonalModel
from autoscaler.recommend import forecast

Work = tuple[tuple[float, float], ...]
"""(epoch seconds, cores of work) a minute, oldest first."""
_NO_SEASON = SeasonalModel()


class Outlook(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """
    What is known of the demand to come: `reactive` cores of work were just
    seen, `usual` is how today's load compares to `season` (0: no forecast).
    """

    now: float
    known: bool
    reactive: float
    usual: float
    season: SeasonalModel
    margin: float

    def expected(self, horizon: float) -> float:
        """Return the cores of work that the season has within *horizon* seconds; 0 without a forecast."""
        if self.usual <= 0:
            return 0.0
        peak = self.usual * forecast.season_peak(self.season, start=self.now, end=self.now + horizon)
        return min(peak, 1.5 * max(self.season.history_max, self.reactive))

    def demand(self, horizon: float) -> float | None:
        """Return the cores of work to be ready for within *horizon* seconds; None: nothing is known."""
        expected = self.expected(horizon)
        if not self.known and expected <= 0:
            return None
        return max(self.reactive, expected) * math.exp(self.margin)


def outlook(
    view: WorkloadView,
    history: Work,
    work: float | None,
    *,
    level_seconds: float,
    reactive_seconds: float = 60.0,
    margin: float = 0.0,
) -> Outlook:
    """
    Return what to expect, from the work seen lately and from the season where it is trusted.

    Args:
        view: the workload.
        history: what `remember_work` keeps.
        work: cores of work asked for now, None where nothing is known.
        level_seconds: how much of the history tells today's level.
        reactive_seconds: how much of it counts as now, a period more.
        margin: log factor on all demand.
    """
    since = view.now - reactive_seconds - view.period
    reactive = max([cores for at, cores in history if at >= since] + [work or 0.0])
    season, usual = view.model.season if view.model else _NO_SEASON, 0.0
    if season.trusted and season.peak and view.spec.policy.forecast is not Switch.OFF:
        recent = [cores for at, cores in history if at >= view.now - level_seconds]
        if recent:
            usual = forecast.level(season, sum(recent) / len(recent), now=view.now, span=level_seconds)
    return Outlook(now=view.now, known=work is not None, reactive=reactive, usual=usual, season=season, margin=margin)


def remember_work(history: Work, work: float | None, *, now: float, keep_seconds: float) -> Work:
    """Return *history* with the work of now, the largest of each minute, and without what is older."""
    if work is None or not math.isfinite(work):
        return history
    if history and now - history[-1][0] < 60 and int(now // 60) == int(history[-1][0] // 60):
        at, most = history[-1]
        return (*history[:-1], (at, max(most, work)))
    is_old = bool(history) and history[0][0] < now - keep_seconds
    return (*(history[1:] if is_old else history), (now, work))


def node_factor(view: WorkloadView) -> float:
    """
    Return by how much (at least 1) demand may exceed its forecast before a new node is ready.

    The quantile is that of the policy, but no more than long boots need
    (algorithms-2, section 4: 1 - 0.2 * 90 / boot seconds, within 0.8-0.97).
    """
    if view.model is None or view.headroom <= 0:
        return 1.0
    boot = max(view.node_seconds - view.reaction_seconds, 1.0)
    share = min(view.headroom, max(0.8, min(0.97, 1 - 0.2 * 90 / boot)))
    return max(1.0, math.exp(forecast.error_quantile(view.model.season, horizon=view.node_seconds, share=share)))
