"""Auto Scaling groups as node groups, and what becomes of every refusal of AWS."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from aiobotocore.session import get_session

from autoscaler.errors import AccessError, CapacityError, ConflictError, TransientError
from autoscaler.model.node import ON_DEMAND, SPOT, NodeGroup
from autoscaler.model.placement import Effect, Taint
from autoscaler.model.policy import NodeGroupPolicy
from autoscaler.model.spec import decode_hook
from autoscaler.providers.aws.provider import AwsProvider
from autoscaler.providers.machines import machines
from tests.aws.fixtures import NOW, World
from tests.aws.moto import DISCOVERED, ZONES
from tests.aws.policy import allowed_actions

DESCRIBE = "autoscaling:DescribeAutoScalingGroups"
SIZE = "autoscaling:SetDesiredCapacity"
END = "autoscaling:TerminateInstanceInAutoScalingGroup"
TEMPLATE = "ec2:DescribeLaunchTemplateVersions"
ALL_SPOT = {"OnDemandBaseCapacity": 0, "OnDemandPercentageAboveBaseCapacity": 0}
NODE_TEMPLATE = "k8s.io/cluster-autoscaler/node-template"


async def only(provider: AwsProvider) -> NodeGroup:
    (group,) = await provider.list_node_groups()
    return group


async def test_a_group_is_what_its_launch_template_says(aws: World) -> None:
    await aws.account.group("web", size=(1, 2, 5), zones=ZONES[:1])
    async with aws.provider() as provider:
        group = await only(provider)
        members = dict(provider.members)
    machine = machines()["m5.large"]
    assert (group.name, group.min_size, group.target_size, group.max_size) == ("web", 1, 2, 5)
    assert (group.zone, group.capacity_type, group.provider) == (ZONES[0], ON_DEMAND, "aws")
    assert group.usd_per_hour == machine.usd_per_hour
    assert group.template.allocatable == machine.allocatable
    assert dict(group.template.labels) == {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "m5.large",
        "topology.ebs.csi.aws.com/zone": "eu-west-1a",
        "topology.kubernetes.io/region": "eu-west-1",
        "topology.kubernetes.io/zone": "eu-west-1a",
    }
    assert members == dict.fromkeys(await aws.account.instances("web"), "web")


async def test_a_mixed_group_promises_its_smallest_type_at_the_mean_price(aws: World) -> None:
    await aws.account.group("batch", kinds=("m5.xlarge", "c5.xlarge"), mixed=ALL_SPOT, zones=ZONES[:2])
    async with aws.provider() as provider:
        group = await only(provider)
        kinds = await provider.list_instance_types("batch")
    first, second = machines()["m5.xlarge"], machines()["c5.xlarge"]
    assert group.capacity_type == SPOT
    assert group.template.instance_type == "m5.xlarge"
    assert group.template.allocatable.memory == second.allocatable.memory
    assert group.usd_per_hour == pytest.approx((first.usd_per_hour_spot + second.usd_per_hour_spot) / 2)
    assert [kind.name for kind in kinds] == ["m5.xlarge", "c5.xlarge"]
    assert [offering.zone for offering in kinds[0].offerings] == list(ZONES[:2])
    assert TEMPLATE not in aws.aws.called


async def test_nodes_of_an_empty_group_are_what_its_tags_say(aws: World) -> None:
    tags = {
        "eks:nodegroup-name": "gpus",
        f"{NODE_TEMPLATE}/label/team": "search",
        f"{NODE_TEMPLATE}/taint/dedicated": "search:NoSchedule",
        f"{NODE_TEMPLATE}/resources/example.com/fpga": "2",
        f"{NODE_TEMPLATE}/resources/memory": "6Gi",
    }
    await aws.account.group("eks-gpus-1234", tags={**DISCOVERED, **tags})
    async with aws.provider() as provider:
        group = await only(provider)
    assert group.name == "gpus"
    labels = dict(group.template.labels)
    assert (labels["team"], labels["eks.amazonaws.com/nodegroup"]) == ("search", "gpus")
    assert labels["eks.amazonaws.com/capacityType"] == "ON_DEMAND"
    assert group.template.taints == (Taint("dedicated", Effect.NO_SCHEDULE, "search"),)
    assert group.template.allocatable.get("example.com/fpga") == 2
    assert group.template.allocatable.memory == 6 << 30


async def test_two_groups_of_one_node_group_keep_their_own_names(aws: World) -> None:
    for name in ("eks-a", "eks-b"):
        await aws.account.group(name, tags={**DISCOVERED, "eks:nodegroup-name": "same"})
    async with aws.provider() as provider:
        assert [group.name for group in await provider.list_node_groups()] == ["eks-a", "eks-b"]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        pytest.param({f"{NODE_TEMPLATE}/taint/a": "b"}, "'b' is not valid; allowed: `value:Effect`", id="taint"),
        pytest.param({f"{NODE_TEMPLATE}/resources/cpu": "many"}, "'many' is not valid; allowed: a Kub", id="amount"),
        pytest.param({f"{NODE_TEMPLATE}/resources/cpu": "-1"}, "'-1' is not valid; allowed: an amount", id="negative"),
        pytest.param({f"{NODE_TEMPLATE}/label/": "x"}, "allowed: a name after the last slash", id="no-name"),
    ],
)
async def test_a_group_with_a_wrong_tag_is_left_out_and_named(aws: World, tags: dict[str, str], said: str) -> None:
    await aws.account.group("good")
    await aws.account.group("wrong", tags={**DISCOVERED, **tags})
    async with aws.provider() as provider:
        assert (await only(provider)).name == "good"
        (problem,) = provider.problems
    assert problem.startswith("wrong: tag k8s.io/")
    assert said in problem


async def test_a_type_that_the_table_lacks_is_looked_up_once_and_priced_by_its_neighbours(aws: World) -> None:
    await aws.account.group("old", kinds=("m5d.large",))
    assert "m5d.large" not in machines()
    async with aws.provider() as provider:
        group = await only(provider)
        await provider.list_node_groups()
    like = machines()["m5.large"]
    assert group.template.allocatable == like.allocatable
    assert group.usd_per_hour == pytest.approx(like.usd_per_hour, rel=0.25)
    assert aws.aws.called.count("ec2:DescribeInstanceTypes") == 1


async def test_only_groups_with_all_the_tags_are_seen(aws: World) -> None:
    await aws.account.group("mine", tags={"team": "shop", "size": "yes"})
    await aws.account.group("theirs", tags={"team": "other", "size": "yes"})
    async with aws.provider(tags=("team=shop", "size")) as provider:
        assert (await only(provider)).name == "mine"
        with pytest.raises(ConflictError, match="there is no node group 'theirs'"):
            await provider.set_target_size("theirs", 1, expected=0)
    async with aws.provider() as provider:
        assert await provider.list_node_groups() == []
        assert provider.problems[0].startswith(
            "no Auto Scaling group has the tags k8s.io/cluster-autoscaler/enabled and"
        )


async def test_a_group_that_lost_its_tags_is_left_alone(aws: World) -> None:
    await aws.account.group("web", size=(0, 1, 4))
    async with aws.provider() as provider:
        await provider.list_node_groups()
        gone = [{"Key": key, "ResourceId": "web", "ResourceType": "auto-scaling-group"} for key in list(DISCOVERED)[:1]]
        await aws.account.call("autoscaling", "DeleteTags", Tags=gone)
        with pytest.raises(ConflictError, match="it has lost its tags"):
            await provider.set_target_size("web", 2, expected=1)
    assert SIZE not in aws.aws.called


async def test_growing_is_one_look_and_one_call(aws: World) -> None:
    await aws.account.group("web", size=(0, 1, 3000))
    async with aws.provider() as provider:
        assert (await only(provider)).max_size == 3000
        aws.aws.called.clear()
        await provider.set_target_size("web", 4, expected=1)
        assert aws.aws.called == [DESCRIBE, SIZE]
        assert (await only(provider)).target_size == 4
    assert len(await aws.account.running()) == 4


async def test_shrinking_by_size_would_let_aws_choose_and_is_refused(aws: World) -> None:
    await aws.account.group("web", size=(0, 3, 5))
    async with aws.provider() as provider:
        with pytest.raises(ConflictError, match="3 instances are there; only chosen ones are terminated"):
            await provider.set_target_size("web", 2, expected=3)
    assert len(await aws.account.running()) == 3


async def test_the_chosen_instances_are_terminated_and_not_replaced(aws: World) -> None:
    await aws.account.group("web", size=(1, 4, 5))
    first, second, *rest = sorted(await aws.account.instances("web"))
    async with aws.provider() as provider:
        await provider.delete_instances("web", [first, second, first], expected=4)
        assert (await only(provider)).target_size == 2
        with pytest.raises(ConflictError, match=f"has no instance {first}"):
            await provider.delete_instances("web", [first], expected=2)
        with pytest.raises(ConflictError, match="1 nodes must stay, 2 are there"):
            await provider.delete_instances("web", rest, expected=2)
    assert await aws.account.running() == set(rest)


async def test_what_is_starting_counts_and_what_is_ending_does_not(aws: World) -> None:
    await aws.account.group("web", size=(0, 0, 5))
    aws.aws.slow = True
    async with aws.provider() as provider:
        await provider.set_target_size("web", 2, expected=0)
        assert (await only(provider)).target_size == 2
        assert len(provider.members) == 2
        gone = min(provider.members)
        await provider.delete_instances("web", [gone], expected=2)
        assert (await only(provider)).target_size == 1
        assert gone not in provider.members
        with pytest.raises(ConflictError, match="has no instance"):
            await provider.delete_instances("web", [gone], expected=1)
        assert aws.aws.called.count(END) == 1


async def test_a_launch_without_capacity_is_not_counted_and_is_remembered_by_type_and_zone(aws: World) -> None:
    await aws.account.group("web", size=(0, 1, 5))
    await aws.account.group("like", size=(0, 0, 5))
    await aws.account.group("other", size=(0, 0, 5), zones=ZONES[1:2])
    aws.aws.sold_out = {("m5.large", ZONES[0])}
    async with aws.provider() as provider:
        await provider.set_target_size("web", 3, expected=1)
        like, other, web = await provider.list_node_groups()
        assert (web.target_size, web.backoff_until) == (1, NOW + 180.0)
        assert (like.backoff_until, other.backoff_until) == (NOW + 180.0, 0.0)
        assert provider.problems[0].startswith("web: the last launch failed: We currently do not have sufficient m5")
        aws.clock.advance(60.0)
        with pytest.raises(CapacityError, match=r"no capacity for m5\.large in eu-west-1a; trying again in 120 s"):
            await provider.set_target_size("like", 1, expected=0)
        (kind,) = await provider.list_instance_types("like")
        assert [offering.available for offering in kind.offerings] == [False]
        await provider.set_target_size("other", 1, expected=0)
        aws.clock.advance(121.0)
        await aws.aws.restock()
        assert [(g.target_size, g.backoff_until) for g in await provider.list_node_groups()] == [(0, 0), (1, 0), (3, 0)]
        assert provider.problems == ()


async def test_a_group_whose_launches_fail_never_loses_what_it_has(aws: World) -> None:
    await aws.account.group("web", size=(0, 2, 9))
    aws.aws.sold_out = {("m5.large", ZONES[0])}
    async with aws.provider() as provider:
        await provider.set_target_size("web", 6, expected=2)
        await provider.list_node_groups()
        aws.clock.advance(181.0)
        with pytest.raises(ConflictError, match="6 are being launched already"):
            await provider.set_target_size("web", 4, expected=2)
        await provider.set_target_size("web", 2, expected=2)
        assert (await only(provider)).target_size == 2
    assert len(await aws.account.running()) == 2


@pytest.mark.parametrize(
    "action", [DESCRIBE, SIZE, END, TEMPLATE, "autoscaling:DescribeScalingActivities", "ec2:DescribeInstanceTypes"]
)
async def test_a_denied_action_is_named_with_the_file_that_grants_it(aws: World, action: str) -> None:
    await aws.account.group("web", size=(0, 1, 5), kinds=("m5d.large",))
    aws.aws.sold_out = {("m5d.large", ZONES[0])}
    aws.aws.denied = {action}
    async with aws.provider() as provider:
        with pytest.raises(AccessError, match=rf"^{action} is not allowed: .*deploy/iam/aws-policy\.json"):
            await everything(aws, provider)


async def test_the_policy_grants_what_is_called_and_nothing_else(aws: World) -> None:
    await aws.account.group("web", size=(0, 1, 5), kinds=("m5d.large",))
    aws.aws.sold_out = {("m5d.large", ZONES[0])}
    async with aws.provider() as provider:
        await everything(aws, provider)
    assert set(aws.aws.called) == allowed_actions()


async def everything(aws: World, provider: AwsProvider) -> None:
    """Do all that a provider can do, with a launch that fails."""
    await provider.list_node_groups()
    await provider.set_target_size("web", 2, expected=1)
    await provider.list_node_groups()
    await provider.list_instance_types("web")
    await provider.delete_instances("web", sorted(await aws.account.instances("web")), expected=1)


async def test_throttled_calls_are_tried_again_and_then_given_up(aws: World) -> None:
    await aws.account.group("web", size=(0, 1, 5))
    async with aws.provider() as provider:
        await provider.list_node_groups()
        aws.aws.throttled.update({DESCRIBE: 2, SIZE: 2})
        await provider.set_target_size("web", 2, expected=1)
        aws.aws.throttled.update({DESCRIBE: 3})
        with pytest.raises(TransientError, match="Throttling: Rate exceeded"):
            await provider.list_node_groups()
    assert len(await aws.account.running()) == 2


async def test_an_answer_that_is_not_as_documented_is_for_time_to_mend(aws: World) -> None:
    await aws.account.group("web")
    aws.aws.garbled = {DESCRIBE}
    async with aws.provider() as provider:
        with pytest.raises(TransientError, match=DESCRIBE):
            await provider.list_node_groups()


async def test_without_credentials_and_region_the_way_to_them_is_named(
    aws: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    async with aws.provider(session=get_session()) as provider:
        with pytest.raises(AccessError, match="give the pod a role"):
            await provider.list_node_groups()
    monkeypatch.delenv("AWS_REGION")
    async with aws.provider(session=get_session()) as provider:
        with pytest.raises(AccessError, match="name the region by --aws-region"):
            await provider.list_node_groups()


async def test_a_part_that_was_terminated_is_told(aws: World) -> None:
    await aws.account.group("web", size=(0, 3, 5))
    ids = sorted(await aws.account.instances("web"))
    async with aws.provider() as provider:
        calls = iter(["", "before"])
        aws.aws.cut = lambda action: next(calls) if action == END else ""
        with pytest.raises(TransientError, match="1 of 2 instances were terminated, then:"):
            await provider.delete_instances("web", ids[:2], expected=3)
    assert await aws.account.running() == set(ids[1:])


async def test_two_hundred_groups_are_two_pages_and_nothing_else(aws: World) -> None:
    kinds, template = ("m5.large", "c5.large"), await aws.account.launch_template("shared")
    for number in range(200):
        await aws.account.group(f"g{number:03}", kinds=kinds, mixed=ALL_SPOT, template_id=template)
    async with aws.provider() as provider:
        assert len(await provider.list_node_groups()) == 200
        assert aws.aws.called == [DESCRIBE] * 2
        await provider.list_node_groups()
        assert aws.aws.called == [DESCRIBE] * 4


async def test_a_group_without_its_launch_template_harms_no_other(aws: World) -> None:
    await aws.account.group("good")
    await aws.account.group("orphan")
    await aws.account.call("ec2", "DeleteLaunchTemplate", LaunchTemplateName="orphan-template")
    async with aws.provider() as provider:
        assert (await only(provider)).name == "good"
        assert provider.problems == (
            "orphan: its instance type is not known; allowed: one in its launch template or its overrides",
        )


async def test_a_document_narrows_bounds_and_says_price_weight_and_template(aws: World) -> None:
    await aws.account.group("web", size=(0, 1, 9), tags={**DISCOVERED, "eks:nodegroup-name": "frontend"})
    document = node_group_document(
        "own",
        match={"nodegroup": "frontend"},
        size={"min": 1, "max": 3},
        price={"adjustment": "-50%"},
        weight=7,
        template={"labels": {"team": "shop"}, "taints": [{"key": "team", "value": "shop", "effect": "NoSchedule"}]},
    )
    async with aws.provider(documents=(document,)) as provider:
        group = await only(provider)
        with pytest.raises(ConflictError, match="size 4 is not within 1 to 3"):
            await provider.set_target_size("frontend", 4, expected=1)
        with pytest.raises(ConflictError, match="1 nodes must stay, 1 are there"):
            await provider.delete_instances("frontend", list(provider.members), expected=1)
        assert provider.problems == ()
    assert (group.name, group.min_size, group.max_size, group.weight) == ("frontend", 1, 3, 7)
    assert group.usd_per_hour == pytest.approx(machines()["m5.large"].usd_per_hour / 2)
    assert dict(group.template.labels)["team"] == "shop"
    assert group.template.taints == (Taint("team", Effect.NO_SCHEDULE, "shop"),)


async def test_documents_without_effect_are_named(aws: World) -> None:
    await aws.account.group("web")
    types = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m5.large"]}
    documents = (
        node_group_document("lost", match={"asg": "gone"}),
        node_group_document(
            "typed", match={"tags": {"k8s.io/cluster-autoscaler/enabled": "true"}}, requirements=[types]
        ),
    )
    async with aws.provider(documents=documents) as provider:
        await provider.list_node_groups()
        assert provider.problems == (
            "NodeGroup lost: spec.match: no discovered Auto Scaling group is matched by asg, nodegroup or tags",
            "NodeGroup typed: spec.requirements is not used: a group's launch template has its types",
        )


def node_group_document(name: str, **spec: Any) -> NodeGroupPolicy:
    fields = {"name": name, "spec": {"provider": "aws", **spec}}
    return msgspec.convert(fields, NodeGroupPolicy, dec_hook=decode_hook)
