"""Filling nodes with whole pods: one node of every offer at once, many like nodes evenly, and mending what is there."""

from __future__ import annotations

import msgspec
import numpy as np

from autoscaler.model.arrays import Bools, Floats, Ints
from autoscaler.scheduling.packing_problem import Problem

_BITE = 0.5
"""Share of what still fits of the best class that is taken before looking again: small enough to mix classes."""


class Batch(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`repeat` nodes of `offer`, each with `pods` (C)."""

    offer: int
    pods: Ints
    repeat: int


def fill_nodes(problem: Problem, worth: Floats, left: Ints, *, offers: Ints, by_largest: bool) -> Ints:
    """
    Fill one empty node of each of *offers* by value against scarcity; return pods as O x C.

    What a pod takes is weighed by what remains (its sum over resources, or its
    largest share if *by_largest*), so that the filling turns to pods that use
    what the node still has.

    *worth* (C) is the value of a pod; classes of no worth are left out. *left*
    is what there is of each class: C, or O x C when each offer has its own.
    """
    need = problem.need.astype(np.float64)
    free = problem.capacity[offers].astype(np.float64)
    most = np.broadcast_to(np.minimum(left, problem.limit), (len(offers), len(worth)))
    pods = np.zeros(most.shape, dtype=np.int64)
    allowed = problem.fits[:, offers].T & (worth > 0) & (most > 0)
    live = np.arange(len(offers))
    while len(live):
        room = free[live]
        now = allowed[live] & (pods[live] < most[live])
        for resource in range(need.shape[1]):
            now &= need[None, :, resource] <= room[:, resource, None]
        allowed[live] = now
        best, found = _best_class(need, room, np.where(now, worth, 0.0), by_largest=by_largest)
        live, best, room = live[found], best[found], room[found]
        asked = need[best]
        ratio = np.where(asked > 0, room / np.maximum(asked, 1.0), np.inf).min(axis=1)
        bite = np.minimum(np.floor(np.minimum(ratio, 1e15) * _BITE), (most[live, best] - pods[live, best]))
        bite = np.maximum(bite, 1.0)
        pods[live, best] += bite.astype(np.int64)
        free[live] -= bite[:, None] * asked
    return pods


def _best_class(need: Floats, room: Floats, worth: Floats, *, by_largest: bool) -> tuple[Ints, Bools]:
    scarcity = 1.0 / np.maximum(room, 1e-9)
    if by_largest:
        cost = scarcity[:, 0, None] * need[None, :, 0]
        for resource in range(1, need.shape[1]):
            np.maximum(cost, scarcity[:, resource, None] * need[None, :, resource], out=cost)
    else:
        cost = scarcity @ need.T
    score = worth / np.maximum(cost, 1e-100)
    best = score.argmax(axis=1)
    return best, score[np.arange(len(best)), best] > 0


def spread(problem: Problem, offer: int, nodes: int, wanted: Ints) -> list[Batch]:
    """
    Fill *nodes* like nodes evenly with *wanted* (C) pods, as many as fit, largest class first.

    Each class goes where most of it would still fit (worst fit), which is what
    the scheduler's LeastAllocated does and keeps all nodes a like mix.
    """
    classes = np.flatnonzero((wanted > 0) & problem.fits[:, offer])
    share = (problem.need[classes] / np.maximum(problem.capacity[offer], 1)).max(axis=1, initial=0.0)
    free = np.repeat(problem.capacity[offer][None], nodes, axis=0)
    content = np.zeros((nodes, len(classes)), dtype=np.int64)
    for index in np.argsort(-share, kind="stable"):
        row = classes[index]
        placed = _level(free, problem.need[row], int(wanted[row]), int(problem.limit[row]))
        free -= placed[:, None] * problem.need[row]
        content[:, index] = placed
    return _batches(offer, content, classes, len(wanted))


def _level(free: Ints, need: Ints, count: int, limit: int) -> Ints:
    """Put *count* pods on the nodes with most room for them, as water finds its level; return pods per node."""
    asked = need > 0
    most = np.minimum((free[:, asked] // need[asked]).min(axis=1, initial=limit), limit)
    if most.sum() <= count or count <= 0:
        return most if count > 0 else np.zeros_like(most)
    room = (free[:, asked] / need[asked]).min(axis=1, initial=float(limit))
    room = np.where(most > 0, np.minimum(room, float(limit) + 1.0), -np.inf)
    order = np.argsort(-room, kind="stable")
    ranked = room[order][: int((most > 0).sum())]
    poured = np.cumsum(ranked) - np.arange(1, len(ranked) + 1) * ranked
    used = int(np.searchsorted(poured, count, side="right"))
    level = (float(ranked[:used].sum()) - count) / used
    placed = np.clip(np.floor(np.where(most > 0, room - level, 0.0)), 0, most).astype(np.int64)
    while (missing := count - int(placed.sum())) > 0:
        open_ = np.flatnonzero(placed < most)
        chosen = open_[np.argsort(-(room[open_] - placed[open_]), kind="stable")[:missing]]
        placed[chosen] += 1
    if missing < 0:
        chosen = order[placed[order] > 0][missing:]
        placed[chosen] -= 1
    return placed


def _batches(offer: int, content: Ints, classes: Ints, width: int) -> list[Batch]:
    """Join equal nodes (rows of *content*) into batches."""
    content = content[content.any(axis=1)]
    if not len(content):
        return []
    order = np.lexsort(content.T)
    ranked = content[order]
    fresh = np.concatenate([[True], (ranked[1:] != ranked[:-1]).any(axis=1)])
    firsts = np.flatnonzero(fresh)
    repeats = np.diff(np.append(firsts, len(ranked)))
    found = []
    for first, repeat in zip(firsts.tolist(), repeats.tolist(), strict=True):
        pods = np.zeros(width, dtype=np.int64)
        pods[classes] = ranked[first]
        found.append(Batch(offer=offer, pods=pods, repeat=repeat))
    return found


def trim(batches: list[Batch], surplus: Ints) -> list[Batch]:
    """Take *surplus* (C) pods out again; each class has at least so many in *batches*."""
    for row in np.flatnonzero(surplus > 0).tolist():
        extra, kept = int(surplus[row]), []
        for batch in batches:
            held = int(batch.pods[row])
            if not extra or not held:
                kept.append(batch)
                continue
            whole = min(batch.repeat, extra // held)
            part = extra - whole * held if whole < batch.repeat else 0
            for nodes, removed in ((whole, held), (1 if part else 0, part), (batch.repeat - whole - bool(part), 0)):
                if nodes:
                    kept.append(_with_more(batch, row, -removed, nodes))
            extra -= whole * held + part
        batches = kept
    return batches


def top_up(problem: Problem, batches: list[Batch], left: Ints) -> tuple[list[Batch], Ints]:
    """Put pods that are *left* (C) into free room of *batches*, largest first; return both as they then are."""
    batches, left = list(batches), left.copy()
    share = (problem.need / np.maximum(problem.capacity.max(axis=0, initial=1), 1)).max(axis=1, initial=0.0)
    free = problem.capacity[np.array([batch.offer for batch in batches], dtype=np.int64)] - _used(problem, batches)
    for row in np.argsort(-share, kind="stable").tolist():
        if not left[row] or not batches:
            continue
        most = _room_for(problem, batches, free, row)
        split: list[tuple[Batch, Ints]] = []
        for index in np.flatnonzero(most).tolist():
            batch, fits, wanted = batches[index], int(most[index]), int(left[row])
            whole = min(batch.repeat, wanted // fits)
            part = wanted - whole * fits if whole < batch.repeat else 0
            left[row] -= whole * fits + part
            *more, (added, nodes) = [
                (added, nodes)
                for added, nodes in ((0, batch.repeat - whole - bool(part)), (part, int(part > 0)), (fits, whole))
                if nodes
            ]
            split += [(_with_more(batch, row, *each), free[index] - each[0] * problem.need[row]) for each in more]
            batches[index] = _with_more(batch, row, added, nodes)
            free[index] -= added * problem.need[row]
            if not left[row]:
                break
        batches += [batch for batch, _ in split]
        free = np.concatenate([free, *(room[None] for _, room in split)])
    return batches, left


def _used(problem: Problem, batches: list[Batch]) -> Ints:
    """Return what the pods of each batch take of a node (B x R); exact, as capacities count one by one in a float."""
    pods = np.array([batch.pods for batch in batches], dtype=np.float64).reshape(len(batches), len(problem.need))
    used: Ints = (pods @ problem.need.astype(np.float64)).astype(np.int64)
    return used


def _room_for(problem: Problem, batches: list[Batch], free: Ints, row: int) -> Ints:
    """Return how many more pods of class *row* each node of each batch holds."""
    offers = np.array([batch.offer for batch in batches])
    held = np.array([batch.pods[row] for batch in batches])
    asked = problem.need[row] > 0
    limit = int(problem.limit[row])
    most = (free[:, asked] // problem.need[row][asked]).min(axis=1, initial=limit)
    return np.where(problem.fits[row, offers], np.minimum(most, limit - held), 0)


def _with_more(batch: Batch, row: int, added: int, nodes: int) -> Batch:
    if not added:
        return msgspec.structs.replace(batch, repeat=nodes)
    pods = batch.pods.copy()
    pods[row] += added
    return Batch(offer=batch.offer, pods=pods, repeat=nodes)


def downsize(problem: Problem, batches: list[Batch], room: Floats) -> list[Batch]:
    """Move each batch to the cheapest offer that holds it; *room* (T) is what may still be bought."""
    batches = [batch for batch in batches if batch.pods.any()]
    if not batches:
        return []
    pods = np.array([batch.pods for batch in batches])
    used = _used(problem, batches)
    holds = ~((pods > 0).astype(np.float32) @ (~problem.fits).astype(np.float32) > 0)
    for resource in range(used.shape[1]):
        holds &= used[:, resource, None] <= problem.capacity[None, :, resource]
    room, found = room.copy(), []
    for batch, cheaper in zip(batches, holds, strict=True):
        choices = np.flatnonzero(cheaper & (problem.price < problem.price[batch.offer]) & (room >= batch.repeat))
        if len(choices):
            offer = int(choices[np.argmin(problem.price[choices])])
            room[offer] -= batch.repeat
            room[batch.offer] += batch.repeat
            found.append(Batch(offer=offer, pods=batch.pods, repeat=batch.repeat))
        else:
            found.append(batch)
    return found
