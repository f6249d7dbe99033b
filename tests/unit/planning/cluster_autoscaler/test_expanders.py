"""Chains of expanders: what is wrong with one, and which of equals is taken."""

from __future__ import annotations

import pytest

from autoscaler.model.resources import Resources
from autoscaler.model.units import GIB
from autoscaler.planning.cluster_autoscaler.expanders import (
    Facts,
    Option,
    best_option,
    chain_problem,
    priorities_of,
    run_chain,
)


def option(group: str, *, nodes: int = 1, pods: int = 1, cpu: int = 4000, usd: float = 0.2) -> Option:
    return Option(
        group=group,
        nodes=nodes,
        pods=pods,
        requests=Resources.of(cpu=500 * pods, memory=GIB * pods),
        capacity=Resources.of(cpu=cpu, memory=16 * GIB),
        usd_per_hour=usd,
    )


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        pytest.param(("price", "random"), "", id="a-good-one"),
        pytest.param((), "at least one", id="empty"),
        pytest.param(("cheapest",), "no expander 'cheapest'", id="unknown"),
        pytest.param(("price", "price"), "price is there twice", id="twice"),
        pytest.param(("random", "price"), "never asked", id="after-random"),
    ],
)
def test_chain_problem(chain: tuple[str, ...], words: str) -> None:
    problem = chain_problem(chain)
    assert words in problem
    assert bool(problem) == bool(words)


@pytest.mark.parametrize("expander", ["random", "most-pods", "least-nodes", "least-waste", "price", "priority"])
def test_of_equals_the_first_by_name(expander: str) -> None:
    best = best_option([option("b"), option("a")], [expander], Facts())
    assert best is not None
    assert best.group == "a"


def test_no_option_no_choice() -> None:
    assert best_option([], ["least-waste"], Facts()) is None


def test_a_chain_ends_with_the_first_that_leaves_one() -> None:
    options = [option("a", nodes=2), option("b", nodes=1), option("c", nodes=2)]
    assert [stage.expander for stage in run_chain(options, ["least-nodes", "price"], Facts())] == ["least-nodes"]


def test_a_machine_without_memory_is_not_divided_by() -> None:
    odd = Option(group="odd", nodes=1, pods=1, requests=Resources.of(cpu=1), capacity=Resources.of(cpu=1000))
    best = best_option([option("a"), odd], ["least-waste", "price"], Facts())
    assert best is not None
    assert best.group == "a"


@pytest.mark.parametrize(
    ("document", "count"),
    [
        pytest.param({"10": [".*small.*"]}, 1, id="as-a-policy-writes-it"),
        pytest.param({10: ["("]}, 0, id="not-an-expression"),
        pytest.param({"high": ["a"]}, 0, id="not-a-number"),
        pytest.param(["a"], 0, id="not-a-mapping"),
        pytest.param(None, 0, id="nothing"),
    ],
)
def test_priorities_of(document: object, count: int) -> None:
    assert len(priorities_of(document)) == count


def test_priorities_without_a_match_filter_nothing() -> None:
    facts = Facts(priorities={10: ["zebra"]})
    assert len(run_chain([option("a"), option("b")], ["priority"], facts)[-1].best) == 2
