"""One look at a live cluster, for commands that decide nothing or only dry: nothing is ever written."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import msgspec

from autoscaler.clock import SystemClock
from autoscaler.controller.in_force import PoliciesInForce
from autoscaler.controller.loop import Ports, learn, warm_up
from autoscaler.controller.observe import Learned, Sources, observe_objects, with_readings
from autoscaler.controller.parts import cloud_provider, metrics_source
from autoscaler.forecasting.refit import refit
from autoscaler.forecasting.seed import seed_state
from autoscaler.interfaces import Clock
from autoscaler.kube.client import ApiServer
from autoscaler.kube.store import ClusterStore
from autoscaler.model.policy import Policies
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.state import DecisionState
from autoscaler.planning import decide as planning
from autoscaler.plugins import Installed
from autoscaler.providers.catalog import with_groups
from autoscaler.settings import MetricsFrom, Settings

READY_SECONDS = 120.0


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """All that `decide` needs, as it is now; `problems` is what could not be read."""

    snapshot: ClusterSnapshot
    policies: Policies
    state: DecisionState
    problems: tuple[str, ...] = ()


async def look_once(settings: Settings, *, clock: Clock | None = None) -> Look:
    """
    List the cluster, read its metrics and history once, and return it all.

    Without a provider there is a group for each kind of node in the cluster,
    at list prices. Without a Prometheus use is read from the metrics API.

    Raises:
        InputError: a setting or a policy file is wrong.
        AccessError: there is no way to log in, or a permission is missing.
        TransientError: the cluster could not be read in two minutes.
    """
    clock = clock or SystemClock()
    if not settings.prometheus_url:
        settings = msgspec.structs.replace(settings, metrics_source=MetricsFrom.METRICS_API)
    async with AsyncExitStack() as stack:
        api = await ApiServer.connect(kubeconfig=settings.kubeconfig, context=settings.context)
        stack.push_async_callback(api.aclose)
        store = ClusterStore(api, clock, period=settings.period.seconds, name=settings.cluster_name)
        source = metrics_source(settings, api, clock, pods=store.pods)
        stack.push_async_callback(source.aclose)
        policies = PoliciesInForce(store.documents, files=settings.policies)
        provider = cloud_provider(settings, api, clock, groups=policies.node_groups)
        if provider is not None:
            stack.push_async_callback(provider.aclose)
        engines = Installed()
        ports = Ports(
            clock=clock,
            sources=Sources(cluster=store, metrics=source, provider=provider),
            decide=partial(planning.decide, engines=engines),
            signals_of=partial(planning.signals_of, engines=engines),
            refit=refit,
            seed=partial(seed_state, engines=engines),
        )
        following = asyncio.create_task(store.run())
        try:
            await store.wait_ready(READY_SECONDS)
            return await _look(ports, policies(), grouped=provider is None)
        finally:
            following.cancel()
            await asyncio.wait({following})


async def _look(ports: Ports, policies: Policies, *, grouped: bool) -> Look:
    state = await warm_up(ports, policies, DecisionState())
    learned = await learn(ports, policies, before=Learned())
    seen = await observe_objects(ports.sources, at=ports.clock.now(), learned=learned)
    seen = await with_readings(seen, ports.sources, policies, signals_of=ports.signals_of)
    snapshot = with_groups(seen.snapshot) if grouped else seen.snapshot
    return Look(snapshot=snapshot, policies=policies, state=state, problems=seen.problems)
