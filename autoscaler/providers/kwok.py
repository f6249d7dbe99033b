"""
A simulated cloud on a real API server: machines are Node objects that kwok brings to life.

The Node objects are all the state there is, so a restart loses nothing. Names
are given out by number, the lowest free one first: of two controllers that buy
at once one meets names that exist and stops, so nothing is bought twice.
kwok (sigs.k8s.io/kwok) manages nodes with the annotation `kwok.x-k8s.io/node`;
pods on a deleted node are left to the cluster, as with a machine that is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from autoscaler.errors import CapacityError, ConflictError, TransientError
from autoscaler.interfaces import Clock
from autoscaler.kube.client import AlreadyExistsError, ApiServer, NotFoundError
from autoscaler.model.node import SPOT, InstanceType, NodeGroup
from autoscaler.model.policy import NodeGroupPolicy
from autoscaler.providers.kwok_offers import BOOT_SECONDS, GROUP_LABEL, NOTICE_SECONDS, PROVIDER, Offer, offers_of
from autoscaler.scheduling.topology import HOSTNAME

FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 30.0, 600.0
FAILED_SECONDS = 10.0
"""When to try again after a call that failed by the document's share."""
CALL_SECONDS = 5.0
"""A call's time-out: shorter than the time between a leader's last act and its lease's end."""
RECLAIM_AT = "podnode.io/reclaim-at"
"""Annotation of a spot machine's node: when it is told that it goes (epoch seconds)."""
_NODES = "/api/v1/nodes"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class _Metadata(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    name: str
    uid: str = ""
    labels: dict[str, str] = {}
    deletion_timestamp: str | None = None


class _Object(msgspec.Struct, frozen=True, gc=False):
    metadata: _Metadata


class _ListMetadata(msgspec.Struct, frozen=True, gc=False):
    next: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct, frozen=True, gc=False):
    """The API server writes an empty list of metadata as null."""

    items: list[_Object] | None = None
    metadata: _ListMetadata = _ListMetadata()


