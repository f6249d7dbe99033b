"""Nodes are of the group that the cloud has their instances in, also where the provider is measured."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from autoscaler.clock import ManualClock
from autoscaler.controller.measure import MeasuredProvider
from autoscaler.controller.observe import grouped_nodes
from autoscaler.controller.parts import cloud_provider
from autoscaler.errors import InputError
from autoscaler.providers.memory import MemoryCloud, MemoryProvider
from autoscaler.settings import Settings
from autoscaler.telemetry.metrics import Metrics
from autoscaler.testing.builders import make_group, make_node


class Telling(MemoryProvider):
    """A provider that says whose instances are whose, and what it left out."""

    members: Mapping[str, str] = {"i-a": "own"}
    problems = ("one: left out",)


@pytest.fixture
def cloud() -> MemoryCloud:
    return MemoryCloud([make_group("own")])


def test_the_cloud_knows_better_than_a_label() -> None:
    nodes = (make_node("a", group="label"), make_node("b", group="label"), make_node("c", group=""))
    assert [node.group for node in grouped_nodes(nodes, {"i-a": "own"})] == ["own", "label", ""]


def test_nodes_that_are_right_are_the_same_objects() -> None:
    nodes = (make_node("a", group="own"),)
    assert grouped_nodes(nodes, {"i-a": "own"}) is nodes


def test_a_measured_provider_passes_on_what_the_other_tells(cloud: MemoryCloud) -> None:
    telling = MeasuredProvider(Telling(cloud), Metrics(), ManualClock())
    silent = MeasuredProvider(MemoryProvider(cloud), Metrics(), ManualClock())
    assert (telling.members, telling.problems) == ({"i-a": "own"}, ("one: left out",))
    assert (silent.members, silent.problems) == ({}, ())


def test_a_provider_is_made_by_its_name() -> None:
    made = cloud_provider(Settings(provider="aws", aws_region="eu-west-1"), None, ManualClock(), groups=tuple)  # type: ignore[arg-type]
    assert made is not None
    assert made.name == "aws"
    with pytest.raises(InputError, match=r"azure.*allowed: .*aws"):
        cloud_provider(Settings(provider="azure"), None, ManualClock(), groups=tuple)  # type: ignore[arg-type]
