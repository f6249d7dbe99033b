from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autoscaler.model.node import SPOT
from autoscaler.model.placement import Effect, Taint
from autoscaler.model.policy import GroupPrice, NodeGroupPolicy
from autoscaler.model.spec import decode_hook
from autoscaler.providers.kwok import node_document
from autoscaler.providers.kwok_offers import GROUP_LABEL, Offer, offers_of, price_of
from autoscaler.providers.machines import machines

LARGE = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m5.large"]}
ZONES = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["b", "a"]}
ARM = {"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}


def require(key: str, operator: str, *values: str, **fields: Any) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values), **fields}


def document(name: str = "web", **spec: Any) -> NodeGroupPolicy:
    fields = {"provider": "kwok", "requirements": [LARGE], **spec}
    return msgspec.convert({"name": name, "spec": fields}, NodeGroupPolicy, dec_hook=decode_hook)


def offered(**spec: Any) -> list[Offer]:
    offers, problems = offers_of([document(**spec)])
    assert problems == ()
    return list(offers.values())


def names(**spec: Any) -> list[str]:
    return [offer.group.name for offer in offered(**spec)]


def types(*requirements: dict[str, Any]) -> set[str]:
    return {offer.group.template.instance_type for offer in offered(requirements=list(requirements))}


def test_one_offering_is_a_group_of_the_documents_name() -> None:
    [offer] = offered(size={"min": 1, "max": 7}, weight=3, match={"tags": {"podnode.io/boot-seconds": "40"}})
    group = offer.group
    assert (group.name, group.min_size, group.max_size, group.weight) == ("web", 1, 7, 3)
    assert (group.usd_per_hour, group.boot_seconds, group.provider, group.target_size) == (0.096, 40.0, "kwok", 0)
    assert group.template.allocatable == offer.instance_type.allocatable
    assert dict(group.template.labels)[GROUP_LABEL] == "web"


def test_several_offerings_are_named_by_what_they_are() -> None:
    assert names(requirements=[LARGE, ZONES], capacityTypes=["spot", "on-demand"]) == [
        "web.m5.large.a.on-demand",
        "web.m5.large.a.spot",
        "web.m5.large.b.on-demand",
        "web.m5.large.b.spot",
    ]


def test_a_long_name_fits_a_label_and_stays_apart() -> None:
    long = "a-team-with-a-very-long-name-in-a-company-with-another"
    offers, _ = offers_of([document(long, requirements=[LARGE, ZONES])])
    assert len(offers) == 2
    assert max(map(len, offers)) <= 55
    assert list(offers) == list(offers_of([document(long, requirements=[LARGE, ZONES])])[0])


@pytest.mark.parametrize(
    ("requirements", "wanted"),
    [
        pytest.param([require("karpenter.k8s.aws/instance-family", "In", "m7g"), ARM], "m7g.", id="family-and-arch"),
        pytest.param([require("cloud.google.com/machine-family", "In", "t2a")], "t2a-", id="family-of-the-other-cloud"),
    ],
)
def test_requirements_choose_machine_types(requirements: list[dict[str, Any]], wanted: str) -> None:
    found = types(*requirements)
    assert len(found) > 1
    assert all(name.startswith(wanted) for name in found)


def test_numbers_can_be_bounded() -> None:
    family = require("karpenter.k8s.aws/instance-family", "In", "m5")
    cpu = "karpenter.k8s.aws/instance-cpu"
    assert types(family, require(cpu, "Gte", "4"), require(cpu, "Lte", "8")) == {"m5.xlarge", "m5.2xlarge"}
    assert types(family, require(cpu, "Gt", "4"), require(cpu, "Lt", "16")) == {"m5.2xlarge"}


def test_without_a_zone_there_is_none() -> None:
    [offer] = offered()
    assert offer.group.zone == ""
    assert "topology.kubernetes.io/zone" not in dict(offer.group.template.labels)


def test_zones_can_be_excluded() -> None:
    assert names(requirements=[LARGE, ZONES, require("topology.kubernetes.io/zone", "NotIn", "a")]) == ["web"]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        pytest.param({"requirements": [require("x/y", "In", "z")]}, "no machine type", id="nothing-satisfies-it"),
        pytest.param({"requirements": [require("a", "Near", "1")]}, "'Near' is not valid", id="an-operator"),
        pytest.param({"requirements": [require("a", "Gt", "many")]}, "is no test of a label", id="not-a-number"),
        pytest.param({"requirements": [require("a", "Gte", "-1")]}, "allowed: a whole number", id="a-negative-number"),
        pytest.param(
            {"requirements": [{**LARGE, "minValues": 2}]}, "minValues: 2, and only 1", id="too-little-variety"
        ),
        pytest.param({"match": {"tags": {"team": "a"}}}, "'team' is not known", id="an-unknown-tag"),
        pytest.param({"match": {"tags": {"podnode.io/stock": "few"}}}, "'few' is not valid", id="a-stock"),
        pytest.param({"match": {"tags": {"podnode.io/failure-share": "1.5"}}}, "allowed: 0 to 1", id="a-share"),
        pytest.param({"match": {"tags": {"podnode.io/sold-out": "m5/a"}}}, "'m5/a' is not valid", id="a-type"),
        pytest.param({"match": {"tags": {"podnode.io/boot-seconds": "1/0"}}}, "'1/0' is not valid", id="seconds"),
    ],
)
def test_a_wrong_document_says_so_and_harms_no_other(spec: dict[str, Any], problem: str) -> None:
    offers, problems = offers_of([document("bad", **spec), document("good")])
    assert list(offers) == ["good"]
    [line] = problems
    assert line.startswith("NodeGroup bad: spec.")
    assert problem in line


