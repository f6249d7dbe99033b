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
from autoscaler.recommend.joint_view import JointMemory, JointParams

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


def outlook(view: WorkloadView, params: JointParams, memory: JointMemory, work: float | None) -> Outlook:
    """Return what to expect, from the work seen lately and from the season where it is trusted."""
    since = view.now - params.reactive_seconds - view.period
    reactive = max([cores for at, cores in memory.work if at >= since] + [work or 0.0])
    season, usual = view.model.season if view.model else _NO_SEASON, 0.0
    if season.trusted and season.peak and memory.work and view.spec.policy.forecast is not Switch.OFF:
        recent = [cores for at, cores in memory.work if at >= view.now - params.level_seconds]
        if recent:
            usual = forecast.level(season, sum(recent) / len(recent), now=view.now, span=params.level_seconds)
    return Outlook(
        now=view.now,
        known=work is not None,
        reactive=reactive,
        usual=usual,
        season=season,
        margin=memory.margin,
    )


def remember_work(now: float, params: JointParams, memory: JointMemory, work: float | None) -> JointMemory:
    if work is None or not math.isfinite(work):
        return memory
    kept = memory.work
    if kept and now - kept[-1][0] < 60 and int(now // 60) == int(kept[-1][0] // 60):
        kept = (*kept[:-1], (kept[-1][0], max(kept[-1][1], work)))
    else:
        since = now - params.level_seconds
        kept = (*(kept[1:] if kept and kept[0][0] < since else kept), (now, work))
    return msgspec.structs.replace(memory, work=kept)


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
