"""Connections to AWS that break before or after each change: nothing is launched twice, nobody's machine is ended."""

from __future__ import annotations

import asyncio
import random

import pytest

from autoscaler.errors import AutoscalerError, ConflictError
from autoscaler.providers.aws.provider import SET_CAPACITY, TERMINATE, AwsProvider
from tests.aws.faulty import AFTER, BEFORE, cut_nothing
from tests.aws.fixtures import World, aws, aws_session, moto

__all__ = ["aws", "aws_session", "moto"]
CHANGES = {SET_CAPACITY, TERMINATE}
SEEDS, STEPS, MOST = 8, 4, 6
_CALM = 5
"""After so many tries of a step nothing breaks any more."""


class Operator:
    """Does what the controller does: looks, then asks for what is still missing, as often as it takes."""

    def __init__(self, world: World, provider: AwsProvider, *, group: str, seed: int) -> None:
        self._world, self._provider, self._group = world, provider, group
        self._random = random.Random(seed)
        self.chosen: set[str] = set()
        self.grown = 0

    async def step(self) -> None:
        """Bring the group to a size of chance while connections break."""
        wanted, tries = self._random.randint(0, MOST), 0
        self._world.aws.cut = lambda action: self._moment(action, calm=tries > _CALM)
        victims: list[str] = []
        begun: int | None = None
        while True:
            tries += 1
            (size,) = [g.target_size for g in await self._provider.list_node_groups() if g.name == self._group]
            if begun is None:
                begun = size
                self.grown += max(0, wanted - size)
                members = sorted(key for key, group in self._provider.members.items() if group == self._group)
                victims = self._random.sample(members, max(0, size - wanted))
                self.chosen.update(victims)
            if size == wanted:
                return
            try:
                if size < wanted:
                    await self._provider.set_target_size(self._group, wanted, expected=size)
                else:
                    left = [each for each in victims if each in self._provider.members]
                    await self._provider.delete_instances(self._group, left, expected=size)
            except AutoscalerError:
                continue

    def _moment(self, action: str, *, calm: bool) -> str:
        return "" if calm or action not in CHANGES else self._random.choice(("", BEFORE, AFTER))


@pytest.mark.parametrize("many", range(2))
async def test_a_broken_connection_never_doubles_a_launch_nor_ends_another_machine(aws: World, many: int) -> None:
    template = await aws.account.launch_template("shared")
    for seed in range(many * SEEDS, (many + 1) * SEEDS):
        name = f"group-{seed}"
        before = set(await aws.account.states())
        await aws.account.group(name, size=(0, 2, MOST), template_id=template)
        async with aws.provider() as provider:
            operator = Operator(aws, provider, group=name, seed=seed)
            for _ in range(STEPS):
                await operator.step()
        aws.aws.cut = cut_nothing
        states = {key: state for key, state in (await aws.account.states()).items() if key not in before}
        ended = {instance for instance, state in states.items() if state == "terminated"}
        assert ended == operator.chosen, f"seed {seed}"
        assert len(states) == 2 + operator.grown, f"seed {seed}"
        await aws.account.call("autoscaling", "DeleteAutoScalingGroup", AutoScalingGroupName=name, ForceDelete=True)


async def test_two_leaders_at_once_buy_and_end_once(aws: World) -> None:
    await aws.account.group("web", size=(0, 2, 9))
    async with aws.provider() as first, aws.provider() as second:
        both = (first, second)
        await asyncio.gather(*(each.list_node_groups() for each in both))
        calls = (each.set_target_size("web", 5, expected=2) for each in both)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(result is None or isinstance(result, ConflictError) for result in results)
        assert len(await aws.account.states()) == 5
        victim = min(await aws.account.instances("web"))
        ends = (each.delete_instances("web", [victim], expected=5) for each in both)
        results = await asyncio.gather(*ends, return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["ConflictError", "NoneType"]
        (group,) = await first.list_node_groups()
    assert group.target_size == 4
    assert [key for key, state in (await aws.account.states()).items() if state == "terminated"] == [victim]
