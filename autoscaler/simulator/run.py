"""Runs a spec from end to end: the world moves, and the controller's own loop decides in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from autoscaler.clock import ManualClock
from autoscaler.controller.actuate import FAILED, ApplyActuator, MakeActuator, record_only
from autoscaler.controller.loop import REFIT_SECONDS, Cycle, Decide, Loop, Ports, Refit, Seed
from autoscaler.controller.observe import SignalsOf, Sources
from autoscaler.model.plan import Decision
from autoscaler.model.policy import Policies
from autoscaler.providers.memory import MemoryProvider
from autoscaler.simulator.cluster import SimCluster
from autoscaler.simulator.metrics import SimMetrics
from autoscaler.simulator.results import Moment, Recorder, RunResult
from autoscaler.simulator.serving import ServiceStep
from autoscaler.simulator.spec import WorldSpec
from autoscaler.simulator.world import World
from autoscaler.simulator.writing import SimWriter

Observer = Callable[[int, Moment], None]


def simulate(
    spec: WorldSpec,
    policies: Policies,
    *,
    observer: Observer | None = None,
    decide: Decide | None = None,
    signals_of: SignalsOf | None = None,
    refit: Refit | None = None,
    refit_seconds: float = REFIT_SECONDS,
    apply: bool = True,
) -> RunResult:
    """
    Play a spec under policies and return what came of it.

    Args:
        spec: the cluster; equal specs and policies give equal results, `cpu_seconds` apart.
        policies: documents in force throughout.
        observer: called with (step, moment) after every step, warm-up included.
        decide: what decides; this project's own if None, with its signals, refit and seed.
        signals_of: the signals that *decide* reads; none if None and *decide* is given.
        refit: what learns from history; nothing is learned if None and *decide* is given.
        refit_seconds: how often it does.
        apply: False records decisions without carrying them out.

    Raises:
        ValueError: the spec cannot be run.
    """
    decide, signals_of, refit, seed = _brain(decide, signals_of, refit)
    world = World(spec)
    clock = ManualClock(world.now)
    provider = MemoryProvider(world.cloud)
    sources = Sources(cluster=SimCluster(world), metrics=SimMetrics(world), provider=provider, timeout_seconds=None)
    ports = Ports(
        clock=clock,
        sources=sources,
        decide=decide,
        signals_of=signals_of,
        refit=refit,
        seed=seed,
        actuator=_applier(world, provider) if apply else record_only,
    )
    loop = Loop(ports, policies, refit_seconds=refit_seconds)
    return asyncio.run(_play(world, clock, loop, observer=observer))


async def _play(world: World, clock: ManualClock, loop: Loop, *, observer: Observer | None) -> RunResult:
    started = time.process_time()
    recorder = Recorder(world.spec)
    every = round(world.spec.period_seconds / world.spec.step_seconds)
    first = world.index
    while not world.is_over:
        counted = world.counted
        if counted and not recorder.steps:
            recorder.begin(world)
        result = world.step()
        clock.advance(world.now - clock.now())
        if counted:
            recorder.step(world, result)
        cycle = await loop.turn() if (world.index - first) % every == 0 else None
        if cycle is not None and counted:
            recorder.decision(cycle.decision, failed=_failures(cycle))
        if observer is not None:
            moment = _moment(world, recorder, result, cycle.decision if cycle else None)
            observer(moment.step, moment)
    return recorder.result(world, cpu_seconds=time.process_time() - started)


def _brain(
    decide: Decide | None, signals_of: SignalsOf | None, refit: Refit | None
) -> tuple[Decide, SignalsOf, Refit | None, Seed | None]:
    if decide is not None:
        return decide, signals_of or (lambda snapshot, policies: ()), refit, None
    from autoscaler.forecasting.refit import refit as refit_forecasts
    from autoscaler.forecasting.seed import seed_state
    from autoscaler.planning import decide as planning
    from autoscaler.plugins import Installed

    engines = Installed()
    return (
        partial(planning.decide, engines=engines),
        signals_of or partial(planning.signals_of, engines=engines),
        refit or refit_forecasts,
        partial(seed_state, engines=engines),
    )


def _applier(world: World, provider: MemoryProvider) -> MakeActuator:
    writer = SimWriter(world)
    return lambda snapshot: ApplyActuator(writer, provider, nodes=snapshot.nodes)


def _failures(cycle: Cycle) -> int:
    return sum(outcome.result == FAILED for outcome in cycle.outcomes)


def _moment(world: World, recorder: Recorder, result: ServiceStep, decision: Decision | None) -> Moment:
    spec = world.spec
    return Moment(
        step=world.index - 1 - spec.history_steps,
        steps=spec.length_steps,
        time=world.now,
        services=tuple(fleet.key for fleet in world.fleets),
        load=result.load,
        replicas=result.pods,
        ready=result.ready,
        slow=result.slow,
        latency=result.latency,
        nodes_by_type=dict(world.nodes_by_type()),
        usd_per_hour=world.cloud.usd_per_hour,
        usd=world.cloud.usd,
        slo_violation_share=recorder.slo_violation_share,
        pending_pods=len(world.waiting_since),
        decision=decision,
    )