class KwokProvider:
    """
    CloudProvider on Node objects.

    Raises (all methods) also what `ApiServer` raises. *groups* gives the
    NodeGroup documents in force; those of other providers are left out.
    *seed* makes failures by share repeatable; nodes are listed *page* at a time.
    """

    name = PROVIDER

    def __init__(
        self,
        api: ApiServer,
        clock: Clock,
        *,
        groups: Callable[[], Sequence[NodeGroupPolicy]],
        seed: int = 0,
        page: int = 1000,
    ) -> None:
        self._api, self._clock, self._documents = api, clock, groups
        self._random = np.random.default_rng(seed)
        self._page = page
        self._read: tuple[NodeGroupPolicy, ...] = ()
        self._offers: Mapping[str, Offer] = {}
        self._backoff: dict[str, tuple[float, float]] = {}
        self.problems: tuple[str, ...] = ()
        """What is wrong with documents, one line each; they offer nothing."""

    async def list_node_groups(self) -> Sequence[NodeGroup]:
        """Return what the documents offer; the room a document leaves is in each group's bounds."""
        offers = self._current()
        counts = _counts(await self._machines())
        return [self._sized(offer, counts) for offer in offers.values()]

    async def list_instance_types(self, group: str) -> Sequence[InstanceType]:
        """Return the group's one machine type."""
        return (self._offer(group).instance_type,)

    async def set_target_size(self, group: str, size: int, *, expected: int) -> None:
        """
        Create Node objects up to *size*; a smaller one takes those of the highest numbers away.

        Raises:
            ConflictError: the size is not *expected*, or the bounds do not allow it.
            CapacityError: the document's stock is used up; nothing was bought.
        """
        offer, machines = self._offer(group), await self._machines()
        now = self._sized(offer, _counts(machines))
        _expect(now, expected)
        if not now.min_size <= size <= now.max_size:
            raise ConflictError(f"node group {group}: size {size} is not within {now.min_size} to {now.max_size}")
        if size > expected:
            self._check_market(offer, size)
            await self._launch(offer, size - expected, taken={machine.name for machine in machines})
            return
        members = [each for each in machines if _is_member(each, group)]
        newest_first = sorted(members, key=lambda each: (len(each.name), each.name), reverse=True)
        for machine in newest_first[: expected - size]:
            await self._delete(machine)

    async def delete_instances(self, group: str, ids: Sequence[str], *, expected: int) -> None:
        """
        Delete these Node objects; an instance's id is its node's name.

        Raises:
            ConflictError: the size is not *expected*, an id is none of the
                group's, or fewer nodes would be left than the document asks for.
        """
        offer, machines = self._offer(group), await self._machines()
        now = self._sized(offer, _counts(machines))
        _expect(now, expected)
        members = {each.name: each for each in machines if _is_member(each, group)}
        unknown = sorted(set(ids) - members.keys())
        if unknown:
            raise ConflictError(f"node group {group} has no instance {', '.join(unknown)}")
        chosen = dict.fromkeys(ids)
        if chosen and expected - len(chosen) < now.min_size:
            raise ConflictError(f"node group {group}: {now.min_size} nodes must stay, {expected} are there")
        for name in chosen:
            await self._delete(members[name])

    async def aclose(self) -> None:
        """Nothing to close: the connection is the caller's."""

    def _current(self) -> Mapping[str, Offer]:
        documents = tuple(self._documents())
        if documents != self._read:
            self._read = documents
            self._offers, self.problems = offers_of(documents)
        return self._offers

    def _offer(self, group: str) -> Offer:
        try:
            return self._current()[group]
        except KeyError:
            raise ConflictError(f"there is no node group {group!r}") from None

    def _sized(self, offer: Offer, counts: Mapping[str, int]) -> NodeGroup:
        """Return the group as it is: what its siblings of the same document have, it cannot have."""
        group = offer.group
        own = counts.get(group.name, 0)
        siblings = (each.group.name for each in self._offers.values() if each.document == offer.document)
        others = sum(counts.get(name, 0) for name in siblings) - own
        most = max(0, group.max_size - others)
        until, _ = self._backoff.get(group.name, (0.0, 0.0))
        return msgspec.structs.replace(
            group,
            target_size=own,
            min_size=min(max(0, group.min_size - others), most),
            max_size=most,
            backoff_until=until,
        )

    def _check_market(self, offer: Offer, size: int) -> None:
        group, behaviour = offer.group, offer.behaviour
        if behaviour.stock is not None and size > behaviour.stock:
            _, before = self._backoff.get(group.name, (0.0, FIRST_BACKOFF_SECONDS / 2))
            wait = min(LAST_BACKOFF_SECONDS, 2 * before)
            self._backoff[group.name] = (self._clock.now() + wait, wait)
            raise CapacityError(
                f"node group {group.name}: no capacity for {group.template.instance_type} in "
                f"{group.zone or 'any zone'}; trying again in {wait:.0f} s",
                retry_after_seconds=wait,
            )
        if self._random.random() < behaviour.failure_share:
            raise TransientError(
                f"node group {group.name}: the launch failed; trying again in {FAILED_SECONDS:.0f} s",
                retry_after_seconds=FAILED_SECONDS,
            )

    async def _launch(self, offer: Offer, count: int, *, taken: Collection[str]) -> None:
        group, number = offer.group.name, 0
        for _ in range(count):
            while f"{group}-{number}" in taken:
                number += 1
            document = node_document(offer, f"{group}-{number}", reclaim_at=self._reclaim_at(offer))
            try:
                await self._api.send("POST", _NODES, document, timeout=CALL_SECONDS)
            except AlreadyExistsError as error:
                raise ConflictError(f"node group {group}: somebody else is changing its size") from error
            number += 1
        self._backoff.pop(group, None)

    def _reclaim_at(self, offer: Offer) -> float | None:
        """Return when the market takes a machine that is bought now: a spot machine's life has no memory."""
        mean = offer.behaviour.spot_seconds
        if not mean or offer.group.capacity_type != SPOT:
            return None
        return self._clock.now() + offer.behaviour.boot_seconds + float(self._random.exponential(mean))

    async def _delete(self, machine: _Metadata) -> None:
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": machine.uid}}
        try:
            await self._api.send("DELETE", f"{_NODES}/{machine.name}", options, timeout=CALL_SECONDS)
        except NotFoundError:
            return

    async def _machines(self) -> list[_Metadata]:
        """Return all machines of the simulated cloud by metadata alone, those being deleted included."""
        params = {"labelSelector": GROUP_LABEL, "limit": str(self._page)}
        found: list[_Metadata] = []
        while True:
            answer = await self._api.get(_NODES, params=params, accept=_METADATA, timeout=CALL_SECONDS)
            try:
                page = msgspec.json.decode(answer, type=_List)
            except msgspec.MsgspecError as error:
                raise TransientError(f"GET {_NODES}: {error}", retry_after_seconds=FAILED_SECONDS) from error
            found += [item.metadata for item in page.items or ()]
            if not page.metadata.next:
                return found
            params["continue"] = page.metadata.next


def node_document(offer: Offer, name: str, *, reclaim_at: float | None = None) -> dict[str, Any]:
    """
    Return the Node object of a new machine: not ready, with all that a cloud's node tells of itself.

    kwok makes it Ready when its boot is over, and the node lifecycle controller then takes the taint away.
    With *reclaim_at* (epoch seconds) kwok gives notice then, by a taint, and deletes it when that has run out.
    """
    group = offer.group
    annotations = {"kwok.x-k8s.io/node": "fake"}
    if offer.behaviour.boot_seconds:
        annotations[BOOT_SECONDS] = f"{offer.behaviour.boot_seconds:g}"
    if reclaim_at is not None:
        annotations[RECLAIM_AT] = f"{reclaim_at:.0f}"
        annotations[NOTICE_SECONDS] = f"{offer.behaviour.notice_seconds:g}"
    labels = dict(group.template.labels)
    taints = [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    taints += [{"key": each.key, "value": each.value, "effect": each.effect} for each in group.template.taints]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**labels, HOSTNAME: name}, "annotations": annotations},
        "spec": {"providerID": f"kwok://{group.name}/{name}", "taints": taints},
        "status": {
            "capacity": offer.instance_type.capacity.quantities(),
            "allocatable": offer.instance_type.allocatable.quantities(),
            "nodeInfo": {"architecture": labels["kubernetes.io/arch"], "operatingSystem": "linux"},
        },
    }


def _counts(machines: Sequence[_Metadata]) -> Mapping[str, int]:
    return Counter(each.labels.get(GROUP_LABEL, "") for each in machines if each.deletion_timestamp is None)


def _is_member(machine: _Metadata, group: str) -> bool:
    return machine.labels.get(GROUP_LABEL) == group and machine.deletion_timestamp is None


def _expect(group: NodeGroup, expected: int) -> None:
    if group.target_size != expected:
        raise ConflictError(f"node group {group.name}: size is {group.target_size}, expected {expected}")
