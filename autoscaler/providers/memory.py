"""
A cloud in memory: groups of machines that boot, fail, get interrupted and cost money.

`MemoryCloud` is the cloud itself, moved by hand with `advance`; `MemoryProvider`
is the adapter that a controller sees. Lost machines are not replaced by the
cloud: the group's target falls with them, as with launches of single machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np

from autoscaler.errors import CapacityError, ConflictError, TransientError
from autoscaler.model.node import SPOT, InstanceType, NodeGroup
from autoscaler.model.units import HOUR

MINIMUM_BILLED_SECONDS = 60.0
"""EC2 and Compute Engine bill by the second, one minute at least."""
FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 180.0, 3600.0


class CloudRules(msgspec.Struct, frozen=True, kw_only=True):
    """How the cloud behaves; seconds, and shares from 0 to 1."""

    launch_failure_share: float = 0.0
    launch_timeout_seconds: float = 300.0
    interruption_notice_seconds: float = 120.0


class Instance(msgspec.Struct, kw_only=True):
    """One machine. `ready_at` is infinite for a launch that will fail."""

    id: str
    group: str
    serial: int
    launched_at: float
    ready_at: float
    interrupt_at: float | None = None
    joined: bool = False


class Changes(msgspec.Struct, kw_only=True):
    """
    What became of machines since the last `advance`: those that joined, got
    notice, were `deleted` through the API, or were `taken` by the cloud.
    """

    joined: list[Instance] = []
    noticed: list[Instance] = []
    deleted: list[Instance] = []
    taken: list[Instance] = []


class MemoryCloud:
    """
    Machines by group, and their bill.

    `usd` is what was billed up to the last `advance`; `launches` counts
    machines that were asked for; `error_share` of the calls fail with a
    TransientError; groups in `stocked_out` sell nothing.
    """

    def __init__(
        self,
        groups: Iterable[NodeGroup],
        instance_types: Iterable[InstanceType] = (),
        *,
        rules: CloudRules | None = None,
        boot_spread: Mapping[str, float] | None = None,
        seed: int = 0,
        now: float = 0.0,
    ) -> None:
        self.now = now
        self.usd = 0.0
        self.launches = 0
        self.error_share = 0.0
        self.stocked_out: frozenset[str] = frozenset()
        self.instance_types = {kind.name: kind for kind in instance_types}
        self._groups = {group.name: group for group in sorted(groups, key=lambda group: group.name)}
        self._machines: dict[str, dict[str, Instance]] = {}
        self._backoff: dict[str, float] = {}
        self._rules = rules or CloudRules()
        self._boot_spread = dict(boot_spread or {})
        self._random = np.random.default_rng(seed)
        self._serial = 0
        self._listed: tuple[NodeGroup, ...] | None = None
        self._booting: dict[str, Instance] = {}
        self._rate = 0.0
        self._changes = Changes()
        for group in tuple(self._groups.values()):
            for _ in range(group.target_size):
                self._launch(group, at_once=True)

    @property
    def groups(self) -> tuple[NodeGroup, ...]:
        """All groups by name, each with its present target size."""
        if self._listed is None:
            self._listed = tuple(self._groups.values())
        return self._listed

    @property
    def usd_per_hour(self) -> float:
        return self._rate

    def group(self, name: str) -> NodeGroup:
        """Raises ConflictError for an unknown group."""
        try:
            return self._groups[name]
        except KeyError:
            raise ConflictError(f"there is no node group {name!r}") from None

    def machines(self, group: str) -> tuple[Instance, ...]:
        """Return the group's machines, those still booting included, oldest first."""
        self.group(group)
        return tuple(self._machines.get(group, {}).values())

    def call(self) -> None:
        """Count a call to the cloud's API; raises TransientError for the share that fails."""
        if self.error_share > 0 and self._random.random() < self.error_share:
            raise TransientError("the cloud answers with an error; trying again in 30 s", retry_after_seconds=30.0)

    def resize(self, name: str, size: int, *, expected: int) -> None:
        """Set the absolute size; a smaller one takes the newest machines away."""
        group = self.group(name)
        _expect(group, expected)
        if not group.min_size <= size <= group.max_size:
            raise ConflictError(f"node group {name}: size {size} is not within {group.min_size} to {group.max_size}")
        if size > group.target_size:
            self._check_stock(group)
        for _ in range(size - group.target_size):
            self._launch(group)
        victims = self.machines(name)[size:] if size < group.target_size else ()
        for machine in victims:
            self._delete(machine)
        self._replace(name, target_size=size)

    def delete(self, name: str, ids: Sequence[str], *, expected: int) -> None:
        """Terminate these machines; those that are gone already do not count."""
        group = self.group(name)
        _expect(group, expected)
        unknown = [id_ for id_ in ids if id_ not in self._machines.get(name, {})]
        if unknown:
            raise ConflictError(f"node group {name} has no instance {', '.join(sorted(unknown))}")
        for id_ in dict.fromkeys(ids):
            self._delete(self._machines[name][id_])
        self._replace(name, target_size=len(self.machines(name)))

    def advance(self, now: float) -> Changes:
        """Let time pass until *now*: bill, boot, interrupt, give up failed launches; return what changed."""
        seconds = now - self.now
        if seconds < 0:
            raise ValueError(f"time cannot go back from {self.now} to {now}")
        self.usd += self.usd_per_hour * seconds / HOUR
        self.now = now
        for machine in tuple(self._booting.values()):
            self._boot(machine)
        for name in sorted(self._machines):
            group = self._groups[name]
            if seconds > 0 and group.capacity_type == SPOT and group.interruptions_per_hour > 0:
                self._interrupt(group, seconds)
        changes, self._changes = self._changes, Changes()
        return changes

    def lose(self, matches: Callable[[NodeGroup], bool], count: int) -> None:
        """Take up to *count* running machines of matching groups away, chosen at random, without notice."""
        found = [
            machine
            for name in sorted(self._machines)
            if matches(self._groups[name])
            for machine in self._machines[name].values()
            if machine.joined
        ]
        chosen = self._random.permutation(len(found))[:count]
        for index in sorted(chosen.tolist()):
            self._take(found[index])

    def _check_stock(self, group: NodeGroup) -> None:
        if group.name not in self.stocked_out:
            return
        wait = min(LAST_BACKOFF_SECONDS, 2 * self._backoff.get(group.name, FIRST_BACKOFF_SECONDS / 2))
        self._back_off(group.name, wait)
        raise CapacityError(
            f"node group {group.name}: no capacity for {group.template.instance_type} in {group.zone or 'any zone'}; "
            f"trying again in {wait:.0f} s",
            retry_after_seconds=wait,
        )

    def _back_off(self, name: str, wait: float) -> None:
        self._backoff[name] = wait
        self._replace(name, backoff_until=self.now + wait)

    def _launch(self, group: NodeGroup, *, at_once: bool = False) -> None:
        self._serial += 1
        if at_once:
            boot = 0.0
        else:
            self.launches += 1
            fails = self._random.random() < self._rules.launch_failure_share
            spread = math.exp(self._boot_spread.get(group.name, 0.0) * self._random.standard_normal())
            boot = math.inf if fails else group.boot_seconds * spread
        machine = Instance(
            id=f"i-{self._serial:08d}",
            group=group.name,
            serial=self._serial,
            launched_at=self.now,
            ready_at=self.now + boot,
        )
        self._machines.setdefault(group.name, {})[machine.id] = machine
        self._booting[machine.id] = machine
        self._recount()

    def _boot(self, machine: Instance) -> None:
        if machine.ready_at <= self.now:
            machine.joined = True
            del self._booting[machine.id]
            self._backoff.pop(machine.group, None)
            self._changes.joined.append(machine)
        elif math.isinf(machine.ready_at) and self.now - machine.launched_at >= self._rules.launch_timeout_seconds:
            self._drop(machine)
            self._back_off(machine.group, FIRST_BACKOFF_SECONDS)

    def _interrupt(self, group: NodeGroup, seconds: float) -> None:
        chance = -math.expm1(-group.interruptions_per_hour * seconds / HOUR)
        for machine in self.machines(group.name):
            if machine.interrupt_at is not None and machine.interrupt_at <= self.now:
                self._take(machine)
            elif machine.joined and machine.interrupt_at is None and self._random.random() < chance:
                machine.interrupt_at = self.now + self._rules.interruption_notice_seconds
                self._changes.noticed.append(machine)

    def _delete(self, machine: Instance) -> None:
        self._terminate(machine)
        if machine.joined:
            self._changes.deleted.append(machine)

    def _take(self, machine: Instance) -> None:
        self._drop(machine)
        self._changes.taken.append(machine)

    def _drop(self, machine: Instance) -> None:
        self._terminate(machine)
        self._replace(machine.group, target_size=len(self.machines(machine.group)))

    def _terminate(self, machine: Instance) -> None:
        machines = self._machines[machine.group]
        del machines[machine.id]
        if not machines:
            del self._machines[machine.group]
        self._booting.pop(machine.id, None)
        self._recount()
        billed = self.now - machine.launched_at
        # A launch that never became a machine is not billed at all.
        due = 0.0 if math.isinf(machine.ready_at) else max(MINIMUM_BILLED_SECONDS, billed)
        self.usd += self._groups[machine.group].usd_per_hour * (due - billed) / HOUR

    def _recount(self) -> None:
        self._rate = math.fsum(
            self._groups[name].usd_per_hour * len(machines) for name, machines in self._machines.items()
        )

    def _replace(self, name: str, **changes: object) -> None:
        self._groups[name] = msgspec.structs.replace(self._groups[name], **changes)
        self._listed = None


class MemoryProvider:
    """CloudProvider on a `MemoryCloud`."""

    name = "memory"

    def __init__(self, cloud: MemoryCloud) -> None:
        self.cloud = cloud

    async def list_node_groups(self) -> Sequence[NodeGroup]:
        self.cloud.call()
        return self.cloud.groups

    async def list_instance_types(self, group: str) -> Sequence[InstanceType]:
        self.cloud.call()
        kind = self.cloud.instance_types.get(self.cloud.group(group).template.instance_type)
        return () if kind is None else (kind,)

    async def set_target_size(self, group: str, size: int, *, expected: int) -> None:
        self.cloud.call()
        self.cloud.resize(group, size, expected=expected)

    async def delete_instances(self, group: str, ids: Sequence[str], *, expected: int) -> None:
        self.cloud.call()
        self.cloud.delete(group, ids, expected=expected)

    async def aclose(self) -> None:
        """Nothing to close."""


def _expect(group: NodeGroup, expected: int) -> None:
    if group.target_size != expected:
        raise ConflictError(f"node group {group.name}: size is {group.target_size}, expected {expected}")
