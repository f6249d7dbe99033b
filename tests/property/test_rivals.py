"""On any mix of rivals, documents and modes: never two that act on the same thing."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.plan import EvictPod, GiveBack, ResizePod, SetAside, SetReplicas, SetRequests
from autoscaler.model.policy import Policies
from autoscaler.model.state import DecisionState
from autoscaler.model.workload import Rival
from autoscaler.planning.decide import decide
from autoscaler.telemetry.record import encode_decision
from autoscaler.testing.builders import make_rival
from tests.unit.planning.decisions import ENGINES, cluster, key, mpa, policies

KINDS = ("HorizontalPodAutoscaler", "VerticalPodAutoscaler", "ScaledObject", "MultidimPodAutoscaler")
NAMES = ("web", "api")
ACTING = ("Initial", "Auto")

rivals = st.lists(
    st.builds(
        make_rival,
        st.sampled_from(("a", "b")),
        kind=st.sampled_from(KINDS),
        workload=st.sampled_from([key(name) for name in (*NAMES, "gone")]),
        acts_on=st.sampled_from([("replicas",), ("requests",), ("replicas", "requests")]),
        owner=st.sampled_from(["", "", "ScaledObject/a", "Fleet/x"]),
        set_aside=st.booleans(),
    ),
    max_size=5,
    unique_by=lambda rival: rival.key,
)
documents = st.fixed_dictionaries(
    {
        "updateMode": st.sampled_from(["Off", "Recommend", *ACTING]),
        "engine": st.sampled_from([*ENGINES, "nobodys"]),
        "takeOver": st.booleans(),
    }
)
loads = st.one_of(st.none(), st.floats(0.0, 12.0))


@settings(max_examples=150, deadline=None)
@given(rivals, st.dictionaries(st.sampled_from(NAMES), documents), loads)
def test_never_two_at_once(others: list[Rival], by_name: dict[str, dict[str, object]], load: float | None) -> None:
    mpas = tuple(mpa(name, policy=policy) for name, policy in sorted(by_name.items()))
    rules = Policies(mpas=mpas, scaling=policies().scaling if "api" in by_name else ())
    snapshot = cluster(dict.fromkeys(NAMES, (3, load)), rivals=others)
    found = decide(snapshot, rules, DecisionState())
    turned = msgspec.structs.replace(snapshot, rivals=snapshot.rivals[::-1])
    assert encode_decision(decide(turned, rules, DecisionState())) == encode_decision(found)

    by_key = {rival.key: rival for rival in others}
    back = {action.rival for action in found.plan.actions if isinstance(action, GiveBack)}
    # One behind which another rival stands does as that one says.
    alone = [rival for rival in others if rival.owner != "ScaledObject/a" or "default/ScaledObject/a" not in by_key]
    live = {(r.workload, what) for r in alone if not r.set_aside or r.key in back for what in r.acts_on}
    for action in found.plan.actions:
        if isinstance(action, SetReplicas):
            assert (action.workload, "replicas") not in live
        elif isinstance(action, SetRequests | ResizePod) or (isinstance(action, EvictPod) and not action.node):
            assert (action.workload, "requests") not in live
        elif isinstance(action, SetAside):
            policy = by_name.get(action.workload.rsplit("/", 1)[-1], {})
            assert policy.get("takeOver")
            assert policy["updateMode"] in ACTING
            assert not by_key[action.rival].set_aside
        elif isinstance(action, GiveBack):
            assert by_key[action.rival].set_aside
    assert not back & {action.rival for action in found.plan.actions if isinstance(action, SetAside)}
