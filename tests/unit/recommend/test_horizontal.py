from __future__ import annotations

import pytest

from autoscaler.model.bounds import MAX_REPLICAS
from autoscaler.model.pod import Container, Phase, Pod, PodShape, ReadyCondition
from autoscaler.model.resources import Resources
from autoscaler.recommend.horizontal import (
    MetricError,
    Proposal,
    Readiness,
    Tolerance,
    Usage,
    group_pods,
    propose_by_average,
    propose_by_utilization,
    propose_by_value,
    propose_per_pod,
    requests_milli,
    sum_series,
)
from tests.unit.recommend.hpa_views import NOW, pod, pods

READINESS = Readiness(now=NOW)
TENTH = Tolerance()


def used(*milli: int) -> dict[str, Usage]:
    return {f"web-{number}": Usage(amount, NOW - 5, 30.0) for number, amount in enumerate(milli)}


@pytest.mark.parametrize(
    ("seen", "group"),
    [
        pytest.param(pod("web-0"), "ready", id="ready-for-an-hour"),
        pytest.param(pod("web-0", deleted_at=NOW), "ignored", id="being-deleted"),
        pytest.param(pod("web-0", phase=Phase.FAILED), "ignored", id="failed"),
        pytest.param(pod("web-0", phase=Phase.PENDING), "unready", id="pending"),
        pytest.param(pod("web-9"), "missing", id="not-measured"),
        pytest.param(pod("web-0", phase=Phase.SUCCEEDED), "ready", id="succeeded-counts-when-measured"),
        pytest.param(pod("web-0", ready=None), "unready", id="no-ready-condition"),
        pytest.param(pod("web-0", started_at=None), "unready", id="no-start-time"),
        pytest.param(
            pod("web-0", started_at=NOW - 60, ready=ReadyCondition("True", NOW - 30)),
            "unready",
            id="starting-and-measured-over-less-than-a-window-of-readiness",
        ),
        pytest.param(
            pod("web-0", started_at=NOW - 60, ready=ReadyCondition("True", NOW - 35)),
            "ready",
            id="starting-and-measured-over-exactly-a-window-of-readiness",
        ),
        pytest.param(
            pod("web-0", started_at=NOW - 60, ready=ReadyCondition("Unknown", NOW - 50)),
            "ready",
            id="unknown-is-not-false",
        ),
        pytest.param(
            pod("web-0", started_at=NOW - 900, ready=ReadyCondition("False", NOW - 880)), "unready", id="never-ready"
        ),
        pytest.param(
            pod("web-0", started_at=NOW - 900, ready=ReadyCondition("False", NOW - 60)), "ready", id="was-ready-once"
        ),
    ],
)
def test_cpu_usage_counts_by_readiness(seen: Pod, group: str) -> None:
    groups = group_pods([seen], used(100), READINESS, resource="cpu")
    assert (groups.ready, groups.unready, groups.missing, groups.ignored) == (
        int(group == "ready"),
        (seen.name,) if group == "unready" else (),
        (seen.name,) if group == "missing" else (),
        (seen.name,) if group == "ignored" else (),
    )


def test_readiness_matters_for_cpu_only() -> None:
    starting = pod("web-0", started_at=NOW - 10, ready=ReadyCondition("False", NOW - 10))
    assert group_pods([starting], used(100), READINESS, resource="memory").ready == 1


@pytest.mark.parametrize(
    ("usage", "replicas"),
    [
        pytest.param((770, 770), 2, id="at-the-upper-edge-of-the-tolerance"),
        pytest.param((780, 780), 3, id="above-it"),
        pytest.param((630, 630), 2, id="at-the-lower-edge"),
        pytest.param((300, 300), 1, id="below-it"),
        pytest.param((300,), 2, id="a-missing-pod-counts-as-full-when-shrinking"),
        pytest.param((1800,), 3, id="a-missing-pod-counts-as-idle-when-growing"),
        pytest.param((700,), 2, id="nothing-is-assumed-at-the-target"),
    ],
)
def test_utilization(usage: tuple[int, ...], replicas: int) -> None:
    proposal = propose_by_utilization(
        pods(2), used(*usage), READINESS, resource="cpu", target_percent=70, current=2, tolerance=TENTH
    )
    assert proposal.replicas == replicas


def test_utilization_is_truncated_to_whole_percent() -> None:
    proposal = propose_by_utilization(
        pods(1), used(699), READINESS, resource="cpu", target_percent=70, current=1, tolerance=TENTH
    )
    assert proposal == Proposal(replicas=1, usage=699, utilization=69)


def test_pending_pods_damp_growth_only() -> None:
    seen = (*pods(2), pod("web-2", phase=Phase.PENDING))
    grown = propose_by_average(seen, used(200, 200), READINESS, target=100, current=3, tolerance=TENTH)
    shrunk = propose_by_average(seen, used(10, 10), READINESS, target=100, current=3, tolerance=TENTH)
    assert (grown.replicas, shrunk.replicas) == (4, 1)


def test_usage_of_unlisted_pods_counts_in_averages() -> None:
    proposal = propose_by_average(pods(1), used(100, 300), READINESS, target=100, current=1, tolerance=TENTH)
    assert proposal == Proposal(replicas=2, usage=200)


