"""
`autoscaler run`: the controller on a real cluster, with the adapters that the settings ask for.

Everything runs in one event loop: watches, the lease, turns, HTTP. Decisions
and learning run in threads, so that none of these waits for them.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import socket
import ssl
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from autoscaler import __version__
from autoscaler.clock import SystemClock
from autoscaler.controller.actuate import (
    ApplyActuator,
    MakeActuator,
    RecordActuator,
    Told,
    ValidateActuator,
    cluster_writer,
)
from autoscaler.controller.app import Controller, Parts
from autoscaler.controller.checkpointing import Checkpoint
from autoscaler.controller.gate import Alone, Gate, Leadership
from autoscaler.controller.in_force import PoliciesInForce
from autoscaler.controller.loop import Ports
from autoscaler.controller.measure import MeasuredProvider, watch_loop_lag
from autoscaler.controller.observe import Sources
from autoscaler.controller.off_loop import off_loop
from autoscaler.controller.parts import ListPriced, cloud_provider, metrics_source
from autoscaler.controller.publish import Publisher
from autoscaler.controller.server import debugging, probes, served
from autoscaler.controller.telling import ActionLog
from autoscaler.controller.triggers import Triggers
from autoscaler.controller.webhook import webhook
from autoscaler.controller.wishing import WishedTemplates, WishesAsked
from autoscaler.errors import InputError
from autoscaler.forecasting.refit import refit
from autoscaler.forecasting.seed import seed_state
from autoscaler.interfaces import Actuator, Clock, CloudProvider, ClusterReader, MetricsSource
from autoscaler.kube.client import ApiServer
from autoscaler.kube.leaders_calls import LeadersCalls
from autoscaler.kube.lease import Lease
from autoscaler.kube.store import ClusterStore
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.planning import decide as planning
from autoscaler.plugins import Installed
from autoscaler.settings import Actuate, Settings
from autoscaler.telemetry.logs import Log
from autoscaler.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from autoscaler.controller.actuate import Writer

STALE_SECONDS = 45.0
"""Least age at which the view of the cluster counts as stale: a kind that never changes is silent for up to 25 s."""
MEASURE_SECONDS = 5.0
TIDY_SECONDS = 300.0
_CERTIFICATE_SECONDS = 60.0
log = Log(__name__)

__all__ = ["Controller", "Parts", "run_controller"]


async def run_controller(settings: Settings, *, clock: Clock | None = None, install_signals: bool = True) -> None:
    """
    Run until SIGTERM or SIGINT; then finish the action in hand, save, give up the lease and return.

    Raises:
        InputError: a setting or a policy file is wrong.
        AccessError: a permission is missing without which nothing works.
        TransientError: the cluster could not be read in five minutes.
    """
    async with AsyncExitStack() as stack:
        live = await _assemble(settings, clock or SystemClock(), stack)
        if install_signals:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, live.controller.stop)
                stack.callback(loop.remove_signal_handler, number)
        log.info(
            "started", version=__version__, cluster=live.api.url, actuate=settings.actuate, provider=settings.provider
        )
        await _serve(settings, live, stack)
        await _run_together(live)
    log.info("stopped")


class _Live:
    """What was assembled."""

    def __init__(
        self, api: ApiServer, clock: Clock, *, store: ClusterStore, policies: PoliciesInForce, lease: Lease | None
    ) -> None:
        self.api = api
        self.clock = clock
        self.store = store
        self.policies = policies
        self.lease = lease
        self.lead: Leadership = lease or Alone()
        self.calls = LeadersCalls(api, self.lead.may_act, clock)
        self.metrics = Metrics()
        self.controller: Controller
        self.wishes: WishesAsked | None = None
        self.source: MetricsSource


async def _assemble(settings: Settings, clock: Clock, stack: AsyncExitStack) -> _Live:
    api = await ApiServer.connect(kubeconfig=settings.kubeconfig, context=settings.context)
    stack.push_async_callback(api.aclose)
    period = settings.period.seconds
    triggers = Triggers(clock, period=period)
    store = ClusterStore(
        api,
        clock,
        period=period,
        name=settings.cluster_name,
        on_unschedulable=triggers.poke,
        on_problem=_tell_problem,
    )
    identity = settings.identity or f"{socket.gethostname()}_{os.getpid()}"
    lease = _lease(settings, api, clock, identity=identity)
    policies = PoliciesInForce(store.documents, files=settings.policies)
    live = _Live(api, clock, store=store, policies=policies, lease=lease)
    provider = cloud_provider(settings, live.calls, clock, groups=policies.node_groups)
    if provider is not None:
        stack.push_async_callback(provider.aclose)
        provider = MeasuredProvider(provider, live.metrics, clock)
    source = metrics_source(settings, api, clock, pods=store.pods)
    stack.push_async_callback(source.aclose)
    live.source = source

    gate = Gate(clock, lead=live.lead, fresh=store, most_stale=max(STALE_SECONDS, 3 * period))
    cluster: ClusterReader = store if provider is not None else ListPriced(store)
    told: list[Told] = []
    if settings.webhook_port and settings.actuate is Actuate.APPLY:
        cluster = wished = WishedTemplates(cluster)
        told.append(wished.told)
        live.wishes = WishesAsked(api, clock, cluster=store, policies=policies, resources=store.resource_of)
    engines = Installed()
    ports = Ports(
        clock=clock,
        sources=Sources(
            cluster=cluster, metrics=source, provider=provider, sizes_at_admission=bool(settings.webhook_port)
        ),
        decide=partial(planning.decide, engines=engines),
        signals_of=partial(planning.signals_of, engines=engines),
        refit=off_loop(refit),
        seed=off_loop(partial(seed_state, engines=engines)),
        actuator=_actuator(settings, live, provider, gate=gate, told=ActionLog(clock, live.metrics, others=told)),
        decide_in_thread=True,
    )
    publisher = Publisher(
        live.calls,
        clock,
        documents=store.documents,
        policies=policies,
        instance=identity,
        buffers=store.buffer_rows if provider is not None and settings.actuate is Actuate.APPLY else tuple,
    )
    live.controller = Controller(
        Parts(
            ports=ports,
            triggers=triggers,
            policies=policies,
            gate=gate,
            period=period,
            engines=engines,
            checkpoint=_checkpoint(settings, live.calls),
            identity=identity,
            publish=publisher.publish,
            metrics=live.metrics,
        )
    )
    return live


def _lease(settings: Settings, api: ApiServer, clock: Clock, *, identity: str) -> Lease | None:
    if not settings.leader_elect:
        return None
    namespace = settings.lease_namespace or api.namespace
    return Lease(api, clock, name=settings.lease_name, namespace=namespace, identity=identity)


def _checkpoint(settings: Settings, calls: ApiServer) -> Checkpoint | None:
    form, _, rest = settings.checkpoint.partition(":")
    if form == "none":
        return None
    from autoscaler.kube.checkpoints import ConfigMapCheckpoint, FileCheckpoint

    if form == "file":
        return FileCheckpoint(Path(rest))
    if settings.actuate is not Actuate.APPLY:
        raise InputError("--checkpoint", "", settings.checkpoint, "none or file:PATH, unless --actuate apply")
    namespace = settings.lease_namespace or calls.namespace
    return ConfigMapCheckpoint(calls, name=rest or settings.lease_name, namespace=namespace)


def _actuator(
    settings: Settings, live: _Live, provider: CloudProvider | None, *, gate: Gate, told: Told
) -> MakeActuator:
    if settings.actuate is Actuate.RECORD:
        return lambda snapshot: RecordActuator(told=told)
    dry_run = settings.actuate is Actuate.VALIDATE
    writer: Writer = cluster_writer(
        live.calls, dry_run=dry_run, roll_out=live.wishes is None, resources=live.store.resource_of
    )
    if dry_run:
        return lambda snapshot: ValidateActuator(writer, why_not=gate.why_not, told=told)

    def applying(snapshot: ClusterSnapshot) -> Actuator:
        return ApplyActuator(writer, provider, nodes=snapshot.nodes, why_not=gate.why_not, told=told)

    return applying


async def _serve(settings: Settings, live: _Live, stack: AsyncExitStack) -> None:
    """Listen where the settings say; closed with *stack*."""
    controller = live.controller
    if settings.listen_port:
        await stack.enter_async_context(served(probes(controller), settings.listen_address, settings.listen_port))
    if settings.debug_port:
        await stack.enter_async_context(served(debugging(controller), settings.debug_address, settings.debug_port))
    if settings.webhook_port and live.wishes is None:
        log.warning("the webhook is not served: it gives sizes only with --actuate apply")
    if live.wishes is not None:
        tls = _certificate(settings)
        application = webhook(live.wishes, live.metrics)
        await stack.enter_async_context(served(application, settings.webhook_address, settings.webhook_port, tls=tls))
        renewal = asyncio.create_task(_renew(tls, settings, live.clock))
        stack.callback(renewal.cancel)


async def _run_together(live: _Live) -> None:
    """Run everything until the controller ends; an error of any part ends them all."""
    try:
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(live.store.run(), name="store"),
                group.create_task(watch_loop_lag(live.metrics, live.clock), name="lag"),
                group.create_task(_measure_store(live), name="store metrics"),
                group.create_task(_tidy(live), name="tidy"),
            ]
            if live.lease is not None:
                beside.append(group.create_task(live.lease.run(), name="lease"))
            await live.controller.run()
            await live.lead.release()
            for task in beside:
                task.cancel()
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _tidy(live: _Live) -> None:
    """
    Take what was listed at the start out of the garbage collector's way: it would walk all of it each time.

    And give back, now and then, what learning needed and no longer does: glibc keeps it otherwise.
    """
    while not live.store.is_ready:
        await live.clock.sleep(0.5)
    gc.collect()
    gc.freeze()
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while give_back is not None:
        give_back(0)
        await live.clock.sleep(TIDY_SECONDS)


async def _measure_store(live: _Live) -> None:
    """Keep the metrics that are not of a turn up to date."""
    seen, asked = 0, Counter[str]()
    while True:
        live.metrics.staleness.set(live.store.staleness(live.clock.monotonic()) if live.store.is_ready else 0.0)
        restarts = sum(max(0, count.lists - 1) for count in live.store.counts())
        live.metrics.restarts.inc(max(0, restarts - seen))
        live.metrics.policy_problems.set(len(live.policies.problems))
        seen = restarts
        outcomes: Counter[str] = Counter(getattr(live.source, "outcomes", ()))
        for outcome, count in (outcomes - asked).items():
            live.metrics.queries.labels(outcome).inc(count)
        asked = outcomes
        await live.clock.sleep(MEASURE_SECONDS)


def _certificate(settings: Settings) -> ssl.SSLContext:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load(tls, settings)
    return tls


def _load(tls: ssl.SSLContext, settings: Settings) -> None:
    try:
        tls.load_cert_chain(settings.webhook_cert_file, settings.webhook_key_file)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            "--webhook-cert-file", "", settings.webhook_cert_file, f"a certificate and its key, PEM ({error})"
        ) from error


async def _renew(tls: ssl.SSLContext, settings: Settings, clock: Clock) -> None:
    """Read the certificate anew, so that one that was renewed is used for new connections."""
    while True:
        await clock.sleep(_CERTIFICATE_SECONDS)
        try:
            _load(tls, settings)
        except InputError as error:
            log.warning("certificate not read anew, the old one stays", reason=str(error))


def _tell_problem(kind: str, problem: str) -> None:
    if problem:
        log.warning("cannot watch", kind=kind, reason=problem)
    else:
        log.info("watching again", kind=kind)
