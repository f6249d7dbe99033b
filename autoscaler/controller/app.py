"""
The controller: turns of the loop when they are due, for as long as it leads, until it is told to stop.

Everything outside comes in as `Parts`, so that the same controller runs on a
real cluster, in a test on a simulated one, and in a program of yours.

A process that does not lead keeps its view of the cluster warm and decides
nothing: what it would remember, the leader knows better. When it comes to
lead it takes over what the leader saved, and decides at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from autoscaler.controller.checkpointing import Checkpoint, Keeper
from autoscaler.controller.gate import Gate
from autoscaler.controller.health import Health
from autoscaler.controller.loop import REFIT_SECONDS, Cycle, Loop, Ports
from autoscaler.controller.measure import measure_cycle
from autoscaler.controller.observe import Learned, Read
from autoscaler.controller.pace import Pace
from autoscaler.controller.triggers import Trigger, Triggers
from autoscaler.controller.waiting import ended, unless_done, unless_set
from autoscaler.errors import AutoscalerError, TransientError
from autoscaler.forecasting.refit import LEARNING_ENGINES
from autoscaler.interfaces import Outcome, Recommender
from autoscaler.model.policy import Policies
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.telemetry.logs import Log
from autoscaler.telemetry.metrics import Metrics

WARM_UP_SECONDS = 60.0
"""How long the first turn waits for history: without it sizes are judged by their first minutes."""
GRACE_SECONDS = 10.0
"""How long a turn may go on after a stop: actions not yet begun are held by then, one in hand is finished."""
READY_SECONDS = 300.0
SAY_SECONDS = 20.0
"""How often it is said what the start waits for."""
_LOOK_SECONDS = 15.0
"""How often it is asked whether it is time to learn."""
_MOST_UNTOLD = 10_000
log = Log(__name__)

Publish = Callable[[Cycle, Sequence[Outcome]], Awaitable[None]]
"""Tells the cluster's users what was decided in the newest turn, and done in it and those before: statuses, events."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a controller is made of. `ports` and `triggers` are all it needs to run.

    `policies` is asked anew for each turn. `gate` says whether it may act and
    is to be given to the actuator in `ports`, too. `engines` are those of
    `ports.decide`: a checkpoint holds their memories. Without `checkpoint`
    nothing outlives the process.
    """

    ports: Ports
    triggers: Triggers
    policies: Callable[[], Policies]
    gate: Gate
    period: float = 15.0
    engines: Mapping[str, Recommender] = msgspec.field(default_factory=lambda: BUILT_IN)
    checkpoint: Checkpoint | None = None
    identity: str = "podnode-autoscaler"
    publish: Publish | None = None
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    refit_seconds: float = REFIT_SECONDS


class Controller:
    """
    Runs turns until `stop` is called; make one for one run.

    `last` is the newest turn, None before the first. `health` answers probes.
    """

    def __init__(self, parts: Parts) -> None:
        self.last: Cycle | None = None
        self.metrics = parts.metrics
        # Asked when it is scraped: a turn may outlast the lead that it began under.
        self.metrics.leader.set_function(lambda: float(parts.gate.lead.may_act()))
        self.health = Health(parts.ports.clock, gate=parts.gate, period=parts.period)
        self._parts = parts
        self._clock = parts.ports.clock
        self._loop = Loop(parts.ports, parts.policies(), refit_seconds=parts.refit_seconds)
        self._keeper = Keeper(
            parts.checkpoint, self._clock, identity=parts.identity, engines=parts.engines, metrics=parts.metrics
        )
        self._stop = asyncio.Event()
        self._news = asyncio.Event()
        self._leading = asyncio.Event()
        self._pace = Pace(self._clock.monotonic(), longest=parts.refit_seconds)
        self._read: Read | None = None
        self._untold: list[Outcome] = []

    def stop(self) -> None:
        """Begin no action any more, finish the one in hand, save, and let `run` return."""
        self._parts.gate.close()
        self._stop.set()

    async def run(self) -> None:
        """
        Decide when it is time to, until `stop` is called.

        Raises:
            AccessError: a permission is missing without which nothing can be decided.
            TransientError: the cluster could not be read in five minutes.
        """
        await unless_set(self._stop, self._wait_ready())
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(work) for work in (self._keep_learning(), self._keep_publishing())]
            await self._lead_while_it_may()
            for task in beside:
                task.cancel()
        await self._keeper_saves(at_end=True)

    async def _wait_ready(self) -> None:
        until = self._clock.monotonic() + READY_SECONDS
        while True:
            try:
                await self._parts.gate.fresh.wait_ready(min(SAY_SECONDS, until - self._clock.monotonic()))
            except TransientError as error:
                if self._clock.monotonic() >= until:
                    raise
                log.warning("the cluster is not read yet", reason=str(error))
            else:
                return

    async def _lead_while_it_may(self) -> None:
        gate, led = self._parts.gate, False
        while not self._stop.is_set():
            if not gate.lead.may_act():
                self._leading.clear()
                self.health.stands_by()
                log.info("standing by: another process leads" if not led else "no longer leading, standing by")
                await unless_set(self._stop, gate.lead.wait_leader())
                if self._stop.is_set():
                    return
            await self._begin_to_lead(again=led)
            led = True
            await self._take_turns()

    async def _begin_to_lead(self, *, again: bool) -> None:
        self.health.begins()
        saved = await self._keeper.restore(unless_own=again)
        if saved is not None:
            self._loop.state = saved.state
            self._adopt_models(Learned(models=saved.models, prices=saved.prices))
        self._loop.policies = self._parts.policies()
        self._read = None
        log.info("leading", identity=self._parts.identity)
        try:
            async with asyncio.timeout(WARM_UP_SECONDS):
                await unless_set(self._stop, self._loop.warm_up())
        except (AutoscalerError, TimeoutError) as error:
            log.warning("history not read in time, starting without", reason=str(error) or "no answer in time")

    def _adopt_models(self, learned: Learned) -> None:
        """Use models that were learned before, and learn anew when they are too old."""
        self._loop.learned = learned
        if learned.models:
            age = self._clock.now() - max(model.fitted_at for model in learned.models)
            known = {model.workload for model in learned.models}
            self._pace.adopt(known, now=self._clock.monotonic(), age=age)

    async def _take_turns(self) -> None:
        """Decide whenever it is due, until told to stop or no longer leading."""
        while self._parts.gate.lead.may_act():
            due = await unless_set(self._stop, self._parts.triggers.next())
            if due is None:
                return
            await unless_set(self._stop, self._turn(due), grace=GRACE_SECONDS)

    async def _turn(self, trigger: Trigger) -> None:
        result = "failed"
        try:
            result = await self._try_turn(trigger)
        except (AutoscalerError, TimeoutError) as error:
            log.warning("turn failed, trying again", trigger=trigger, reason=str(error) or "no answer in time")
            self.health.came_round(whole=False)
        except Exception:  # a bug of ours: the probes tell if it stays
            log.exception("turn failed by a bug", trigger=trigger)
        self.metrics.turns.labels(trigger, result).inc()
        self.metrics.staleness.set(self._parts.gate.staleness())

    async def _try_turn(self, trigger: Trigger) -> str:
        triggers, stale = self._parts.triggers, self._parts.gate.why_stale()
        # Whatever becomes of the turn: what it was for is not waited for again.
        since = triggers.take() if trigger is Trigger.PENDING else None
        if stale:
            log.warning("turn held", trigger=trigger, reason=stale)
            self.health.came_round(whole=False)
            return "held"
        self._loop.policies = self._parts.policies()
        read = self._read
        if trigger is Trigger.PERIOD or read is None:
            read = await self._read_metrics()
        since = since if trigger is Trigger.PENDING else triggers.take()
        cycle = await self._loop.cycle(known=read)
        if since is not None:
            # The plan is acted on before `cycle` returns; that part is not the reaction's.
            acting = dict(cycle.seconds).get("act", 0.0)
            self.metrics.reaction_seconds.observe(self._clock.monotonic() - since - acting)
        self._remember(cycle)
        await self._keeper_saves()
        return "done"

    async def _read_metrics(self) -> Read:
        """
        Read; pods that come to fit nowhere meanwhile get turns of their own.

        Those take what was read last, whose samples have times of their own: a
        server of metrics that is slow, or down, holds up no machine.
        """
        reading = asyncio.create_task(self._loop.read())
        try:
            while self._read is not None and not reading.done():
                if await unless_done(reading, self._parts.triggers.pending()):
                    await self._turn(Trigger.PENDING)
            read = await reading
        finally:
            await ended(reading)
        self._read = msgspec.structs.replace(read, seconds=0.0)
        return read

    def _remember(self, cycle: Cycle) -> None:
        self.last = cycle
        learners = {one.workload for one in cycle.decision.recommendations if one.engine in LEARNING_ENGINES}
        self._pace.sees(learners, now=self._clock.monotonic())
        self.health.came_round(whole=True)
        self.metrics.last_turn.set(self._clock.now())
        measure_cycle(self.metrics, cycle)
        self._untold = [*self._untold, *cycle.outcomes][-_MOST_UNTOLD:]
        self._news.set()
        self._leading.set()
        _log_cycle(cycle)

    async def _keeper_saves(self, *, at_end: bool = False) -> None:
        state = self._loop.state
        if self._parts.gate.lead.may_act() and (self._keeper.is_due(state) or (at_end and self.last is not None)):
            await self._keeper.save(state, self._loop.learned)

    async def _keep_learning(self) -> None:
        """Fit models beside the turns, every `refit_seconds`; sooner after a failure and where workloads are new."""
        while self._parts.ports.refit is not None:
            await self._leading.wait()
            wait = self._pace.at - self._clock.monotonic()
            if wait > 0.0:
                await self._clock.sleep(min(wait, _LOOK_SECONDS))
                continue
            began = self._clock.monotonic()
            try:
                answered = await self._loop.learn()
            except Exception:  # models are advice: without new ones the old stay
                log.exception("learning failed by a bug")
                answered = False
            seconds = self._clock.monotonic() - began
            self._pace.learned(answered=answered, began=began, seconds=seconds)
            self.metrics.learned.labels("done" if answered else "failed").inc()
            self.metrics.learning_seconds.set(seconds)
            log.info("learned", models=len(self._loop.learned.models), answered=answered, seconds=round(seconds, 1))

    async def _keep_publishing(self) -> None:
        """Publish the newest turn; those that came while one was published are left out."""
        while True:
            await self._news.wait()
            self._news.clear()
            cycle = self.last
            if cycle is None or self._parts.publish is None or not self._parts.gate.lead.may_act():
                continue
            result, outcomes, self._untold = "failed", self._untold, []
            try:
                await self._parts.publish(cycle, outcomes)
                result = "done"
            except (AutoscalerError, TimeoutError) as error:
                log.warning("statuses and events not published", reason=str(error) or "no answer in time")
            except Exception:  # what is published is for people: the next turn tries again
                log.exception("publishing failed by a bug")
            self.metrics.published.labels(result).inc()


def _log_cycle(cycle: Cycle) -> None:
    """One line a cycle."""
    plan, results = cycle.decision.plan, [outcome.result for outcome in cycle.outcomes]
    log.info(
        "cycle",
        pods=len(cycle.snapshot.pods),
        nodes=len(cycle.snapshot.nodes),
        workloads=len(cycle.decision.recommendations),
        actions=len(plan.actions),
        failed=results.count("failed"),
        advised=len(plan.advised),
        held=len(cycle.decision.held),
        usd_per_hour=round(plan.usd_per_hour_now, 4),
        usd_per_hour_after=round(plan.usd_per_hour_after, 4),
        problems=list(cycle.problems),
        seconds={phase: round(seconds, 4) for phase, seconds in cycle.seconds},
    )