def test_other_providers_documents_are_left_out() -> None:
    assert offers_of([document(provider="aws")]) == ({}, ())


def test_two_documents_cannot_make_one_group() -> None:
    offers, problems = offers_of([document("web", requirements=[LARGE, ZONES]), document("web.m5.large.a.on-demand")])
    assert len(offers) == 2
    assert "is that of another document" in problems[0]


@pytest.mark.parametrize(
    ("price", "spot", "usd"),
    [
        pytest.param({}, False, 0.096, id="list-price"),
        pytest.param({}, True, 0.0336, id="spot"),
        pytest.param({"adjustment": "-25%"}, False, 0.072, id="a-share-less"),
        pytest.param({"adjustment": "+0.004"}, False, 0.1, id="an-amount-more"),
        pytest.param({"adjustment": "0.05"}, False, 0.05, id="a-price"),
        pytest.param({"adjustment": "-1"}, False, 0.0, id="never-below-nothing"),
        pytest.param({"perType": {"m5.large": "0.08"}, "adjustment": "-50%"}, False, 0.04, id="by-type"),
        pytest.param({"perType": {"m5.large": "0.08"}}, True, 0.028, id="by-type-on-spot"),
        pytest.param({"perType": {"c5.large": "9"}}, False, 0.096, id="of-another-type"),
    ],
)
def test_prices(price: dict[str, Any], spot: bool, usd: float) -> None:
    given = msgspec.convert(price, GroupPrice, dec_hook=decode_hook)
    assert price_of(given, machines()["m5.large"], spot=spot) == pytest.approx(usd)


def test_a_node_tells_what_it_is() -> None:
    [offer] = offered(
        capacityTypes=["spot"],
        requirements=[LARGE, {**ZONES, "values": ["a"]}],
        template={"labels": {"team": "shop"}, "taints": [{"key": "team", "value": "shop", "effect": "NoSchedule"}]},
        match={"tags": {"podnode.io/boot-seconds": "2.5"}},
    )
    assert offer.group.capacity_type == SPOT
    assert offer.group.template.taints == (Taint("team", Effect.NO_SCHEDULE, "shop"),)
    node = node_document(offer, "web-0")
    assert node["metadata"]["labels"] == {
        "karpenter.k8s.aws/instance-cpu": "2",
        "karpenter.k8s.aws/instance-family": "m5",
        "karpenter.k8s.aws/instance-memory": "8192",
        "karpenter.k8s.aws/instance-size": "large",
        "karpenter.sh/capacity-type": "spot",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": "web-0",
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "m5.large",
        "podnode.io/group": "web",
        "team": "shop",
        "topology.kubernetes.io/zone": "a",
    }
    assert node["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake", "podnode.io/boot-seconds": "2.5"}
    assert [taint["key"] for taint in node["spec"]["taints"]] == ["node.kubernetes.io/not-ready", "team"]
    assert node["status"]["capacity"] == {"cpu": "2", "memory": "8Gi", "pods": "29"}


def test_a_spot_machine_has_its_end_noted_and_its_rate_told() -> None:
    tags = {"podnode.io/spot-seconds": "1800", "podnode.io/notice-seconds": "30"}
    [offer] = offered(capacityTypes=["spot"], requirements=[LARGE], match={"tags": tags})
    assert offer.group.interruptions_per_hour == 2.0
    annotations = node_document(offer, "web-0", reclaim_at=1234.0)["metadata"]["annotations"]
    assert (annotations["podnode.io/reclaim-at"], annotations["podnode.io/notice-seconds"]) == ("1234", "30")
    [offer] = offered(requirements=[LARGE], match={"tags": tags})
    assert offer.group.interruptions_per_hour == 0.0


def test_what_is_sold_out_has_no_stock() -> None:
    tags = {"podnode.io/sold-out": "m5.large/a, m5.xlarge"}
    two = require("node.kubernetes.io/instance-type", "In", "m5.large", "m5.xlarge")
    offers = offered(requirements=[two, ZONES], match={"tags": tags})
    stock = {(each.instance_type.name, each.group.zone): each.behaviour.stock for each in offers}
    assert stock == {("m5.large", "a"): 0, ("m5.large", "b"): None, ("m5.xlarge", "a"): 0, ("m5.xlarge", "b"): 0}


def test_every_machine_of_the_tables_can_be_bought() -> None:
    offers, _ = offers_of([document("aws", requirements=[]), document("all", requirements=[], capacityTypes=["spot"])])
    assert len(offers) == 2 * len(machines())
    for offer in offers.values():
        assert 0 < offer.group.template.allocatable.cpu <= offer.instance_type.capacity.cpu
        assert 0 < offer.group.usd_per_hour < 1000
