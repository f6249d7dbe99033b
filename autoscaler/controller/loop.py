"""
The loop that drives everything: observe, decide, actuate, and now and then learn anew.

The same cycle runs live, in dry-run and in the simulated cluster; only the
adapters and the clock differ.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from autoscaler.controller.actuate import MakeActuator, record_only
from autoscaler.controller.observe import (
    NO_ANSWER,
    Learned,
    Observation,
    Read,
    SignalsOf,
    Sources,
    observe_objects,
    with_readings,
)
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
    """
    Everything a cycle needs from outside; without `actuator` nothing is ever changed.

    `decide_in_thread` keeps the event loop free while a decision is made.
    """

    clock: Clock
    sources: Sources
    decide: Decide
    signals_of: SignalsOf
    refit: Refit | None = None
    seed: Seed | None = None
    actuator: MakeActuator = record_only
    decide_in_thread: bool = False


class Cycle(msgspec.Struct, frozen=True, kw_only=True):
    """
    One turn of the loop: what was seen, known before, decided and done, and what could not be read.

    `seconds` is how long each phase took: `cluster` (with the node groups),
    `metrics`, `decide`, `act`.
    """

    snapshot: ClusterSnapshot
    policies: Policies
    before: DecisionState
    decision: Decision
    outcomes: Sequence[Outcome]
    problems: tuple[str, ...] = ()
    seconds: tuple[tuple[str, float], ...] = ()


async def run_cycle(
    ports: Ports, policies: Policies, state: DecisionState, *, learned: Learned, known: Read | None = None
) -> Cycle:
    """Observe, decide and act once, at one `now`; what is *known* already takes the place of new readings."""
    watch = _Stopwatch(ports.clock)
    seen = await observe_objects(ports.sources, at=ports.clock.now(), learned=learned)
    watch.lap("cluster")
    seen = await with_readings(seen, ports.sources, policies, signals_of=ports.signals_of, known=known)
    watch.lap("metrics", more=known.seconds if known is not None else 0.0)
    if ports.decide_in_thread:
        decision = await asyncio.to_thread(ports.decide, seen.snapshot, policies, state)
    else:
        decision = ports.decide(seen.snapshot, policies, state)
    watch.lap("decide")
    outcomes = await ports.actuator(seen.snapshot).apply(decision.plan)
    watch.lap("act")
    return Cycle(
        snapshot=seen.snapshot,
        policies=policies,
        before=state,
        decision=decision,
        outcomes=outcomes,
        problems=seen.problems,
        seconds=tuple(watch.laps),
    )


async def read_metrics(ports: Ports, policies: Policies) -> Read:
    """Return what a cycle now would read of metrics."""
    watch, sources, at = _Stopwatch(ports.clock), ports.sources, ports.clock.now()
    async with asyncio.timeout(sources.timeout_seconds):
        snapshot = await sources.cluster.observe(at)
    seen = await with_readings(Observation(snapshot=snapshot), sources, policies, signals_of=ports.signals_of)
    watch.lap("metrics")
    return Read(readings=seen.snapshot.readings, problems=seen.problems, seconds=watch.laps[0][1])


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
    except NO_ANSWER:
        return before
    return Learned(models=models, prices=prices)


async def warm_up(ports: Ports, policies: Policies, state: DecisionState) -> DecisionState:
    """Return *state* with what the history teaches recommenders that remember nothing yet; else as it is."""
    if ports.seed is None:
        return state
    at = ports.clock.now()
    try:
        seen = await observe_objects(ports.sources, at=at, learned=Learned())
        return await ports.seed(seen.snapshot, policies, ports.sources.metrics, state, at=at)
    except NO_ANSWER:
        return state


class Loop:
    """
    A loop's own memory between cycles.

    `turn` runs one cycle, learning first when `refit_seconds` have passed
    since it last did; the caller decides when to turn. The first time it warms
    its state up, too; where that fails it goes on cold. `cycle` only runs one.
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
        """Learn if it is time to, run one cycle and keep its state for the next."""
        now = self._ports.clock.now()
        if now - self._learned_at >= self._refit_seconds:
            if not self._warm:
                await self.warm_up()
                self._warm = True
            await self.learn()
            self._learned_at = now
        return await self.cycle()

    async def read(self) -> Read:
        """Read what the next cycle is to know of metrics; cycles may run meanwhile."""
        return await read_metrics(self._ports, self.policies)

    async def cycle(self, *, known: Read | None = None) -> Cycle:
        """Run one cycle, with what is *known* already if given, and keep its state for the next."""
        cycle = await run_cycle(self._ports, self.policies, self.state, learned=self.learned, known=known)
        self.state = cycle.decision.state
        return cycle

    async def learn(self) -> bool:
        """Learn anew from the history; tell whether there was an answer."""
        before = self.learned
        self.learned = await learn(self._ports, self.policies, before=before)
        return self.learned is not before

    async def warm_up(self) -> None:
        """Give recommenders that remember nothing yet what the history teaches."""
        self.state = await warm_up(self._ports, self.policies, self.state)


class _Stopwatch:
    def __init__(self, clock: Clock) -> None:
        self.laps: list[tuple[str, float]] = []
        self._clock = clock
        self._last = clock.monotonic()

    def lap(self, name: str, *, more: float = 0.0) -> None:
        now = self._clock.monotonic()
        self.laps.append((name, now - self._last + more))
        self._last = now
