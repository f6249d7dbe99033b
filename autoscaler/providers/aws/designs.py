"""What groups launch: as their own policy says, else as their launch template does, which is then read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from autoscaler.errors import ConflictError
from autoscaler.interfaces import Clock
from autoscaler.model.node import SPOT
from autoscaler.providers.aws import wire
from autoscaler.providers.aws.calls import AwsCalls
from autoscaler.providers.aws.groups import Design, live

DESCRIBE_TEMPLATE = "ec2:DescribeLaunchTemplateVersions"
_STALE_SECONDS = 600.0
"""`$Latest` and `$Default` may come to mean another version."""
_AT_ONCE = 8

_Template = tuple[str, str]
"""Id and version."""


class _Read(msgspec.Struct, frozen=True):
    content: wire.TemplateData
    at: float


class Designs:
    """Launch templates that were read: each new one at once, of those that may have changed one a look."""

    def __init__(self, calls: AwsCalls, clock: Clock) -> None:
        self._calls, self._clock = calls, clock
        self._read: dict[_Template, _Read] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def learn(self, groups: Sequence[wire.Group]) -> None:
        """Read what is needed of the launch templates of *groups*."""
        used = sorted({template for group in groups if (template := _needed(group)) is not None})
        self._read = {template: self._read[template] for template in used if template in self._read}
        new = [template for template in used if template not in self._read]
        before = self._clock.now() - _STALE_SECONDS
        stale = [each for each in used if each[1].startswith("$") and each in self._read]
        oldest = min(stale, key=lambda each: (self._read[each].at, each), default=None)
        if oldest is not None and self._read[oldest].at <= before:
            new.append(oldest)
        try:
            async with asyncio.TaskGroup() as looks:
                for template in new:
                    looks.create_task(self._look(template))
        except ExceptionGroup as failed:
            # One stands for all: the next turn reads those that are still missing.
            raise failed.exceptions[0] from failed

    def design(self, group: wire.Group) -> Design:
        """
        Return what *group* launches; its template must have been learned.

        Raises:
            ValueError: that cannot be told, or the group counts in weights; says what is allowed.
        """
        mixed = group.mixed_instances_policy
        share, base = 1.0, 0
        names: list[str] = []
        if mixed is not None:
            distribution = mixed.instances_distribution
            share = distribution.on_demand_percentage_above_base_capacity / 100
            base = distribution.on_demand_base_capacity
            names = _named(mixed)
            weights = {each.weighted_capacity for each in mixed.launch_template.overrides}
            if weights - {"1"}:
                raise ValueError(f"weighted capacity {max(weights)} is not valid; allowed: 1 for each instance type")
        template = _needed(group)
        content = self._read[template].content if template in self._read else wire.TemplateData()
        if mixed is None and content.instance_market_options.market_type == SPOT:
            share = 0.0
        names = names or [content.instance_type] * bool(content.instance_type)
        names = names or sorted({each.instance_type for each in live(group) if each.instance_type})
        if not names:
            raise ValueError("its instance type is not known; allowed: one in its launch template or its overrides")
        return Design(names=tuple(dict.fromkeys(names)), on_demand_share=share, on_demand_base=base)

    async def _look(self, template: _Template) -> None:
        identity, version = template
        async with self._turns:
            try:
                found = await self._calls.read(
                    DESCRIBE_TEMPLATE, wire.TemplateVersions, LaunchTemplateId=identity, Versions=[version]
                )
            except ConflictError:
                found = wire.TemplateVersions(launch_template_versions=())
        versions = found.launch_template_versions
        content = versions[0].launch_template_data if versions else wire.TemplateData()
        self._read[template] = _Read(content, self._clock.now())


def _needed(group: wire.Group) -> _Template | None:
    """Return the template that has to be read, None where the group itself names its types."""
    mixed = group.mixed_instances_policy
    if mixed is not None and _named(mixed):
        return None
    ref = mixed.launch_template.launch_template_specification if mixed is not None else group.launch_template
    return (ref.launch_template_id, ref.version) if ref is not None and ref.launch_template_id else None


def _named(mixed: wire.MixedPolicy) -> list[str]:
    return [each.instance_type for each in mixed.launch_template.overrides if each.instance_type]
