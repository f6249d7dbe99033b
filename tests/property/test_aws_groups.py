"""What is promised of an Auto Scaling group holds for each instance that it may launch."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.providers.aws import wire
from autoscaler.providers.aws.groups import Design, Found, found_group, group_names, node_group
from autoscaler.providers.machines import machines

KINDS = sorted(name for name, machine in machines().items() if machine.cloud == "aws")
ZONES = ("eu-west-1a", "eu-west-1b", "eu-west-1c")
STATES = ("Pending", "InService", "Terminating:Wait", "Warmed:Stopped", "Standby")

instances = st.builds(
    wire.Instance,
    instance_id=st.uuids().map(lambda each: f"i-{each.hex}"),
    availability_zone=st.sampled_from(ZONES),
    lifecycle_state=st.sampled_from(STATES),
)
raw_groups = st.builds(
    wire.Group,
    auto_scaling_group_name=st.sampled_from(["a", "b", "c"]),
    min_size=st.integers(0, 3),
    max_size=st.integers(3, 9),
    desired_capacity=st.integers(0, 9),
    availability_zones=st.lists(st.sampled_from(ZONES), min_size=1, unique=True).map(tuple),
    instances=st.lists(instances, max_size=6).map(tuple),
    tags=st.sampled_from([(), (wire.Tag(key="eks:nodegroup-name", value="a"),)]),
)
designs = st.builds(
    Design,
    names=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4, unique=True).map(tuple),
    on_demand_share=st.floats(0, 1),
    on_demand_base=st.integers(0, 5),
)
found_groups = st.builds(lambda raw, design: found_group("g", raw, design, machines().get), raw_groups, designs)


@settings(max_examples=60)
@given(found_groups)
def test_what_fits_the_template_fits_each_type_and_the_price_lies_between_theirs(found: Found) -> None:
    group = node_group(found, target_size=found.raw.desired_capacity)
    assert all(group.template.allocatable.fits_in(machine.allocatable) for machine in found.machines)
    prices = [price for each in found.machines for price in (each.usd_per_hour, each.usd_per_hour_spot)]
    assert min(prices) - 1e-9 <= group.usd_per_hour <= max(prices) + 1e-9
    assert 0 <= group.min_size <= group.max_size


@settings(max_examples=60)
@given(found_groups)
def test_the_next_instance_comes_up_where_there_are_fewest(found: Found) -> None:
    there = [each.availability_zone for each in found.members]
    assert found.zone in found.raw.availability_zones
    assert there.count(found.zone) == min(there.count(zone) for zone in found.raw.availability_zones)


@settings(max_examples=60)
@given(st.lists(raw_groups, max_size=3, unique_by=lambda group: group.auto_scaling_group_name))
def test_names_are_unique_whatever_the_order(groups: list[wire.Group]) -> None:
    names = group_names(groups)
    assert len(set(names.values())) == len(groups)
    assert names == group_names(groups[::-1])