@pytest.mark.parametrize(
    ("total", "current", "replicas"),
    [
        pytest.param(210, 2, 2, id="within-tolerance"),
        pytest.param(300, 2, 6, id="ratio-times-ready-pods"),
        pytest.param(0, 2, 0, id="no-work"),
        pytest.param(250, 0, 3, id="from-zero-the-ratio-itself"),
        pytest.param(2**80, 0, MAX_REPLICAS, id="saturates"),
    ],
)
def test_one_total_against_one_value(total: int, current: int, replicas: int) -> None:
    target = 200 if current and total == 210 else 100
    proposal = propose_by_value(total, pods(2), target=target, current=current, tolerance=TENTH)
    assert proposal.replicas == replicas


@pytest.mark.parametrize(
    ("total", "status", "expected"),
    [
        pytest.param(1050, 10, Proposal(replicas=10, usage=105), id="within-tolerance"),
        pytest.param(1501, 10, Proposal(replicas=16, usage=151), id="rounds-up"),
        pytest.param(1501, 0, Proposal(replicas=16, usage=None), id="no-replicas-to-share-it"),
        pytest.param(2**80, 3, Proposal(replicas=MAX_REPLICAS, usage=2**63 - 1), id="saturates"),
    ],
)
def test_one_total_shared_by_pods(total: int, status: int, expected: Proposal) -> None:
    assert propose_per_pod(total, target=100, status_replicas=status, tolerance=TENTH) == expected


def test_a_negative_total_gives_no_size() -> None:
    with pytest.raises(MetricError, match="negative"):
        propose_per_pod(-1, target=100, status_replicas=1, tolerance=TENTH)
    with pytest.raises(MetricError, match="negative"):
        propose_by_value(-1, pods(1), target=100, current=1, tolerance=TENTH)


def test_series_add_up_to_the_64_bit_maximum() -> None:
    assert sum_series([5, 2**63 - 1, -9]) == 2**63 - 1
    assert sum_series([7, -7]) == 0


def container(name: str, *, sidecar: bool = False, **requests: int) -> Container:
    return Container(name=name, requests=Resources.of(requests), restart_always=sidecar)


@pytest.mark.parametrize(
    ("shape", "name", "expected"),
    [
        pytest.param(
            PodShape(namespace="shop", containers=(container("app", cpu=300), container("log", cpu=50))),
            "",
            350,
            id="containers-add-up",
        ),
        pytest.param(
            PodShape(
                namespace="shop",
                containers=(container("app", cpu=300),),
                init_containers=(container("setup", cpu=9000), container("mesh", cpu=100, sidecar=True)),
            ),
            "",
            400,
            id="sidecars-count-and-init-containers-do-not",
        ),
        pytest.param(
            PodShape(namespace="shop", containers=(container("app", cpu=300), container("log"))),
            "app",
            300,
            id="only-the-named-container-matters",
        ),
        pytest.param(
            PodShape(
                namespace="shop", containers=(container("app", cpu=300),), pod_requests=Resources.of({"cpu": 800})
            ),
            "",
            800,
            id="pod-level-requests-win",
        ),
        pytest.param(
            PodShape(
                namespace="shop",
                containers=(container("app", cpu=300), container("log")),
                init_containers=(container("setup", cpu=700),),
                pod_requests=Resources.of({"memory": 800}),
            ),
            "",
            700,
            id="a-resource-not-set-for-the-pod-is-the-effective-request",
        ),
    ],
)
def test_requests(shape: PodShape, name: str, expected: int) -> None:
    assert requests_milli([pod("web-0", shape=shape)], "cpu", name) == {"web-0": expected}


@pytest.mark.parametrize(
    ("shape", "name", "text"),
    [
        pytest.param(
            PodShape(namespace="shop", containers=(container("app"),)),
            "",
            "missing request for cpu in container app of Pod web-1",
            id="no-request",
        ),
        pytest.param(
            PodShape(namespace="shop", containers=(container("app", cpu=1),)),
            "log",
            "container log not found in Pod web-0",
            id="no-such-container",
        ),
        pytest.param(
            PodShape(namespace="shop", containers=(container("app"),), pod_requests=Resources.of({"memory": 1})),
            "",
            "missing pod-level request for cpu in Pod web-1",
            id="not-for-the-pod-either",
        ),
    ],
)
def test_one_pod_without_a_request_voids_the_metric(shape: PodShape, name: str, text: str) -> None:
    with pytest.raises(MetricError, match=f"^{text}$"):
        requests_milli([pod("web-0"), pod("web-1", shape=shape)], "cpu", name)


def test_no_usable_metrics_comes_before_missing_requests() -> None:
    bare = pod("web-0", shape=PodShape(namespace="shop", containers=(container("app"),)))
    with pytest.raises(MetricError, match="did not receive metrics"):
        propose_by_utilization([bare], {}, READINESS, resource="cpu", target_percent=70, current=1, tolerance=TENTH)


def test_a_target_of_zero_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="above 0"):
        propose_per_pod(1, target=0, status_replicas=1, tolerance=TENTH)
