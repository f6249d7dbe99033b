"""Properties of scale-up: groups only grow, within their bounds, and every pod is accounted for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.node import ON_DEMAND, SPOT, NodeGroup, NodeTemplate
from autoscaler.model.placement import Affinity, LabelSelector, PodTerm, TopologySpread
from autoscaler.model.pod import Container, PodShape
from autoscaler.model.resources import Resources
from autoscaler.planning.asks import share_out
from autoscaler.planning.cost import PurchaseLimits, list_price, planning_price
from autoscaler.planning.scale_up import ScaleUpRules, buy_for, scale_up
from autoscaler.planning.spot import SpotShare
from autoscaler.scheduling.topology import HOSTNAME, ZONE

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
AMOUNTS = st.one_of(st.integers(-5, 5000), st.sampled_from([0, 1 << 62, -(1 << 62), 10**30]))
LIMITS = st.sampled_from([float("inf"), 0.0, -1.0, 3000.0, float("nan")])
WEB = LabelSelector((("app", "web"),))
AFFINITIES = (
    Affinity(),
    Affinity(),
    Affinity(pod_anti_required=(PodTerm(HOSTNAME, WEB),)),
    Affinity(pod_anti_required=(PodTerm(ZONE, WEB),)),
    Affinity(pod_required=(PodTerm(ZONE, WEB),)),
)
SPREADS = ((), (), (TopologySpread(max_skew=1, topology_key=ZONE, selector=WEB, min_domains=2),))


@st.composite
def groups(draw: st.DrawFn) -> NodeGroup:
    room = Resources.of(cpu=draw(AMOUNTS), memory=draw(AMOUNTS), pods=draw(AMOUNTS))
    return NodeGroup(
        name=draw(st.sampled_from("abcd")),
        template=NodeTemplate(instance_type="m", allocatable=room, overhead=Resources.of(cpu=draw(AMOUNTS))),
        target_size=draw(st.integers(0, 12)),
        max_size=draw(st.integers(0, 12)),
        usd_per_hour=draw(NUMBERS),
        zone=draw(st.sampled_from(["", "x", "y"])),
        capacity_type=draw(st.sampled_from([SPOT, ON_DEMAND])),
        interruptions_per_hour=draw(NUMBERS),
        boot_seconds=draw(NUMBERS),
        backoff_until=draw(NUMBERS),
    )


@st.composite
def shapes(draw: st.DrawFn) -> PodShape:
    requests = Resources.of(cpu=draw(AMOUNTS), memory=draw(AMOUNTS))
    return PodShape(
        namespace="n",
        labels=(("app", draw(st.sampled_from(["web", "db"]))),),
        containers=(Container(name="c", requests=requests),),
        affinity=draw(st.sampled_from(AFFINITIES)),
        spread=draw(st.sampled_from(SPREADS)),
        priority=draw(st.integers(-1, 1)),
    )


PENDING = st.lists(st.tuples(shapes(), st.integers(-1, 30)), max_size=4)
RULES = st.builds(
    ScaleUpRules,
    limits=st.builds(PurchaseLimits, cpu=LIMITS, memory=LIMITS, usd_per_hour=LIMITS, nodes=LIMITS),
    spot=st.builds(SpotShare, max_share=st.sampled_from([0.0, 0.5, 1.0]), base=st.integers(0, 3)),
)


@settings(max_examples=80, deadline=None)
@given(PENDING, st.lists(groups(), max_size=4), RULES)
def test_groups_only_grow_and_every_pod_is_accounted_for(
    pending: list[tuple[PodShape, int]], offered: list[NodeGroup], rules: ScaleUpRules
) -> None:
    plan = scale_up(pending, offered, now=1.0, rules=rules)
    for size in plan.sizes:
        of_name = [group for group in offered if group.name == size.group]
        assert any(size.expected == group.target_size and size.size <= group.max_size for group in of_name)
        assert size.size > size.expected
    served = sum(count for node in plan.nodes for _, count in node.pods)
    stranded = sum(each.count for each in plan.stranded)
    assert served + stranded + plan.placed == sum(max(0, count) for _, count in pending)
    assert all(each.reasons for each in plan.stranded)
    assert plan.usd_per_hour >= 0.0


@settings(max_examples=40, deadline=None)
@given(PENDING, st.lists(groups(), max_size=4))
def test_a_price_for_consolidation_never_fails(pending: list[tuple[PodShape, int]], offered: list[NodeGroup]) -> None:
    offer = buy_for(offered, now=1.0)(pending)
    assert offer is None or offer[1] >= 0.0


@settings(max_examples=100, deadline=None)
@given(groups(), st.floats(0.0, 1.0))
def test_prices_are_never_negative(group: NodeGroup, usd_per_eviction: float) -> None:
    assert planning_price(group, usd_per_eviction=usd_per_eviction) >= list_price(group) >= 0.0


@settings(max_examples=150, deadline=None)
@given(
    st.integers(-1, 10**9),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 10**6)),
    st.dictionaries(st.sampled_from("xyz"), st.integers(0, 10**6)),
    st.integers(0, 5),
)
def test_shares_keep_the_skew(count: int, open_: dict[str, int], fixed: dict[str, int], skew: int) -> None:
    shares = share_out(count, open_, fixed={**open_, **fixed}, skew=skew)
    assert set(shares) == set(open_)
    assert all(share >= 0 for share in shares.values())
    assert sum(shares.values()) <= max(0, count)
    grown = {domain: open_[domain] + share for domain, share in shares.items() if share}
    if grown and skew:
        lowest = min([open_[domain] + shares[domain] for domain in open_] + list(fixed.values()))
        assert max(grown.values()) - lowest <= skew
