"""
What can be bought, in lines: offers that differ in size and price only.

For every class to be packed, and under every rule between pods, the offers of
one line are the same place. A node that is to be bought can therefore grow
within its line, from one rung to a larger one, without moving its pods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autoscaler.model.arrays import Bools, Floats, Ints
from autoscaler.planning.offers import Market, Offer


class Line:
    """
    Offers that are the same to every class, as rungs by price.

    `capacity` is by (resource, rung), `prices` USD an hour by rung.
    """

    def __init__(
        self,
        number: int,
        offers: Sequence[Sequence[Offer]],
        capacity: Ints,
        prices: Floats,
        *,
        domains: Mapping[str, str | None],
        nodes: int,
    ) -> None:
        """*domains* are those of every node by topology key; *nodes* is how many may be wanted at most."""
        self.number, self.offers, self.capacity, self.prices = number, offers, capacity, prices
        self.nodes = 0
        self._domains = domains
        self._room = np.array([sum(offer.room for offer in each) for each in offers], dtype=np.int64)
        self._ample = bool((self._room >= nodes).all())
        self._ascending = bool((np.diff(capacity, axis=1) >= 0).all())
        self._for_one: dict[bytes, int] = {}

    def domain(self, key: str) -> str | None:
        return self._domains.get(key)

    def take(self, rung: int, *, instead_of: int | None = None) -> None:
        """Count a new node on *rung*, or one that has climbed there."""
        self._room[rung] -= 1
        if instead_of is None:
            self.nodes += 1
        else:
            self._room[instead_of] += 1

    def rung_for(self, amounts: Ints) -> int:
        """Return the cheapest rung with room that holds *amounts*, -1 if there is none."""
        if not self._ample:
            return int(self.rungs_for(amounts[:, None])[0])
        key = amounts.tobytes()
        found = self._for_one.get(key)
        if found is None:
            found = self._for_one[key] = int(self.rungs_for(amounts[:, None])[0])
        return found

    def rungs_for(self, amounts: Ints) -> Ints:
        """Return the cheapest rung with room that holds each column of *amounts*, -1 for none."""
        if self._ample and self._ascending:
            pairs = zip(self.capacity, amounts, strict=True)
            first: Ints = np.maximum.reduce([capacity.searchsorted(asked) for capacity, asked in pairs])
            first[first == len(self.prices)] = -1
            return first
        holds = np.repeat((self._room > 0)[None], amounts.shape[1], axis=0)
        for capacity, asked in zip(self.capacity, amounts, strict=True):
            holds &= capacity >= asked[:, None]
        first = holds.argmax(axis=1)
        first[~holds[np.arange(len(first)), first]] = -1
        return first


def lines_of(
    market: Market, admits: Sequence[Bools], keys: Sequence[str], resources: Sequence[str], *, nodes: int
) -> list[Line]:
    """
    Return the lines of a market. *admits* tell, each for some class, which offers let it in.

    *nodes* is how many may be wanted at most: a rung with room for so many
    hides dearer ones that hold no more.
    """
    table = np.array(admits, dtype=bool).reshape(len(admits), len(market.offers))
    domains = [market.domains(key) for key in keys]
    members: dict[tuple[bytes, tuple[str | None, ...]], list[int]] = {}
    for at in range(len(market.offers)):
        place = (table[:, at].tobytes(), tuple(each[at] for each in domains))
        members.setdefault(place, []).append(at)
    capacity, prices = market.capacity(resources), market.prices()
    lines: list[Line] = []
    for (_, names), rows in members.items():
        if table[:, rows[0]].any():
            rungs = _rungs([market.offers[row] for row in rows], capacity[rows], prices[rows], nodes=nodes)
            lines.append(Line(len(lines), *rungs, domains=dict(zip(keys, names, strict=True)), nodes=nodes))
    return lines


def _rungs(
    offers: Sequence[Offer], capacity: Ints, prices: Floats, *, nodes: int
) -> tuple[list[list[Offer]], Ints, Floats]:
    """Return offers of equal size and price together, cheapest first, with sizes by (resource, rung) and prices."""
    alike: dict[tuple[float, bytes], list[int]] = {}
    for row in range(len(offers)):
        alike.setdefault((float(prices[row]), capacity[row].tobytes()), []).append(row)
    # Of equally dear rungs the larger comes first, then the one that comes first by name.
    order = sorted(alike.values(), key=lambda rows: (prices[rows[0]], -capacity[rows[0]].sum(), rows[0]))
    ample = np.array([sum(offers[row].room for row in rows) >= nodes for rows in order])
    sizes, first = capacity[[rows[0] for rows in order]], np.array([rows[0] for rows in order])
    kept = [at for at in range(len(order)) if not _is_hidden(at, sizes, ample)]
    together = [[offers[row] for row in order[at]] for at in kept]
    return together, np.ascontiguousarray(sizes[kept].T), prices[first[kept]]


def _is_hidden(at: int, sizes: Ints, ample: Bools) -> bool:
    """Tell whether a rung before *at*, no dearer, holds as much and has room for everyone."""
    return bool(((sizes[:at] >= sizes[at]).all(axis=1) & ample[:at]).any())
