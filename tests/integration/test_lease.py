"""The election on a real API server: a leader that is killed, and a server that stands still."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

from autoscaler.clock import SystemClock
from autoscaler.kube.client import ApiServer
from autoscaler.kube.lease import Lease
from autoscaler.kube.scale import LEASES
from tests.cluster.cluster import Cluster
from tests.cluster.waiting import eventually

CLOCK = SystemClock()
DURATION, RENEW, RETRY = 3.0, 2.0, 0.5
LEADER = f"""
import asyncio, sys
from autoscaler.clock import SystemClock
from autoscaler.kube.client import ApiServer
from autoscaler.kube.lease import Lease

async def main(kubeconfig, namespace):
    api = await ApiServer.connect(kubeconfig=kubeconfig)
    lease = Lease(api, SystemClock(), name="leader", namespace=namespace, identity="child",
                  duration_seconds={DURATION}, renew_seconds={RENEW}, retry_seconds={RETRY})
    async with asyncio.TaskGroup() as group:
        group.create_task(lease.run())
        await lease.wait_leader()
        print(lease.holder, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def lease_of(api: ApiServer, namespace: str, *, identity: str) -> Lease:
    return Lease(
        api,
        CLOCK,
        name="leader",
        namespace=namespace,
        identity=identity,
        duration_seconds=DURATION,
        renew_seconds=RENEW,
        retry_seconds=RETRY,
    )


@contextlib.asynccontextmanager
async def running(*leases: Lease) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(lease.run()) for lease in leases]
        yield
        for task in tasks:
            task.cancel()


def says(lease: Lease, *, leads: bool) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return lease.may_act() is leads

    return look


async def in_order_of_lead(*leases: Lease) -> list[Lease]:
    """Wait until one leads, and return that first."""

    async def look() -> bool:
        return any(lease.may_act() for lease in leases)

    await eventually(look, what="one leads")
    return sorted(leases, key=Lease.may_act, reverse=True)


async def test_a_leader_that_is_killed_is_followed_after_the_lease_s_duration(cluster: Cluster, namespace: str) -> None:
    arguments = (sys.executable, "-c", LEADER, str(cluster.kubeconfig), namespace)
    child = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    async with asyncio.timeout(30):
        holder = (await child.stdout.readline()).decode().strip()
    lease = lease_of(cluster.admin, namespace, identity="test")
    async with running(lease):

        async def has_seen() -> bool:
            return lease.leader == holder

        await eventually(has_seen, what="the candidate has seen the leader")
        assert not lease.may_act()
        child.kill()
        await child.wait()
        killed = CLOCK.monotonic()
        await eventually(says(lease, leads=True), what="the candidate takes over", every=0.01)
        # The last renewal was at most a retry (and a call) before the kill.
        assert DURATION - 2 * RETRY < CLOCK.monotonic() - killed < DURATION + 3 * RETRY
    await lease.release()
    spec = json.loads(await cluster.admin.get(LEASES.to("leader", namespace=namespace)))["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("", 1, 1)


async def test_one_that_ends_in_order_is_followed_at_once(cluster: Cluster, namespace: str) -> None:
    both = [lease_of(cluster.admin, namespace, identity=name) for name in ("one", "two")]
    async with running(*both):
        first, second = await in_order_of_lead(*both)
        assert not second.may_act()
        began = CLOCK.monotonic()
        await first.release()
        await eventually(says(second, leads=True), what="the second leads", every=0.01)
        assert CLOCK.monotonic() - began < DURATION / 2


async def test_a_leader_stops_in_time_when_the_server_stands_still_and_goes_on_after(
    cluster: Cluster, namespace: str
) -> None:
    both = [lease_of(cluster.admin, namespace, identity=name) for name in ("one", "two")]
    async with running(*both):
        first, second = await in_order_of_lead(*both)
        cluster.pause("kube-apiserver")
        try:
            paused = CLOCK.monotonic()
            await eventually(says(first, leads=False), what="the leader stops", every=0.01)
            assert CLOCK.monotonic() - paused < RENEW + 0.2
            assert not second.may_act()
        finally:
            cluster.resume("kube-apiserver")
        leader, other = await in_order_of_lead(first, second)
        assert not other.may_act()
        assert leader.problem == ""
