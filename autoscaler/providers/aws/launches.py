"""
How launches go, in groups that have fewer instances than were asked for.

Auto Scaling takes any capacity that is asked for and tells afterwards, in the
group's activities, when EC2 has none (its API reference, "DescribeScalingActivities").
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from autoscaler.interfaces import Clock
from autoscaler.providers.aws import wire
from autoscaler.providers.aws.calls import AwsCalls
from autoscaler.providers.aws.failures import CAPACITY_SECONDS
from autoscaler.providers.aws.groups import Found
from autoscaler.providers.aws.outages import Outages, is_outage, offers_in

DESCRIBE_ACTIVITIES = "autoscaling:DescribeScalingActivities"
_MOST_LOOKS = 2
"""Groups whose activities are read in one turn: those that were looked at longest ago come first."""
_ACTIVITIES = 10
_LAUNCHING = "Launching"
"""How Auto Scaling's description of a launch begins."""


class _Failed(msgspec.Struct, frozen=True):
    """The newest launch of a group failed `at`."""

    at: float
    message: str


class Launches:
    """What is known of failed launches; `outages` is shared by all groups."""

    def __init__(self, calls: AwsCalls, clock: Clock) -> None:
        self._calls, self._clock = calls, clock
        self.outages = Outages()
        self._failed: dict[str, _Failed] = {}
        self._looked: dict[str, float] = {}

    async def look(self, groups: Sequence[Found]) -> None:
        """Read how launches of *groups* went; nothing is read where no instance is missing."""
        missing = {each.name: each for each in groups if each.raw.desired_capacity > len(each.members)}
        self._failed = {name: failed for name, failed in self._failed.items() if name in missing}
        self._looked = {name: at for name, at in self._looked.items() if name in missing}
        longest_ago = sorted(missing, key=lambda name: (self._looked.get(name, 0.0), name))
        for name in longest_ago[:_MOST_LOOKS]:
            group = missing[name]
            page = await self._calls.read(
                DESCRIBE_ACTIVITIES,
                wire.ActivityPage,
                AutoScalingGroupName=group.raw.auto_scaling_group_name,
                MaxRecords=_ACTIVITIES,
            )
            self._looked[name] = self._clock.now()
            self._note(group, page.activities)

    def target_size(self, group: Found) -> int:
        """
        Return how many nodes the group is going to have: what was asked for, but
        where launches fail only what is there. AWS goes on trying; what comes later is counted when it comes.
        """
        return len(group.members) if group.name in self._failed else group.raw.desired_capacity

    def backoff_until(self, group: Found) -> float:
        """Return when the group may grow again (epoch seconds), 0 if it may now."""
        now = self._clock.now()
        failed = self._failed.get(group.name)
        until = failed.at + CAPACITY_SECONDS if failed is not None else 0.0
        until = max(until, self.outages.until(group.offers, now=now))
        return until if until > now else 0.0

    def problem(self, group: Found) -> str:
        """Return why the group's newest launch failed, "" if it did not."""
        failed = self._failed.get(group.name)
        return failed.message if failed is not None else ""

    def _note(self, group: Found, activities: Sequence[wire.Activity]) -> None:
        tried = [each for each in activities if each.description.startswith(_LAUNCHING)]
        for each in tried:
            if each.status_code == "Failed" and is_outage(each.status_message):
                self.outages.remember(offers_in(each.status_message, group.offers), since=_end(each))
        if tried and tried[0].status_code == "Failed":
            self._failed[group.name] = _Failed(_end(tried[0]), " ".join(tried[0].status_message.split()))
        else:
            self._failed.pop(group.name, None)


def _end(activity: wire.Activity) -> float:
    return (activity.end_time or activity.start_time).timestamp()
