"""
What load does to pods and nodes in one step: CPU shares, waiting, slow and dropped requests.

Pure functions on columns; one entry a pod unless said otherwise. The rules are
docs/explanation/simulator.md's: traffic splits evenly over Ready pods but for
noise, a node shares its cores by weighted max-min (cgroup shares, weights =
requests), a limit caps what a pod gets, and latency follows from waiting.
"""

from __future__ import annotations

import msgspec
import numpy as np

from autoscaler.model.arrays import Floats, Rows

SMALLEST_WEIGHT = 0.002
"""Cores: a container without a request still has cpu.weight 1, about 2 milli-cores."""
FULL = 0.995
"""Utilisation beyond which waiting is taken not to grow: the step ends before the queue does."""


def waiting(servers: Floats, utilisation: Floats) -> Floats:
    """
    Return the mean wait in service times at so many servers (Sakasegawa 1977's M/M/c approximation).

    *servers* is above 0; *utilisation* is cut to 0..0.995.
    """
    used = np.clip(utilisation, 0.0, FULL)
    exponent = np.sqrt(2 * (servers + 1)) - 1
    result: Floats = used**exponent / (servers * (1 - used))
    return result


def safe_utilisation(servers: float, slowdown: float) -> float:
    """Return the most utilisation at which the slow-down by waiting stays within *slowdown* (> 1), by bisection."""
    low, high = 0.0, FULL
    for _ in range(40):
        middle = (low + high) / 2
        if 1 + waiting(np.array([servers]), np.array([middle]))[0] <= slowdown:
            low = middle
        else:
            high = middle
    return low


def share_cores(wanted: Floats, weights: Floats, node: Rows, cores: Floats) -> Floats:
    """
    Return what each pod gets when nodes share their cores by weighted max-min.

    *node* is each pod's node, an index into *cores*. A pod never gets more than
    it wants; on a full node nobody gets more per weight than one who wants more.
    """
    total = np.bincount(node, wanted, minlength=len(cores))
    short = np.flatnonzero(total > cores)
    granted = wanted.copy()
    if not len(short):
        return granted
    squeezed = np.flatnonzero(np.isin(node, short))
    ratio = wanted[squeezed] / weights[squeezed]
    squeezed = squeezed[np.lexsort((ratio, node[squeezed]))]
    want, weight, where = wanted[squeezed], weights[squeezed], node[squeezed]
    starts = np.flatnonzero(np.r_[True, where[1:] != where[:-1]])
    lengths = np.diff(np.r_[starts, len(where)])
    # Serve pods in order of want per weight: while one wants less than its share of what is left, it gets all.
    left = cores[where] - _sum_before(want, starts, lengths)
    weight_left = np.repeat(np.add.reduceat(weight, starts), lengths) - _sum_before(weight, starts, lengths)
    level = left / np.maximum(weight_left, 1e-12)
    satisfied = want <= level * weight
    rank = np.arange(len(where)) - np.repeat(starts, lengths)
    first = np.minimum.reduceat(np.where(satisfied, lengths.max(), rank), starts)
    at = np.repeat(np.minimum(starts + first, starts + lengths - 1), lengths)
    capped = rank >= np.repeat(first, lengths)
    granted[squeezed] = np.where(capped, np.maximum(level[at], 0.0) * weight, want)
    return granted


class Served(msgspec.Struct):
    """
    How a step went, by pod: cores `used`, `slowdown` of its requests in service
    times, the share of its requests that were `dropped`, and the share of its
    demand that a limit `throttled`.
    """

    used: Floats
    slowdown: Floats
    dropped: Floats
    throttled: Floats


def serve(
    work: Floats, idle: Floats, *, ceiling: Floats, limit: Floats, weights: Floats, node: Rows, cores: Floats
) -> Served:
    """
    Run one step.

    Args:
        work: cores that each pod's requests need.
        idle: cores it uses besides.
        ceiling: cores it can use at most (its parallelism).
        limit: its CPU limit in cores, infinite for none.
        weights: its request in cores.
        node: its node, an index into *cores*.
        cores: by node, what its pods can share.
    """
    total = work + idle
    most = np.maximum(np.minimum(ceiling, limit), 1e-3)
    wanted = np.minimum(total, most)
    used = share_cores(wanted, np.maximum(weights, SMALLEST_WEIGHT), node, cores)
    load = np.bincount(node, wanted, minlength=len(cores))
    room = np.maximum(cores, 1e-3)
    short = used < total - 1e-9
    got = np.maximum(used - idle, 0.0)
    dropped = np.where(short & (work > 0), 1 - np.minimum(got / np.maximum(work, 1e-12), 1.0), 0.0)
    queue = waiting(most, total / most)
    busy = waiting(room, load / room)[node]
    slowdown = 1 + queue + busy
    throttled = np.where(np.isfinite(limit), np.maximum(total - limit, 0.0) / np.maximum(total, 1e-12), 0.0)
    return Served(used=used, slowdown=np.where(short, np.inf, slowdown), dropped=dropped, throttled=throttled)


def _sum_before(values: Floats, starts: Rows, lengths: Rows) -> Floats:
    """Within each segment, the sum of the values before each."""
    before = np.cumsum(values) - values
    result: Floats = before - np.repeat(before[starts], lengths)
    return result
