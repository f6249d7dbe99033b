from __future__ import annotations

import re

import pytest

from autoscaler.sources.ownership import matchers_of, owner_of, owners_of
from autoscaler.testing.builders import make_pod


@pytest.mark.parametrize(
    ("key", "pod", "belongs"),
    [
        pytest.param("a/Deployment/web", "web-6fb786454b-mrr5s", True, id="deployment"),
        pytest.param("a/Deployment/web", "web-api-6fb786454b-mrr5s", False, id="a-longer-name-is-another-one"),
        pytest.param("a/Deployment/api", "web-api-6fb786454b-mrr5s", False, id="and-so-is-an-ending"),
        pytest.param("a/Deployment/web", "web-x7k2p", False, id="a-daemon-sets-pod"),
        pytest.param("a/Deployment/web", "web-0", False, id="a-stateful-sets-pod"),
        pytest.param("a/StatefulSet/db", "db-12", True, id="stateful-set"),
        pytest.param("a/StatefulSet/db", "db-x7k2p", False, id="no-ordinal"),
        pytest.param("a/DaemonSet/agent", "agent-x7k2p", True, id="daemon-set"),
        pytest.param("a/ReplicaSet/web-6fb786454b", "web-6fb786454b-mrr5s", True, id="replica-set"),
        pytest.param("a/Deployment/a.b", "axb-6fb786454b-mrr5s", False, id="a-dot-is-a-dot"),
        pytest.param(f"a/Deployment/{'x' * 47}", f"{'x' * 47}-6fb786454bmrr5s", True, id="a-long-name-cuts-the-dash"),
    ],
)
def test_names_tell_owners(key: str, pod: str, belongs: bool) -> None:
    _, matcher = matchers_of([owner_of(key)])
    assert bool(re.fullmatch(matcher.removeprefix('pod=~"').removesuffix('"'), pod)) == belongs


@pytest.mark.parametrize("pod", ["web-6fb786454b-mrr5s", "web-3", "web-x7k2p"])
def test_a_pod_shows_how_an_unknown_kind_names_them(pod: str) -> None:
    (owner,) = owners_of([make_pod(pod, workload="a/Rollout/web")])
    assert re.fullmatch(matchers_of([owner])[1].removeprefix('pod=~"').removesuffix('"'), pod)
