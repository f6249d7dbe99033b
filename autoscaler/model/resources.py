"""Amounts of resources by name: what is asked for, offered or used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from autoscaler.model.units import format_bytes, format_decimal, format_milli, quantity_milli, quantity_value

CPU = "cpu"
MEMORY = "memory"
EPHEMERAL = "ephemeral-storage"
PODS = "pods"
HUGEPAGES_PREFIX = "hugepages-"
ATTACHMENTS_PREFIX = "attachable-volumes-csi-"
"""Before the name of a CSI driver: how many of its volumes a node can attach, or a pod brings."""


class Resources(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """
    Whole amounts by resource name, sorted by name.

    `cpu` is in millicores, everything else in bytes or counts. A name that is
    absent was not given, which for a request is not the same as 0; arithmetic
    takes it as 0.

    >>> Resources.of(cpu=500, memory=1 << 30)
    Resources(cpu=500m, memory=1Gi)
    """

    amounts: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, pairs: Mapping[str, int] | Iterable[tuple[str, int]] = (), /, **named: int) -> Resources:
        """Build from amounts in base units (millicores for cpu)."""
        return cls(tuple(sorted({**dict(pairs), **named}.items())))

    @classmethod
    def parse(cls, quantities: Mapping[str, str | int | float]) -> Resources:
        """
        Build from Kubernetes quantities.

        Raises:
            ValueError: one of them is not a quantity.
        """
        return cls.of({n: quantity_milli(q) if n == CPU else quantity_value(q) for n, q in quantities.items()})

    def get(self, name: str, default: int = 0) -> int:
        for key, amount in self.amounts:
            if key == name:
                return amount
        return default

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self.amounts)

    @property
    def cpu(self) -> int:
        """Millicores, 0 where not given."""
        return self.get(CPU)

    @property
    def memory(self) -> int:
        """Bytes, 0 where not given."""
        return self.get(MEMORY)

    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.amounts)

    def items(self) -> Iterator[tuple[str, int]]:
        return iter(self.amounts)

    def with_(self, **changes: int) -> Resources:
        """Return a copy with some amounts replaced (names as keywords)."""
        return Resources.of(self.amounts, **changes)

    def only(self, names: Iterable[str]) -> Resources:
        keep = frozenset(names)
        return Resources(tuple(pair for pair in self.amounts if pair[0] in keep))

    def __add__(self, other: Resources) -> Resources:
        total = dict(self.amounts)
        for name, amount in other.amounts:
            total[name] = total.get(name, 0) + amount
        return Resources.of(total)

    def __sub__(self, other: Resources) -> Resources:
        """Subtract name by name; may go below zero."""
        total = dict(self.amounts)
        for name, amount in other.amounts:
            total[name] = total.get(name, 0) - amount
        return Resources.of(total)

    def __mul__(self, times: int) -> Resources:
        return Resources(tuple((name, amount * times) for name, amount in self.amounts))

    def largest(self, other: Resources) -> Resources:
        """Return the larger amount of each name; a name in either is in the result."""
        total = dict(self.amounts)
        for name, amount in other.amounts:
            total[name] = max(total.get(name, amount), amount)
        return Resources.of(total)

    def fits_in(self, room: Resources) -> bool:
        """Tell whether each amount above zero is at most what *room* has."""
        available = dict(room.amounts)
        return all(amount <= 0 or amount <= available.get(name, 0) for name, amount in self.amounts)

    def quantities(self) -> dict[str, str]:
        """Return canonical Kubernetes quantities by name."""
        return {name: format_amount(name, amount) for name, amount in self.amounts}

    def __repr__(self) -> str:
        return f"Resources({', '.join(f'{n}={format_amount(n, a)}' for n, a in self.amounts)})"


def format_amount(name: str, amount: int) -> str:
    """Print an amount of resource *name* as its canonical quantity."""
    if name == CPU:
        return format_milli(amount)
    if name in (MEMORY, EPHEMERAL) or name.startswith(HUGEPAGES_PREFIX):
        return format_bytes(amount)
    return format_decimal(amount)


NOTHING = Resources()
