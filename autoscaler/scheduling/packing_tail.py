"""
Packing few pods, node by node.

Several simple rules run side by side and the cheapest result wins, because each
is bad somewhere: best value for money first (with a look whether one node would
hold all that is left), and like nodes only. Rules that cannot win are cut short.
"""

from __future__ import annotations

import numpy as np

from autoscaler.model.arrays import Floats, Ints
from autoscaler.scheduling.packing_fill import Batch, fill_nodes
from autoscaler.scheduling.packing_problem import Problem

_LIKE_NODES = 64
"""Most nodes that the rule of like nodes tries: beyond that, value for money does as well."""

Plan = tuple[float, list[Batch]]


def finish(problem: Problem, worth: Floats, count: Ints, *, room: Floats) -> tuple[list[Batch], Ints]:
    """
    Return batches for *count* (C) pods and what finds no room.

    *worth* (C) is the certified worth of a pod, USD an hour; *room* (T) is how
    many nodes of each offer may still be bought.
    """
    if not count.any():
        return [], count
    worth = np.where(count > 0, np.maximum(worth, problem.price.max() * 1e-9), 0.0)
    plans: list[tuple[float, int, list[Batch], Ints]] = []
    for by_largest in (False, True):
        cost, batches, left = _by_value(problem, worth, count, room=room, by_largest=by_largest)
        plans.append((cost, int(left.sum()), batches, left))
    ceiling = min((cost for cost, left, _, _ in plans if not left), default=np.inf)
    alike = _alike(problem, worth, count, room=room, below=ceiling)
    if alike is not None:
        plans.append((alike[0], 0, alike[1], np.zeros_like(count)))
    _, _, batches, left = min(plans, key=lambda plan: (plan[1], plan[0], sum(batch.repeat for batch in plan[2])))
    return batches, left


def _by_value(
    problem: Problem, worth: Floats, count: Ints, *, room: Floats, by_largest: bool
) -> tuple[float, list[Batch], Ints]:
    """Buy the node of most worth per dollar again and again; stop early where one node holds the whole rest."""
    left, room, spent = count.copy(), room.copy(), 0.0
    batches: list[Batch] = []
    best: Plan | None = None
    while left.any():
        offers = np.flatnonzero((room >= 1) & problem.fits[left > 0].any(axis=0))
        if not len(offers):
            break
        pods = fill_nodes(problem, np.where(left > 0, worth, 0.0), left, offers=offers, by_largest=by_largest)
        complete = np.flatnonzero((pods == left).all(axis=1))
        if len(complete):
            last = complete[np.argmin(problem.price[offers[complete]])]
            total = spent + float(problem.price[offers[last]])
            if best is None or total < best[0]:
                best = total, [*batches, Batch(offer=int(offers[last]), pods=pods[last], repeat=1)]
        chosen = int(np.argmax((pods @ worth) / problem.price[offers]))
        offer, held = int(offers[chosen]), pods[chosen] > 0
        if not held.any():
            break
        repeat = int(min((left[held] // pods[chosen][held]).min(), room[offer]))
        batches.append(Batch(offer=offer, pods=pods[chosen], repeat=repeat))
        spent += repeat * float(problem.price[offer])
        room[offer] -= repeat
        left = left - repeat * pods[chosen]
        if best is not None and spent >= best[0]:
            break
    if best is not None and (left.any() or best[0] <= spent):
        return best[0], best[1], np.zeros_like(left)
    return spent, batches, left


def _alike(problem: Problem, worth: Floats, count: Ints, *, room: Floats, below: float) -> Plan | None:
    """Return the cheapest plan of like nodes that costs less than *below* USD an hour, if there is one."""
    total = count @ problem.need
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(total > 0, total / problem.capacity, 0.0).max(axis=1, initial=0.0)
    fewest = np.maximum(np.ceil(np.nan_to_num(ratio, nan=np.inf, posinf=np.inf)), (-(-count // problem.limit)).max())
    possible = problem.fits[count > 0].all(axis=0) & (fewest <= np.minimum(room, _LIKE_NODES))
    offers = np.flatnonzero(possible & (fewest * problem.price < below))
    left = np.repeat(count[None], len(offers), axis=0)
    bought: list[list[Ints]] = [[] for _ in offers]
    live = np.arange(len(offers))
    while len(live):
        spent = np.array([len(bought[index]) + 1 for index in live])
        affordable = (spent * problem.price[offers[live]] < below) & (spent <= room[offers[live]])
        live = live[affordable]
        if not len(live):
            break
        pods = fill_nodes(problem, worth, left[live], offers=offers[live], by_largest=True)
        left[live] -= pods
        for index, filled in zip(live.tolist(), pods, strict=True):
            bought[index].append(filled)
        done = ~left[live].any(axis=1)
        for index in live[done].tolist():
            below = min(below, len(bought[index]) * float(problem.price[offers[index]]))
        live = live[~done]
    found = [
        (len(nodes) * float(problem.price[offer]), [Batch(offer=int(offer), pods=pods, repeat=1) for pods in nodes])
        for offer, nodes, rest in zip(offers.tolist(), bought, left, strict=True)
        if not rest.any()
    ]
    return min(found, key=lambda plan: (plan[0], len(plan[1])), default=None)
