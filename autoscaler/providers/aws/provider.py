"""
CloudProvider on Auto Scaling groups: sizes are set absolutely, and only chosen instances are terminated.

All state is AWS's own. Each change reads its group anew first, and compares
its size with what the decision rested on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiobotocore.session import AioSession

from autoscaler.errors import CapacityError, ConflictError, TransientError
from autoscaler.interfaces import Clock
from autoscaler.model.node import InstanceType, NodeGroup
from autoscaler.model.policy import NodeGroupPolicy
from autoscaler.providers.aws import wire
from autoscaler.providers.aws.calls import AwsCalls
from autoscaler.providers.aws.designs import Designs
from autoscaler.providers.aws.documents import PROVIDER, document_of, document_problems, ours
from autoscaler.providers.aws.failures import BROKEN_SECONDS
from autoscaler.providers.aws.groups import (
    Design,
    Found,
    found_group,
    group_names,
    instance_types,
    node_group,
)
from autoscaler.providers.aws.kinds import Kinds
from autoscaler.providers.aws.launches import Launches
from autoscaler.providers.aws.tags import tags_of, wanted_tags

DESCRIBE_GROUPS = "autoscaling:DescribeAutoScalingGroups"
SET_CAPACITY = "autoscaling:SetDesiredCapacity"
TERMINATE = "autoscaling:TerminateInstanceInAutoScalingGroup"
_PAGE = 100
"""As many groups as DescribeAutoScalingGroups gives at once."""
_DELETING = "Delete in progress"


class AwsProvider:
    """
    Sizes the Auto Scaling groups that have all of some tags.

    Args:
        tags: `KEY` or `KEY=VALUE` each; without any, those of Cluster Autoscaler's discovery for *cluster*.
        region: "" for what the environment says.
        groups: gives the NodeGroup documents in force; those of other providers are passed over.
        session: one to share, such as one with credentials of its own.
    """

    name = PROVIDER

    def __init__(
        self,
        clock: Clock,
        *,
        cluster: str,
        tags: Sequence[str] = (),
        region: str = "",
        groups: Callable[[], Sequence[NodeGroupPolicy]] = tuple,
        session: AioSession | None = None,
    ) -> None:
        self._clock, self._documents = clock, groups
        self._calls = AwsCalls(clock, region=region, session=session)
        self._wanted = wanted_tags(tuple(tags), cluster)
        self._designs, self._kinds = Designs(self._calls, clock), Kinds(self._calls, clock)
        self._launches = Launches(self._calls, clock)
        self._found: Mapping[str, Found] = {}
        self.members: Mapping[str, str] = {}
        """Group by instance id, as last listed."""
        self.problems: tuple[str, ...] = ()

    async def list_node_groups(self) -> Sequence[NodeGroup]:
        """Return the groups; one that cannot be understood is left out and named in `problems`."""
        try:
            raw = [each for each in await self._describe() if each.status != _DELETING]
            found, problems = await self._understood(raw)
            await self._launches.look(found)
        except ConflictError as error:
            # A group that goes away between two calls, say: there is nothing that was expected here.
            raise TransientError(str(error), retry_after_seconds=BROKEN_SECONDS) from error
        self._found = {group.name: group for group in found}
        self.members = {each.instance_id: group.name for group in found for each in group.members}
        failed = ((group.name, self._launches.problem(group)) for group in found)
        problems += [f"{name}: the last launch failed: {why}" for name, why in failed if why]
        self.problems = tuple(problems) if raw else (self._nothing(),)
        return [self._node_group(group) for group in found]

    async def list_instance_types(self, group: str) -> Sequence[InstanceType]:
        """Return what the group may launch, in its own order; what is sold out is not available."""
        found, now = await self._group(group), self._clock.now()
        out = [offer for offer in found.offers if self._launches.outages.until([offer], now=now)]
        return instance_types(found, out=out)

    async def set_target_size(self, group: str, size: int, *, expected: int) -> None:
        """
        Ask for *size* nodes. A smaller size only takes back what has not been launched: AWS would choose the others.

        Raises:
            ConflictError: the size is not *expected*, the bounds do not allow *size*, or instances would have to go.
            CapacityError: all that the group may launch was sold out a moment ago; nothing was asked for.
        """
        found = await self._again(group)
        _expect(self._launches.target_size(found), expected, group)
        raw = found.raw
        if not found.min_size <= size <= found.max_size:
            raise ConflictError(f"node group {group}: size {size} is not within {found.min_size} to {found.max_size}")
        if size > expected:
            self._check_market(found)
        if size < len(found.members):
            there = len(found.members)
            raise ConflictError(f"node group {group}: {there} instances are there; only chosen ones are terminated")
        if expected < size < raw.desired_capacity:
            raise ConflictError(f"node group {group}: {raw.desired_capacity} are being launched already")
        await self._calls.write(
            SET_CAPACITY, AutoScalingGroupName=raw.auto_scaling_group_name, DesiredCapacity=size, HonorCooldown=False
        )

    async def delete_instances(self, group: str, ids: Sequence[str], *, expected: int) -> None:
        """
        Terminate these instances, one after the other, each with its place in the group.

        Raises:
            ConflictError: the size is not *expected*, an id is none of the
                group's, or fewer would be left than its minimum; nothing was done.
            TransientError: AWS stopped answering; says how many were terminated before.
        """
        found = await self._again(group)
        _expect(self._launches.target_size(found), expected, group)
        members = {each.instance_id for each in found.members}
        unknown = sorted(set(ids) - members)
        if unknown:
            raise ConflictError(f"node group {group} has no instance {', '.join(unknown)}")
        chosen, least = tuple(dict.fromkeys(ids)), found.min_size
        if chosen and expected - len(chosen) < least:
            raise ConflictError(f"node group {group}: {least} nodes must stay, {expected} are there")
        for number, instance in enumerate(chosen):
            try:
                await self._calls.write(TERMINATE, InstanceId=instance, ShouldDecrementDesiredCapacity=True)
            except TransientError as error:
                done = f"node group {group}: {number} of {len(chosen)} instances were terminated, then: {error}"
                raise TransientError(done, retry_after_seconds=error.retry_after_seconds) from error

    async def aclose(self) -> None:
        """Close the connections; twice is fine."""
        await self._calls.aclose()

    async def _understood(self, groups: Sequence[wire.Group]) -> tuple[list[Found], list[str]]:
        """Return *groups* by our names, and what is wrong with those left out."""
        await self._designs.learn(groups)
        documents = ours(self._documents())
        names, problems = group_names(groups), document_problems(documents, groups)
        designs: dict[str, tuple[wire.Group, Design]] = {}
        for raw in sorted(groups, key=lambda each: names[each.auto_scaling_group_name]):
            name = names[raw.auto_scaling_group_name]
            try:
                designs[name] = (raw, self._designs.design(raw))
            except ValueError as problem:
                problems.append(f"{name}: {problem}")
        await self._kinds.learn(kind for _, design in designs.values() for kind in design.names)
        found: list[Found] = []
        for name, (raw, design) in designs.items():
            try:
                understood = found_group(name, raw, design, self._kinds.get)
            except ValueError as problem:
                problems.append(f"{name}: {problem}")
                continue
            found.append(msgspec.structs.replace(understood, document=document_of(raw, documents)))
        return found, problems

    async def _group(self, name: str) -> Found:
        if name not in self._found:
            await self.list_node_groups()
        try:
            return self._found[name]
        except KeyError:
            raise ConflictError(f"there is no node group {name!r}") from None

    async def _again(self, name: str) -> Found:
        """Return the group as it is now."""
        known = await self._group(name)
        raw = await self._describe(known.raw.auto_scaling_group_name)
        if not raw:
            raise ConflictError(f"there is no node group {name!r} any more, or it has lost its tags")
        return msgspec.structs.replace(known, raw=raw[0])

    async def _describe(self, name: str = "") -> list[wire.Group]:
        """Return all groups that have the wanted tags, or the one of that name if it has them."""
        filters = [
            {"Name": "tag-key", "Values": [tag.key]}
            if tag.value is None
            else {"Name": f"tag:{tag.key}", "Values": [tag.value]}
            for tag in self._wanted
        ]
        params: dict[str, Any] = {"AutoScalingGroupNames": [name]} if name else {"Filters": filters}
        found: list[wire.Group] = []
        while True:
            page = await self._calls.read(DESCRIBE_GROUPS, wire.GroupPage, MaxRecords=_PAGE, **params)
            found += page.auto_scaling_groups
            if not page.next_token:
                break
            params["NextToken"] = page.next_token
        # Also what AWS filtered: a group that is not ours must never be sized.
        return [each for each in found if all(tag.is_met(tags_of(each)) for tag in self._wanted)]

    def _node_group(self, found: Found) -> NodeGroup:
        return node_group(
            found,
            target_size=self._launches.target_size(found),
            backoff_until=self._launches.backoff_until(found),
        )

    def _check_market(self, found: Found) -> None:
        now = self._clock.now()
        wait = self._launches.outages.until(found.offers, now=now) - now
        if wait > 0:
            kinds = ", ".join(dict.fromkeys(machine.name for machine in found.machines))
            zones = ", ".join(found.raw.availability_zones)
            raise CapacityError(
                f"node group {found.name}: no capacity for {kinds} in {zones}; trying again in {wait:.0f} s",
                retry_after_seconds=wait,
            )

    def _nothing(self) -> str:
        tags = " and ".join(tag.key if tag.value is None else f"{tag.key}={tag.value}" for tag in self._wanted)
        return f"no Auto Scaling group has the tags {tags} in this region and account"


def _expect(size: int, expected: int, group: str) -> None:
    if size != expected:
        raise ConflictError(f"node group {group}: size is {size}, expected {expected}")
