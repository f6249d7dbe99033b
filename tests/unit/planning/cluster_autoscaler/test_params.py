"""The flags as a policy gives them."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.errors import PolicyError
from autoscaler.planning.cluster_autoscaler.params import ClusterAutoscalerParams, param_problems, read_params
from autoscaler.policy_files.read import parse_policies


def test_flags_have_their_own_names() -> None:
    params = read_params({"scale-down-unneeded-time": "3m", "expander": "price, least-waste", "cores-total": "8:64"})
    assert (params.scale_down_unneeded_time.seconds, params.chain, params.cores) == (
        180,
        ("price", "least-waste"),
        (8, 64),
    )


def test_defaults_have_nothing_wrong() -> None:
    assert list(param_problems(ClusterAutoscalerParams())) == []


@pytest.mark.parametrize(
    ("params", "words"),
    [
        pytest.param({"expander": "cheap"}, "spec.nodes.params.expander: 'cheap'", id="expander"),
        pytest.param({"expander-priorities": {"1": ["("]}}, "spec.nodes.params.expander-priorities", id="priorities"),
        pytest.param({"memory-total": "9"}, "spec.nodes.params.memory-total: '9'", id="bounds"),
        pytest.param({"scale_down_enabled": False}, "spec.nodes.params.scale_down_enabled", id="not-a-flag"),
        pytest.param({"scale-down-unneeded-time": "soon"}, "a duration such as", id="duration"),
        pytest.param({"max-drain-parallelism": -1}, "spec.nodes.params.max-drain-parallelism: -1", id="negative"),
    ],
)
def test_what_is_wrong_is_said(params: dict[str, Any], words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policies(policy("cluster-autoscaler", params), "f")
    assert words in str(caught.value)


def test_an_engine_without_parameters_takes_none() -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policies(policy("joint", {"expander": "price"}), "f")
    assert "allowed: nothing: the parameters of engine joint" in str(caught.value)


def test_good_parameters_pass() -> None:
    (scaling,) = parse_policies(policy("cluster-autoscaler", {"expander": "priority,price"}), "f").scaling
    assert scaling.spec.nodes.params == {"expander": "priority,price"}


def policy(engine: str, params: dict[str, Any]) -> str:
    return (
        "apiVersion: podnode.io/v1alpha1\nkind: ScalingPolicy\nmetadata: {name: all}\n"
        f"spec: {{workloads: {{namespaceSelector: {{}}}}, nodes: {{engine: {engine}, params: {params}}}}}\n"
    )
