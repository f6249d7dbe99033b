"""
Column generation over whole nodes: which filled nodes, how many of each.

    min  sum_p price[p] x[p]   s.t.  sum_p pods[p, c] x[p] >= count[c],  x >= 0,  nodes of an offer <= room

(Gilmore and Gomory, "A linear programming approach to the cutting-stock
problem", 1961.) The master starts from evenly filled nodes of the divisible
optimum; new columns are filled by value at prices that are a blend of the
master's duals and the relaxation's, which keeps them from swinging.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from autoscaler.model.arrays import Floats, Ints
from autoscaler.scheduling.packing_fill import Batch, fill_nodes
from autoscaler.scheduling.packing_lp import OPTIONS
from autoscaler.scheduling.packing_problem import Problem

_BLEND, _BLEND_ROUNDS = 0.5, 20
"""Weight of the relaxation's prices at first, and when it has gone."""
_LOOK_AT_ALL, _LIKELY = 5, 24
"""Every so many rounds all offers are filled, in between only so many that came closest to paying."""
_WOBBLE = 0.03
"""Prices are wobbled by this share (the same each time), which finds columns that exact prices never reach."""
_UNSERVED = 64.0
_PAYS = 1e-6
_GOOD = 1.0075
"""Close enough to the bound to stop: what whole numbers cost afterwards is more."""


class ColumnProgram:
    """The restricted master of one problem."""

    def __init__(self, problem: Problem, worth: Floats) -> None:
        import highspy

        self._problem, self._worth = problem, worth
        self._infinity = highspy.kHighsInf
        new_solver: Any = highspy.Highs
        self._solver = new_solver()
        for option, value in OPTIONS:
            self._solver.setOptionValue(option, value)
        self._limited = np.flatnonzero(np.isfinite(problem.room))
        self._room_row = np.full(len(problem.room), -1, dtype=np.int64)
        self._room_row[self._limited] = len(problem.count) + np.arange(len(self._limited))
        self._offers: list[Ints] = []
        self._pods: list[Ints] = []
        self._add_rows()
        if len(self._limited):
            classes = len(problem.count)
            dear = _UNSERVED * np.maximum(worth, problem.price.max(initial=0.0) * 1e-3)
            index = np.arange(classes, dtype=np.int32)
            upper = np.full(classes, self._infinity)
            self._solver.addCols(classes, dear, np.zeros(classes), upper, classes, index, index, np.ones(classes))
        self.add(*self._alone())

    def improve(self, rounds: int, *, bound: float) -> None:
        """Generate columns for up to *rounds* rounds, until none pays or the value is close to *bound* (USD/h)."""
        every = np.arange(len(self._problem.price))
        offers = every
        for step in range(rounds):
            duals, room_duals = self._duals()
            if float(self._solver.getInfo().objective_function_value) <= bound * _GOOD:
                break
            looks_at_all = step % _LOOK_AT_ALL == 0
            offers = every if looks_at_all else offers
            blend = _BLEND * max(0.0, 1.0 - step / _BLEND_ROUNDS)
            worth: Floats = blend * self._worth + (1.0 - blend) * duals
            best = np.zeros(len(offers))
            for by_largest in (False, True):
                wobbled = worth * self._wobble(2 * step + by_largest)
                pods = fill_nodes(self._problem, wobbled, self._problem.count, offers=offers, by_largest=by_largest)
                ratio = (pods @ duals + room_duals[offers]) / self._problem.price[offers]
                best = np.maximum(best, ratio)
                if (ratio > 1.0 + _PAYS).any():
                    self.add(offers[ratio > 1.0 + _PAYS], pods[ratio > 1.0 + _PAYS])
            if looks_at_all:
                if best.max(initial=0.0) <= 1.0 + _PAYS:
                    break
                offers = np.sort(np.argsort(-best, kind="stable")[:_LIKELY])

    def add(self, offers: Ints, pods: Ints) -> None:
        """Add columns: *offers* (N) and their *pods* (N x C, at least one a row)."""
        row, column = np.nonzero(pods)
        value = pods[row, column].astype(np.float64)
        limited = np.flatnonzero(self._room_row[offers] >= 0)
        index = np.concatenate([column, self._room_row[offers[limited]]])
        owner = np.concatenate([row, limited])
        value = np.concatenate([value, np.ones(len(limited))])
        order = np.argsort(owner, kind="stable")
        starts = np.searchsorted(owner[order], np.arange(len(offers))).astype(np.int32)
        zeros, upper = np.zeros(len(offers)), np.full(len(offers), self._infinity)
        prices = self._problem.price[offers]
        self._solver.addCols(
            len(offers), prices, zeros, upper, len(order), starts, index[order].astype(np.int32), value[order]
        )
        self._offers.append(offers)
        self._pods.append(pods)

    def whole_nodes(self) -> list[Batch]:
        """Return the columns of the optimum, each as often as it is used in whole; may hold more pods than asked."""
        self._solver.run()
        first = len(self._problem.count) if len(self._limited) else 0
        times = np.floor(np.array(self._solver.getSolution().col_value)[first:] + 1e-7).astype(np.int64)
        offers, pods = np.concatenate(self._offers), np.concatenate(self._pods)
        return [
            Batch(offer=int(offers[index]), pods=pods[index], repeat=int(times[index]))
            for index in np.flatnonzero(times > 0)
        ]

    def _add_rows(self) -> None:
        classes = len(self._problem.count)
        none = np.zeros(0, dtype=np.int32), np.zeros(0)
        demand, free = self._problem.count.astype(np.float64), np.full(classes, self._infinity)
        self._solver.addRows(classes, demand, free, 0, np.zeros(classes, dtype=np.int32), *none)
        limited = len(self._limited)
        if limited:
            room = self._problem.room[self._limited]
            starts = np.zeros(limited, dtype=np.int32)
            self._solver.addRows(limited, np.full(limited, -self._infinity), room, 0, starts, *none)

    def _alone(self) -> tuple[Ints, Ints]:
        """Return for every class the offer on which it is cheapest alone, and that node full of it."""
        problem = self._problem
        asked = np.maximum(problem.need, 1)
        each = np.full(problem.fits.shape, np.iinfo(np.int64).max)
        for resource in range(problem.need.shape[1]):
            fits = problem.capacity[None, :, resource] // asked[:, resource, None]
            each = np.where(problem.need[:, resource, None] > 0, np.minimum(each, fits), each)
        each = np.minimum(each, np.minimum(problem.limit, problem.count)[:, None])
        each = np.where(problem.fits, each, 0)
        with np.errstate(divide="ignore"):
            cost = np.where(each > 0, problem.price[None] / each, np.inf)
        offers = cost.argmin(axis=1)
        classes = np.arange(len(offers))
        return offers.astype(np.int64), np.diag(each[classes, offers])

    def _duals(self) -> tuple[Floats, Floats]:
        """Return worth of a pod of each class (C), and what an offer's room is charged (T, at most 0)."""
        self._solver.run()
        duals = np.array(self._solver.getSolution().row_dual)
        room = np.zeros(len(self._problem.room))
        room[self._limited] = duals[len(self._problem.count) :]
        return duals[: len(self._problem.count)], room

    def _wobble(self, step: int) -> Floats:
        """Return factors near 1 from a low-discrepancy sequence: no chance, but no pattern either."""
        golden = 0.6180339887498949
        point = (np.arange(1, len(self._problem.count) + 1) * golden * (step + 1)) % 1.0
        return np.asarray(1.0 + _WOBBLE * (2.0 * point - 1.0), dtype=np.float64)
