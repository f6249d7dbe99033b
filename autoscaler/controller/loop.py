"""
The loop that drives everything: observe, decide, actuate, and now and then learn anew.

The same cycle runs live, in dry-run and in the simulated cluster; only the
adapters and the clock differ.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from autoscaler.controller.actuate import MakeActuator, record_only
from autoscaler.controller.observe import Learned, SignalsOf, Sources, observe, observe_objects
from autoscaler.errors import TransientError
from autoscaler.interfaces import Clock, MetricsSource, Outcome
from autoscaler.model.plan import Decision
from autoscaler.model.policy import Policies
from autoscaler.model.snapshot import ClusterSnapshot, Prices, WorkloadModel
from autoscaler.model.state import DecisionState

Decide = Callable[[ClusterSnapshot, Policies, DecisionState], Decision]
Refit = Callable[..., Awaitable[tuple[tuple[WorkloadModel, ...], Prices]]]
"""`await refit(snapshot, policies, metrics, at=...)`: what the history teaches."""
Seed = Callable[..., Awaitable[DecisionState]]
"""`await seed(snapshot, policies, metrics, state, at=...)`: *state*, warmed up with the history."""

REFIT_SECONDS = 6 * 3600.0


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a cycle needs from outside; without `actuator` nothing is ever changed."""

    clock: Clock
    sources: Sources
    decide: Decide
    signals_of: SignalsOf
    refit: Refit | None = None
    seed: Seed | None = None
    actuator: MakeActuator = record_only


class Cycle(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of the loop: what was seen, decided and done, and what could not be read."""

    snapshot: ClusterSnapshot
    decision: Decision
    outcomes: Sequence[Outcome]
    problems: tuple[str, ...] = ()


async def run_cycle(ports: Ports, policies: Policies, state: DecisionState, *, learned: Learned) -> Cycle:
    """Observe, decide and act once, at one `now`."""
    at = ports.clock.now()
    seen = await observe(ports.sources, policies, at=at, learned=learned, signals_of=ports.signals_of)
    decision = ports.decide(seen.snapshot, policies, state)
    outcomes = await ports.actuator(seen.snapshot).apply(decision.plan)
    return Cycle(snapshot=seen.snapshot, decision=decision, outcomes=outcomes, problems=seen.problems)


async def learn(ports: Ports, policies: Policies, *, before: Learned) -> Learned:
    """
    Fit models to the history and return them; what cannot be learned now stays as it was *before*.

    Models are advice: without them the loop is dearer and slower, not unsafe.
    """
    if ports.refit is None:
        return before
    at = ports.clock.now()
    metrics: MetricsSource = ports.sources.metrics
    try:
        seen = await observe_objects(ports.sources, at=at, learned=before)
        models, prices = await ports.refit(seen.snapshot, policies, metrics, at=at)
    except (TransientError, TimeoutError):
        return before
    return Learned(models=models, prices=prices)


async def warm_up(ports: Ports, policies: Policies, state: DecisionState) -> DecisionState:
    """
    Return *state* with what the history teaches recommenders that remember nothing yet.

    Raises:
        TransientError: cluster or metrics do not answer; they may later.
        TimeoutError: likewise.
    """
    if ports.seed is None:
        return state
    at = ports.clock.now()
    seen = await observe_objects(ports.sources, at=at, learned=Learned())
    return await ports.seed(seen.snapshot, policies, ports.sources.metrics, state, at=at)


class Loop:
    """
    A loop's own memory between cycles.

    `turn` runs one cycle, learning first when `refit_seconds` have passed
    since it last did; the caller decides when to turn. The first time it warms
    its state up, too; where that fails it goes on cold.
    """

    def __init__(
        self,
        ports: Ports,
        policies: Policies,
        *,
        state: DecisionState | None = None,
        refit_seconds: float = REFIT_SECONDS,
    ) -> None:
        self.state = state or DecisionState()
        self.learned = Learned()
        self.policies = policies
        self._ports = ports
        self._refit_seconds = refit_seconds
        self._learned_at = -refit_seconds
        self._warm = False

    async def turn(self) -> Cycle:
        """Run one cycle and keep its state for the next."""
        now = self._ports.clock.now()
        if now - self._learned_at >= self._refit_seconds:
            if not self._warm:
                self.state = await self._warmed_up()
                self._warm = True
            self.learned = await learn(self._ports, self.policies, before=self.learned)
            self._learned_at = now
        cycle = await run_cycle(self._ports, self.policies, self.state, learned=self.learned)
        self.state = cycle.decision.state
        return cycle

    async def _warmed_up(self) -> DecisionState:
        try:
            return await warm_up(self._ports, self.policies, self.state)
        except (TransientError, TimeoutError):
            return self.state
