"""Never two leaders, whatever the network and the machines do; and always one again, once they are well."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.kube.lease_world import LOST, Candidate, LeaseServer, VirtualTime

TROUBLE_SECONDS = 150.0
CALM_SECONDS = 45.0

delay = st.sampled_from([0.0, 0.005, 0.3, 1.9, 3.9, 4.1, 9.0, 16.0, LOST])
delays = st.lists(st.tuples(delay, delay), min_size=1, max_size=12)
stall = st.tuples(st.floats(0, TROUBLE_SECONDS), st.floats(0.1, 40.0)).map(lambda s: (s[0], s[0] + s[1]))
candidate = st.fixed_dictionaries(
    {
        "delays": delays,
        "offset": st.floats(0, 1e6),
        "rate": st.sampled_from([0.995, 1.0, 1.005]),
        "stalls": st.lists(stall, max_size=2),
    }
)
death = st.tuples(st.floats(1, TROUBLE_SECONDS), st.integers(0, 2), st.booleans())


@settings(max_examples=120)
@given(st.lists(candidate, min_size=2, max_size=3), st.lists(death, max_size=3))
def test_at_most_one_may_act_and_in_calm_one_does(
    machines: list[dict[str, Any]], deaths: list[tuple[float, int, bool]]
) -> None:
    asyncio.run(_elect(machines, sorted(deaths)))


async def _elect(machines: list[dict[str, Any]], deaths: list[tuple[float, int, bool]]) -> None:
    time, server = VirtualTime(), LeaseServer()
    everybody = [Candidate(server, time, name=f"c{number}", **machine) for number, machine in enumerate(machines)]
    everyone_ever = list(everybody)

    def check() -> None:
        leaders = [each.lease.holder for each in everyone_ever if each.leads]
        assert len(leaders) <= 1, (time.now, leaders, server.lease)

    for at, who, in_order in deaths:
        await time.run(at, check=check)
        number = who % len(everybody)
        dying = everybody[number]
        if in_order:
            dying.line.use((0.0, 0.0))
            stopping = asyncio.create_task(dying.stop())
            while not stopping.done():
                await time.run(time.now + 0.5, check=check)
        else:
            await dying.kill()
        # Its successor has its name, and may come up before the lease runs out.
        everybody[number] = Candidate(server, time, name=f"c{number}", **machines[number])
        everyone_ever.append(everybody[number])
    await time.run(max(time.now, TROUBLE_SECONDS + 40.0), check=check)
    for each in everybody:
        each.line.use((0.005, 0.005))
    await time.run(time.now + CALM_SECONDS, check=check)
    assert sum(each.leads for each in everybody) == 1
    for each in everybody:
        await each.kill()
