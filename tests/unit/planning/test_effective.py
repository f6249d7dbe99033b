from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.placement import labels_of
from autoscaler.model.policy import (
    Goals,
    Pause,
    Policies,
    ResizeMode,
    ScalingPolicy,
    Slo,
    SloClass,
    UpdateMode,
)
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import Duration, Selector, SelectorRequirement, decode_hook
from autoscaler.model.workload import Namespace
from autoscaler.planning.effective import (
    DEFAULT_RULES,
    Effective,
    cluster_rules,
    effective_policies,
    in_mode,
    overlay,
    resize_mode,
    selects,
)
from autoscaler.testing.builders import make_snapshot, make_workload
from tests.unit.planning.decisions import key, mpa

TEAM = Namespace("default", labels_of({"team": "shop"}))
EVERYTHING: dict[str, Any] = {"namespaceSelector": {}}
OF_TEAM: dict[str, Any] = {"namespaceSelector": {"matchLabels": {"team": "shop"}}}
OF_APP: dict[str, Any] = {"labelSelector": {"matchLabels": {"tier": "front"}}}
OF_OTHERS: dict[str, Any] = {"labelSelector": {"matchLabels": {"tier": "back"}}}


def policy(name: str, **spec: Any) -> ScalingPolicy:
    return msgspec.convert({"name": name, "spec": spec}, ScalingPolicy, dec_hook=decode_hook)


def seen(**fields: Any) -> ClusterSnapshot:
    web = make_workload("web", labels=labels_of({"tier": "front"}), **fields)
    return make_snapshot(workloads=[web, make_workload("batch")], namespaces=(TEAM,))


def found(*scaling: ScalingPolicy, name: str = "web", mpas: tuple[Any, ...] = ()) -> Effective | None:
    rules = Policies(scaling=tuple(sorted(scaling, key=lambda p: p.name)), mpas=mpas)
    return effective_policies(seen(), rules).get(key(name))


@pytest.mark.parametrize(
    ("scopes", "winner"),
    [
        pytest.param({"a": EVERYTHING, "b": OF_TEAM}, "b", id="a-namespace-over-all"),
        pytest.param({"a": OF_TEAM, "b": OF_APP}, "b", id="labels-over-a-namespace"),
        pytest.param({"z": EVERYTHING, "a": EVERYTHING}, "a", id="then-by-name"),
        pytest.param({"a": OF_OTHERS, "b": EVERYTHING}, "b", id="must-match"),
        pytest.param({"a": {"namespaceSelector": {"matchLabels": {"team": "x"}}}}, None, id="none-matches"),
        pytest.param({"a": {}}, None, id="without-a-scope-it-only-sets-defaults"),
    ],
)
def test_the_most_specific_policy_wins(scopes: dict[str, dict[str, Any]], winner: str | None) -> None:
    effective = found(*(policy(name, workloads=scope) for name, scope in scopes.items()))
    assert (effective.policy if effective else None) == winner


def test_a_namespace_that_was_not_seen_has_its_name_as_a_label() -> None:
    scope = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}
    rules = Policies(scaling=(policy("a", workloads=scope),))
    assert key("web") in effective_policies(make_snapshot(workloads=[make_workload("web")]), rules)


def test_an_mpa_alone_needs_no_policy_and_may_act() -> None:
    effective = found(mpas=(mpa("web", policy={"updateMode": "Auto"}),))
    assert effective is not None
    assert (effective.mode, effective.mpa, effective.policy) == (UpdateMode.AUTO, "web", "")
    assert effective.rules == DEFAULT_RULES


def test_a_policy_without_a_scope_sets_defaults_for_an_mpa() -> None:
    quiet = policy("defaults", mode="Auto", defaults={"policy": {"engine": "hpa"}})
    effective = found(quiet, mpas=(mpa("web"),))
    assert effective is not None
    assert (effective.policy, effective.engine) == ("defaults", "hpa")
    assert found(quiet, name="batch", mpas=(mpa("web"),)) is None


def test_of_two_mpas_for_one_workload_the_first_name_counts() -> None:
    first = mpa("web", policy={"engine": "hpa"})
    second = msgspec.structs.replace(mpa("web", policy={"engine": "vpa"}), name="zweb")
    for order in ((first, second), (second, first)):
        effective = found(mpas=order)
        assert effective is not None
        assert effective.engine == "hpa"


@pytest.mark.parametrize(
    ("most", "wanted", "mode"),
    [
        ("Recommend", "Auto", UpdateMode.RECOMMEND),
        ("Auto", "Recommend", UpdateMode.RECOMMEND),
        ("Auto", "Initial", UpdateMode.INITIAL),
        ("Initial", "Auto", UpdateMode.INITIAL),
        ("Off", "Auto", UpdateMode.OFF),
        ("Auto", None, UpdateMode.RECOMMEND),
        ("Auto", "Off", UpdateMode.OFF),
    ],
)
def test_the_lesser_mode_holds(most: str, wanted: str | None, mode: UpdateMode) -> None:
    own = mpa("web", policy={} if wanted is None else {"updateMode": wanted})
    effective = found(policy("a", workloads=EVERYTHING, mode=most), mpas=(own,))
    assert effective is not None
    assert effective.mode is mode


