"""What holds of Karpenter's algebra and simulation whatever is asked."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.placement import NO_AFFINITY, Affinity
from autoscaler.model.pod import PodShape
from autoscaler.model.resources import Resources
from autoscaler.planning.karpenter.queue import WaitingPod
from autoscaler.planning.karpenter.requirements import Requirement, requirement
from autoscaler.planning.karpenter.solve import solve
from autoscaler.planning.karpenter.unstable_sort import sort_unstably
from autoscaler.scheduling.requests import node_demand
from autoscaler.scheduling.topology import HOSTNAME, ZONE
from tests.unit.planning.karpenter.pools import TYPES, of_app, pool, shape, spread

VALUES = st.sampled_from(["0", "1", "5", "9", "x", "y"])
PROBES = ("0", "1", "2", "5", "9", "10", "x", "y", "z")


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"]))
    if operator in ("In", "NotIn"):
        values = tuple(draw(st.lists(VALUES, min_size=1, max_size=4, unique=True)))
    else:
        values = (str(draw(st.integers(0, 9))),) if operator[0] in "GL" else ()
    return requirement("k", operator, values, draw(st.none() | st.integers(1, 3)))


@given(requirements(), requirements(), requirements())
def test_cutting_is_what_it_says(a: Requirement, b: Requirement, c: Requirement) -> None:
    both = a & b
    assert both == b & a
    assert (both & c) == (a & (b & c))
    assert all(both.has(value) == (a.has(value) and b.has(value)) for value in PROBES)
    assert a.meets(b) == b.meets(a)
    if any(both.has(value) for value in PROBES):
        assert a.meets(b)
    if not both.complement:
        assert a.meets(b) == bool(both.values)


@given(requirements())
def test_cutting_with_itself_changes_nothing_that_matters(a: Requirement) -> None:
    assert all((a & a).has(value) == a.has(value) for value in PROBES)


@given(st.lists(st.integers(0, 6), max_size=120))
def test_an_unstable_sort_sorts(keys: list[int]) -> None:
    before, items = list(keys), list(range(len(keys)))
    sort_unstably(keys, items)
    assert keys == sorted(before)
    assert [before[item] for item in items] == keys
    assert sorted(items) == list(range(len(before)))


@st.composite
def shapes(draw: st.DrawFn) -> PodShape:
    app, keys = draw(st.sampled_from("ab")), st.sampled_from([ZONE, HOSTNAME])
    rules = draw(st.just(()) | st.builds(lambda other, key: (spread(other, key),), st.sampled_from("ab"), keys))
    terms = (of_app(app, draw(keys)),)
    affinity = draw(st.sampled_from([NO_AFFINITY, Affinity(pod_required=terms), Affinity(pod_anti_required=terms)]))
    return shape(draw(st.sampled_from([100, 700, 1900, 5000])), app=app, spread=rules, affinity=affinity)


demands = st.lists(st.tuples(shapes(), st.integers(1, 4)), min_size=1, max_size=5)


def pods_of(demand: list[tuple[PodShape, int]]) -> list[WaitingPod]:
    return [
        WaitingPod(key=f"{at}-{number}", shape=each)
        for at, (each, count) in enumerate(demand)
        for number in range(count)
    ]


@given(demands)
@settings(max_examples=60, deadline=None)
def test_every_pod_has_one_place_and_every_claim_a_type_that_holds_it(demand: list[tuple[PodShape, int]]) -> None:
    pods = pods_of(demand)
    solution = solve(pods, [pool()])
    found = Counter(key for claim in solution.claims for key in claim.pods)
    found.update(key for key, _ in solution.refused)
    assert found == Counter(pod.key for pod in pods)
    asked = {pod.key: node_demand(pod.shape) for pod in pods}
    by_name = {each.name: each for each in TYPES}
    for claim in solution.claims:
        total = Resources()
        for key in claim.pods:
            total += asked[key]
        assert claim.requests == total
        assert all(total.fits_in(by_name[name].allocatable) for name in claim.types)
        assert claim.cheapest == claim.types[0]


@given(demands, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_in_which_pods_are_given_does_not_matter(demand: list[tuple[PodShape, int]], random: object) -> None:
    pods = pods_of(demand)
    shuffled = list(pods)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert solve(pods, [pool()]) == solve(shuffled, [pool()])


@given(demands)
@settings(max_examples=40, deadline=None)
def test_hosts_keep_apart_what_wants_to_be_apart(demand: list[tuple[PodShape, int]]) -> None:
    pods = pods_of(demand)
    of_key = {pod.key: pod.shape for pod in pods}
    for claim in solve(pods, [pool()]).claims:
        here = [of_key[key] for key in claim.pods]
        for each in here:
            for term in each.affinity.pod_anti_required:
                if term.topology_key == HOSTNAME:
                    assert sum(other.labels == each.labels for other in here) == 1
