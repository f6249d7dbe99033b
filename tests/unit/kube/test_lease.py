"""The election's rules, in virtual time; `tests/property/test_lease.py` has the invariants."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from autoscaler.clock import ManualClock
from autoscaler.errors import AccessError
from autoscaler.kube.lease import Lease, holder_of
from tests.unit.kube.lease_world import LOST, Candidate, LeaseServer, Process, VirtualTime

NOON = 1_780_000_000.0


class World:
    """A server, and candidates that see it at once."""

    def __init__(self) -> None:
        self.time, self.server = VirtualTime(), LeaseServer()
        self.candidates: list[Candidate] = []

    def candidate(self, name: str = "a", **options: Any) -> Candidate:
        self.candidates.append(Candidate(self.server, self.time, name=name, **options))
        return self.candidates[-1]

    async def until_leads(self, candidate: Candidate) -> float:
        """Return how many seconds it takes *candidate* to lead."""
        began = self.time.now
        while not candidate.leads:
            await self.time.run(self.time.now + 0.1)
            assert self.time.now < began + 60, "it never leads"
        return self.time.now - began


@pytest.fixture
async def world() -> Any:
    world = World()
    yield world
    for each in world.candidates:
        await each.kill()


async def test_the_first_leads_and_the_second_waits(world: World) -> None:
    first = world.candidate("a")
    await world.time.run(1.0)
    second = world.candidate("b")
    await world.time.run(60.0)
    assert (first.leads, second.leads) == (True, False)
    assert second.lease.leader == first.lease.holder
    assert world.server.spec["leaseTransitions"] == 0


async def test_a_dead_leader_is_followed_after_the_duration(world: World) -> None:
    first = world.candidate("a")
    await world.time.run(1.0)
    second = world.candidate("b")
    await world.time.run(30.0)
    await first.kill()
    assert 12.0 < await world.until_leads(second) < 18.0
    assert world.server.spec["leaseTransitions"] == 1


async def test_a_leader_that_ends_in_order_hands_over_at_once(world: World) -> None:
    first, second = world.candidate("a"), world.candidate("b")
    await world.time.run(30.0)
    leader, other = (first, second) if first.leads else (second, first)
    ending = asyncio.create_task(leader.stop())
    await world.time.run(30.5)
    await ending
    assert not leader.lease.may_act()
    assert world.server.spec["holderIdentity"] == ""
    assert world.server.spec["leaseDurationSeconds"] == 1
    assert await world.until_leads(other) < 3.0


async def test_ten_seconds_after_a_renewal_began_the_holder_stops(world: World) -> None:
    leader = world.candidate("a", delays=((0.01, 0.01), (0.01, 3.0), (LOST, LOST)))
    # A look; then a write that is answered after 3 s; after that nothing arrives.
    began = 0.02
    led = []
    for at in (began + 5.0, began + 9.9, began + 10.1):
        await world.time.run(at)
        led.append(leader.leads)
    assert led == [True, True, False]
    assert leader.lease.problem == "no answer in time"


async def test_a_holder_that_was_cut_off_leads_again_without_a_transition(world: World) -> None:
    leader = world.candidate("a")
    await world.time.run(10.0)
    leader.line.use((LOST, LOST))
    await world.time.run(40.0)
    led = [leader.leads]
    leader.line.use((0.01, 0.01))
    await world.time.run(60.0)
    assert [*led, leader.leads] == [False, True]
    assert world.server.spec["leaseTransitions"] == 0


async def test_a_lease_that_is_deleted_stays_with_its_holder(world: World) -> None:
    first = world.candidate("a")
    await world.time.run(1.0)
    second = world.candidate("b")
    await world.time.run(20.0)
    world.server.lease = None
    await world.time.run(60.0)
    assert (first.leads, second.leads) == (True, False)
    assert world.server.spec["holderIdentity"] == first.lease.holder


async def test_of_two_with_the_same_name_one_leads(world: World) -> None:
    twins = [world.candidate("a"), world.candidate("a")]
    await world.time.run(30.0)
    assert sum(twin.leads for twin in twins) == 1


async def test_the_holder_s_promise_counts_not_the_candidate_s_setting(world: World) -> None:
    spec = {"holderIdentity": "somebody", "leaseDurationSeconds": 40, "leaseTransitions": 7}
    world.server.write("POST", {"spec": spec})
    assert 39.9 < await world.until_leads(world.candidate()) < 43.0
    assert world.server.spec["leaseTransitions"] == 8


async def test_what_others_put_on_the_lease_stays(world: World) -> None:
    world.candidate()
    await world.time.run(1.0)
    assert world.server.lease is not None
    world.server.lease["metadata"] |= {"labels": {"team": "a"}, "resourceVersion": "edited"}
    world.server.spec["strategy"] = "x"
    await world.time.run(10.0)
    assert (world.server.lease["metadata"]["labels"], world.server.spec["strategy"]) == ({"team": "a"}, "x")
    assert world.server.lease["metadata"]["resourceVersion"] != "edited"


async def test_times_are_written_in_utc_with_six_digits(world: World) -> None:
    world.candidate(offset=0.5)
    await world.time.run(30.0)
    written = [world.server.spec[name] for name in ("acquireTime", "renewTime")]
    assert all(re.fullmatch(r"2023-11-14T22:1\d:\d\d\.\d{6}Z", text) for text in written), written
    assert written[0] < written[1]


async def test_waiting_for_the_lead_ends_with_it(world: World) -> None:
    lease = world.candidate().lease
    waiting = asyncio.create_task(lease.wait_leader())
    await world.time.run(0.001)
    assert not waiting.done()
    await world.time.run(5.0)
    assert waiting.done()
    await waiting


class OneAnswer:
    """A server that always says the same."""

    def __init__(self, answer: bytes | Exception) -> None:
        self._answer = answer

    async def get(self, path: str, *, timeout: float) -> bytes:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    async def send(self, method: str, path: str, body: Any = None, *, timeout: float = 0.0) -> bytes:
        return await self.get(path, timeout=timeout)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(b"<html>", "no Lease", id="not-json"),
        pytest.param(json.dumps({"spec": {"leaseDurationSeconds": "x"}}).encode(), "no Lease", id="a-wrong-type"),
        pytest.param(AccessError("cannot get leases"), "cannot get leases", id="no-right"),
    ],
)
async def test_what_goes_wrong_is_said_and_nobody_leads(answer: bytes | Exception, said: str) -> None:
    time = VirtualTime()
    lease = Lease(OneAnswer(answer), Process(time), name="n", namespace="s", identity="a")
    task = asyncio.create_task(lease.run())
    await time.run(5.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert said in lease.problem
    assert not lease.may_act()


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param((10.0, 10.0, 2.0), id="no-gap-before-others-begin"),
        pytest.param((15.0, 4.0, 2.0), id="no-second-try"),
        pytest.param((15.0, 10.0, 0.0), id="no-pause"),
    ],
)
def test_times_that_are_not_safe_are_refused(seconds: tuple[float, float, float]) -> None:
    duration, renew, retry = seconds
    with pytest.raises(ValueError, match="duration > renew"):
        Lease(
            OneAnswer(b""),
            ManualClock(),
            name="n",
            namespace="s",
            identity="a",
            duration_seconds=duration,
            renew_seconds=renew,
            retry_seconds=retry,
        )


@pytest.mark.parametrize(
    ("holder", "seconds_ago", "expected"), [("a", 5.0, "a"), ("a", 29.0, "a"), ("a", 31.0, ""), ("", 1.0, "")]
)
def test_a_holder_that_is_long_gone_holds_nothing(holder: str, seconds_ago: float, expected: str) -> None:
    renewed = datetime.fromtimestamp(NOON, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed}
    assert holder_of(json.dumps({"spec": spec}).encode(), now=NOON + seconds_ago) == expected


def test_a_lease_that_tells_no_times_is_held() -> None:
    assert holder_of(b'{"spec": {"holderIdentity": "a"}}', now=NOON) == "a"