def test_the_shortest_document_gets_the_documented_defaults() -> None:
    effective = found(policy("everything", workloads=EVERYTHING))
    assert effective is not None
    assert (effective.mode, effective.engine, effective.mpa) == (UpdateMode.RECOMMEND, "joint", "")
    assert resize_mode(effective.spec) is ResizeMode.IN_PLACE_OR_RECREATE
    assert effective.spec.scale_target_ref.name == "web"
    assert effective.down_share == 0.25


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        pytest.param({}, (2, 9), id="all-from-the-policy"),
        pytest.param({"maxReplicas": 50}, (2, 50), id="own-over-the-policy-s"),
        pytest.param({"minReplicas": 5, "maxReplicas": 50}, (5, 50), id="all-own"),
    ],
)
def test_defaults_fill_what_an_mpa_leaves_open(own: dict[str, int], expected: tuple[int, int]) -> None:
    defaults = {"constraints": {"global": {"minReplicas": 2, "maxReplicas": 9}}, "goals": {"slo": {"class": "Batch"}}}
    effective = found(
        policy("a", workloads=EVERYTHING, defaults=defaults), mpas=(mpa("web", constraints={"global": own}),)
    )
    assert effective is not None
    bounds = effective.spec.constraints.global_
    assert bounds is not None
    assert (bounds.min_replicas, bounds.max_replicas) == expected
    assert effective.spec.goals.slo is not None
    assert effective.spec.goals.slo.class_ is SloClass.BATCH


def test_each_workload_of_a_policy_is_its_own_target() -> None:
    rules = Policies(scaling=(policy("a", workloads=EVERYTHING),))
    governed = effective_policies(seen(), rules)
    assert {effective.spec.scale_target_ref.name for effective in governed.values()} == {"web", "batch"}


def test_a_peer_s_engine_limits_its_own_rate() -> None:
    effective = found(policy("a", workloads=EVERYTHING, defaults={"policy": {"engine": "hpa"}}))
    assert effective is not None
    assert effective.down_share == 1.0


def test_overlay_takes_what_is_at_its_default_in_depth() -> None:
    base = Goals(formula="a", slo=Slo(class_=SloClass.BATCH))
    assert overlay(base, Goals()) == base
    assert overlay(base, Goals(formula="b")) == Goals(formula="b", slo=base.slo)
    over = Goals(slo=Slo(class_=SloClass.LATENCY_SENSITIVE))
    assert overlay(base, over) == Goals(formula="a", slo=over.slo)
    assert overlay(Pause(down=True), Pause(up=True)) == Pause(up=True, down=True)


@pytest.mark.parametrize(
    ("operator", "values", "web", "bare"),
    [
        ("In", ("a", "front"), True, False),
        ("In", ("a",), False, False),
        ("NotIn", ("a",), True, True),
        ("NotIn", ("front",), False, True),
        ("Exists", (), True, False),
        ("DoesNotExist", (), False, True),
        ("Unheard", (), False, False),
    ],
)
def test_selectors(operator: str, values: tuple[str, ...], *, web: bool, bare: bool) -> None:
    selector = Selector(match_expressions=(SelectorRequirement(key="tier", operator=operator, values=values),))
    assert selects(selector, labels_of({"tier": "front"})) is web
    assert selects(selector, ()) is bare
    assert selects(Selector(), ())
    assert not selects(Selector(match_labels={"tier": "back"}), labels_of({"tier": "front"}))


def test_the_widest_policy_rules_nodes_and_money() -> None:
    wide = policy("z-wide", workloads=EVERYTHING, mode="Auto")
    assert cluster_rules(Policies(scaling=(policy("a", workloads=OF_APP), wide)))[0] == "z-wide"
    assert cluster_rules(Policies(scaling=(policy("b"), policy("a"))))[0] == "a"
    assert cluster_rules(Policies()) == ("", DEFAULT_RULES)
    assert DEFAULT_RULES.mode is UpdateMode.RECOMMEND


def test_in_mode_lets_every_document_act() -> None:
    rules = Policies(scaling=(policy("a", workloads=EVERYTHING),), mpas=(mpa("web", policy={"updateMode": "Off"}),))
    governed = effective_policies(seen(), in_mode(rules, UpdateMode.AUTO))
    assert {effective.mode for effective in governed.values()} == {UpdateMode.AUTO}


def test_in_mode_lets_nodes_act_also_where_no_policy_governs_them() -> None:
    rules = in_mode(Policies(mpas=(mpa("web", policy={"updateMode": "Off"}),)), UpdateMode.AUTO)
    assert cluster_rules(rules)[1].mode is UpdateMode.AUTO
    governed = effective_policies(seen(), rules)
    assert list(governed) == [key("web")]
    assert governed[key("web")].mode is UpdateMode.AUTO


def test_open_schedules_move_the_bounds() -> None:
    schedule = {"name": "sale", "schedule": "0 8 * * *", "duration": "12h", "minReplicas": 20}
    rules = Policies(mpas=(mpa("web", policy={"schedules": [schedule]}, constraints={"global": {"minReplicas": 2}}),))
    for windows, low in (((), 2), (("0 8 * * * UTC 43200s",), 20)):
        snapshot = msgspec.structs.replace(seen(), open_windows=windows)
        bounds = effective_policies(snapshot, rules)[key("web")].spec.constraints.global_
        assert bounds is not None
        assert bounds.min_replicas == low


def test_durations_of_policies_are_kept_to_the_second() -> None:
    assert Duration("1h30m15s").seconds == 5415.0
