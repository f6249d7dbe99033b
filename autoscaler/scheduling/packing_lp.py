"""
The divisible relaxation of a packing, solved by generating pairs and cuts.

    min  sum_t price[t] n[t]
    s.t. sum_t y[c, t] = count[c]                                for each class
         sum_c need[c, r] y[c, t] <= capacity[t, r] n[t]         for each offer and resource
         sum_c uses[c] y[c, t] <= allowed n[t]                   for each cut of offer t
         n[t] <= room[t]

Only (class, offer) pairs that can pay are in the program: it starts with a few
per class and adds those whose reduced cost is negative. Cuts are rules that
whole pods obey: a class's limit per node, and dual-feasible functions of a
resource (Fekete and Schepers, "New classes of fast lower bounds for bin packing
problems", 2001): of pods that take more than 1/(k+1) of a node, at most k fit.
It ends when the certified bound meets the program's value. HiGHS keeps its
basis between rounds and between demands.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from autoscaler.model.arrays import Bools, Floats, Ints
from autoscaler.scheduling.packing_bound import Cut, Values, certify
from autoscaler.scheduling.packing_problem import NO_LIMIT, Problem

OPTIONS = (("output_flag", False), ("threads", 1), ("presolve", "off"), ("simplex_strategy", 4))
"""Primal simplex (4): a program that has gained columns is still primal feasible. Presolve would lose the basis."""
_PAIRS_A_ROUND = 3
_ROUNDS = 40
_CLOSE = 2e-4
_CUT_STEPS = (1, 2, 3, 4)
_BROKEN = 1e-3
"""A cut is added when it is broken by this share of what is allowed."""
_UNSERVED = 64.0
"""Price of leaving a pod out, in multiples of its quick worth; only where room is limited."""


class Mix(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """
    A fractional node mix: `nodes` (T) of each offer, and `pods[i]` pods of class `classes[i]` on offer `offers[i]`.

    `values` hold the certified bound for the same demand.
    """

    nodes: Floats
    classes: Ints
    offers: Ints
    pods: Floats
    values: Values

    def wanted(self, problem: Problem) -> Ints:
        """Return what goes on the whole nodes alone, in whole pods (T x C)."""
        whole = np.floor(self.nodes + 1e-9)
        share = np.divide(whole, self.nodes, out=np.zeros_like(whole), where=self.nodes > 0)
        pods = np.zeros((len(self.nodes), len(problem.count)), dtype=np.int64)
        pods[self.offers, self.classes] = np.floor(self.pods * share[self.offers] + 1e-6)
        return pods


class NodeMixProgram:
    """The linear program of one problem, kept warm; `solve` may be called for one demand after another."""

    def __init__(self, problem: Problem, start: Values) -> None:
        import highspy

        self._problem = problem
        self._infinity = highspy.kHighsInf
        new_solver: Any = highspy.Highs
        self._solver = new_solver()
        for option, value in OPTIONS:
            self._solver.setOptionValue(option, value)
        self._size = problem.capacity.max(axis=0, initial=1).astype(np.float64)
        self._need = problem.need / self._size
        self._capacity = problem.capacity / self._size
        self._paired = np.zeros(problem.fits.shape, dtype=bool)
        self._pair_classes: Ints = np.zeros(0, dtype=np.int64)
        self._pair_offers: Ints = np.zeros(0, dtype=np.int64)
        self._cuts: list[Cut] = []
        self._cut_keys: set[tuple[int, int, int]] = set()
        self._values = start
        self._first_pair = 0
        self._add_rows_and_nodes(start)
        worth = np.where(problem.fits, problem.need @ start.weights.T, np.inf)
        self._add_pairs(*_lowest(worth, _PAIRS_A_ROUND))

    def solve(self, count: Ints, *, room: Floats | None = None) -> Mix:
        """
        Return the relaxation's optimum for *count* pods of each class, to within 0.02 %.

        *room* (T) replaces the problem's; the values then hold no more than the problem's own room allows.
        """
        if room is not None and self._problem.has_limited_room:
            offers = len(room)
            upper = np.where(np.isinf(room), self._infinity, np.maximum(room, 0.0))
            self._solver.changeColsBounds(offers, np.arange(offers, dtype=np.int32), np.zeros(offers), upper)
        classes = len(count)
        demand = count.astype(np.float64)
        self._solver.changeRowsBounds(classes, np.arange(classes, dtype=np.int32), demand, demand)
        best = certify(
            self._problem, self._values.weights, count, cuts=self._cuts, cut_weights=self._values.cut_weights
        )
        for _ in range(_ROUNDS):
            self._solver.run()
            weights, cut_weights = self._weights()
            found = certify(self._problem, weights, count, cuts=self._cuts, cut_weights=cut_weights)
            best = max(best, found, key=lambda values: values.bound)
            value = float(self._solver.getInfo().objective_function_value)
            grown = 0
            if value - best.bound <= _CLOSE * value:
                grown = self._add_cuts()
                if not grown:
                    break
            if not self._add_pairs(*self._paying_pairs(weights, cut_weights)) and not grown:
                break
        self._values = best
        return self._mix(best)

    def _mix(self, values: Values) -> Mix:
        solution = np.array(self._solver.getSolution().col_value)
        pods = np.maximum(solution[self._first_pair :][: len(self._pair_classes)], 0.0)
        pods = np.concatenate([pods, np.zeros(len(self._pair_classes) - len(pods))])
        used = pods > 1e-9
        return Mix(
            nodes=np.maximum(solution[: len(self._problem.price)], 0.0),
            classes=self._pair_classes[used],
            offers=self._pair_offers[used],
            pods=pods[used],
            values=values,
        )

    def _add_rows_and_nodes(self, start: Values) -> None:
        problem, solver = self._problem, self._solver
        classes, (offers, resources) = len(problem.count), problem.capacity.shape
        none = np.zeros(0, dtype=np.int32), np.zeros(0)
        zeros = np.zeros(classes)
        solver.addRows(classes, zeros, zeros, 0, np.zeros(classes, dtype=np.int32), *none)
        rows = offers * resources
        solver.addRows(rows, np.full(rows, -self._infinity), np.zeros(rows), 0, np.zeros(rows, dtype=np.int32), *none)
        index = classes + np.arange(rows, dtype=np.int32)
        starts = np.arange(offers, dtype=np.int32) * resources
        upper = np.where(np.isinf(problem.room), self._infinity, problem.room)
        solver.addCols(offers, problem.price, np.zeros(offers), upper, rows, starts, index, -self._capacity.ravel())
        self._first_pair = offers
        if problem.has_limited_room:
            dear = _UNSERVED * np.maximum(start.usd_per_pod, problem.price.max(initial=0.0) * 1e-3)
            one = np.arange(classes, dtype=np.int32)
            solver.addCols(classes, dear, zeros, np.full(classes, self._infinity), classes, one, one, np.ones(classes))
            self._first_pair += classes

    def _add_pairs(self, classes: Ints, offers: Ints) -> int:
        """Add columns for these pairs; return how many."""
        added = len(classes)
        if not added:
            return 0
        resources = self._need.shape[1]
        column = np.repeat(np.arange(added), resources + 1)
        rows = np.empty((added, resources + 1), dtype=np.int64)
        rows[:, 0] = classes
        rows[:, 1:] = len(self._problem.count) + offers[:, None] * resources + np.arange(resources)
        value = np.empty((added, resources + 1))
        value[:, 0] = 1.0
        value[:, 1:] = self._need[classes]
        parts = [(column, rows.ravel(), value.ravel()), *self._cut_entries(classes, offers)]
        column, row, amount = (np.concatenate(side) for side in zip(*parts, strict=True))
        order = np.argsort(column, kind="stable")
        starts = np.searchsorted(column[order], np.arange(added)).astype(np.int32)
        zeros, upper = np.zeros(added), np.full(added, self._infinity)
        self._solver.addCols(added, zeros, zeros, upper, len(row), starts, row[order].astype(np.int32), amount[order])
        self._paired[classes, offers] = True
        self._pair_classes = np.concatenate([self._pair_classes, classes])
        self._pair_offers = np.concatenate([self._pair_offers, offers])
        return added

    def _cut_entries(self, classes: Ints, offers: Ints) -> list[tuple[Ints, Ints, Floats]]:
        first = len(self._problem.count) + self._capacity.size
        entries = []
        for index, cut in enumerate(self._cuts):
            touched = np.flatnonzero((offers == cut.offer) & (cut.uses[classes] > 0))
            entries.append((touched, np.full(len(touched), first + index), cut.uses[classes[touched]]))
        return entries

    def _add_cuts(self) -> int:
        """Add the cuts that the present solution breaks; return how many."""
        solution = np.array(self._solver.getSolution().col_value)
        nodes, pods = solution[: len(self._problem.price)], solution[self._first_pair :]
        before = len(self._cuts)
        for offer in np.flatnonzero(nodes > 1e-6).tolist():
            here = np.flatnonzero((self._pair_offers == offer) & (pods > 1e-9))
            classes = self._pair_classes[here]
            for key, cut in self._candidate_cuts(offer, classes):
                if key not in self._cut_keys and cut.uses[classes] @ pods[here] > cut.allowed * nodes[offer] * (
                    1.0 + _BROKEN
                ):
                    self._add_cut(key, cut)
        return len(self._cuts) - before

    def _candidate_cuts(self, offer: int, classes: Ints) -> list[tuple[tuple[int, int, int], Cut]]:
        problem = self._problem
        found = []
        for row in classes[problem.limit[classes] < NO_LIMIT].tolist():
            uses = np.zeros(len(problem.count))
            uses[row] = 1.0
            found.append(((offer, -1, row), Cut(offer=offer, uses=uses, allowed=float(problem.limit[row]))))
        for resource in np.flatnonzero(problem.capacity[offer] > 0).tolist():
            capacity = int(problem.capacity[offer, resource])
            for step in _CUT_STEPS:
                uses = _at_most(problem.need[:, resource], capacity, step)
                found.append(((offer, resource, step), Cut(offer=offer, uses=uses, allowed=float(step))))
        return found

    def _add_cut(self, key: tuple[int, int, int], cut: Cut) -> None:
        here = np.flatnonzero((self._pair_offers == cut.offer) & (cut.uses[self._pair_classes] > 0))
        index = np.concatenate([[cut.offer], self._first_pair + here]).astype(np.int32)
        value = np.concatenate([[-cut.allowed], cut.uses[self._pair_classes[here]]])
        self._solver.addRow(-self._infinity, 0.0, len(index), index, value)
        self._cuts.append(cut)
        self._cut_keys.add(key)

    def _weights(self) -> tuple[Floats, Floats]:
        """Return the duals of capacity (T x R, per unit) and of the cuts."""
        duals = -np.array(self._solver.getSolution().row_dual)
        first, shape = len(self._problem.count), self._capacity.shape
        rows = self._capacity.size
        return duals[first : first + rows].reshape(shape) / self._size, np.maximum(duals[first + rows :], 0.0)

    def _paying_pairs(self, weights: Floats, cut_weights: Floats) -> tuple[Ints, Ints]:
        duals = np.array(self._solver.getSolution().row_dual)[: len(self._problem.count)]
        reduced = self._problem.need @ np.maximum(weights, 0.0).T - duals[:, None]
        for index in np.flatnonzero(cut_weights):
            cut = self._cuts[index]
            reduced[:, cut.offer] += cut_weights[index] * cut.uses
        paying = self._problem.fits & ~self._paired & (reduced < -1e-7 * np.maximum(duals[:, None], 1e-9))
        return _lowest(np.where(paying, reduced, np.inf), _PAIRS_A_ROUND)


def _at_most(need: Ints, capacity: int, step: int) -> Floats:
    """
    Return what each pod takes of the *step* units that a node has under the dual-feasible function u(step).

    A share x of a node counts step * x where (step + 1) x is whole, else floor((step + 1) x).
    """
    scaled = need * (step + 1)
    whole = scaled % capacity == 0
    result: Floats = np.where(whole, need * step / capacity, scaled // capacity)
    return result


def _lowest(score: Floats, each: int) -> tuple[Ints, Ints]:
    """Return up to *each* offers of lowest finite score for every class, as (classes, offers)."""
    order = np.argsort(score, axis=1, kind="stable")[:, :each]
    chosen: Bools = np.isfinite(np.take_along_axis(score, order, axis=1))
    classes, position = np.nonzero(chosen)
    return classes.astype(np.int64), order[classes, position].astype(np.int64)
