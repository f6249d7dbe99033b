from __future__ import annotations

import pytest

from autoscaler.model.pod import Container
from autoscaler.model.policy import Limits
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.recommend.capping import LimitRange, SizeBounds, apply_policy, fit_to_pod, fit_to_total
from autoscaler.recommend.limits import boundary_request, limits_for, proportional_limits


def cpu(amount: int) -> Resources:
    return Resources.of(cpu=amount)


def size(amount: int, *, container: str = "app") -> ContainerSize:
    return ContainerSize(container=container, target=cpu(amount), lower=cpu(amount), upper=cpu(amount))


@pytest.mark.parametrize(
    ("bounds", "global_max", "expected"),
    [
        pytest.param(SizeBounds(min_allowed=cpu(700)), 0, 700, id="raised-to-the-minimum"),
        pytest.param(SizeBounds(max_allowed=cpu(300)), 0, 300, id="lowered-to-the-maximum"),
        pytest.param(SizeBounds(min_allowed=cpu(700), max_allowed=cpu(300)), 0, 300, id="the-maximum-wins"),
        pytest.param(SizeBounds(), 400, 400, id="the-global-maximum"),
        pytest.param(SizeBounds(max_allowed=cpu(600)), 400, 500, id="the-own-maximum-hides-the-global"),
        pytest.param(SizeBounds(max_allowed=cpu(0)), 400, 500, id="even-if-it-is-zero"),
    ],
)
def test_policy(bounds: SizeBounds, global_max: int, expected: int) -> None:
    assert apply_policy([size(500)], [bounds], global_max=cpu(global_max))[0].target == cpu(expected)


def test_own_bounds_come_before_those_of_all_others() -> None:
    bounds = [SizeBounds(min_allowed=cpu(900)), SizeBounds(container="app", min_allowed=cpu(700))]
    assert [one.target.cpu for one in apply_policy([size(1), size(1, container="log")], bounds)] == [700, 900]


def test_requests_stay_below_limits_that_stay() -> None:
    container = Container(name="app", requests=cpu(100), limits=cpu(200))
    fitted = fit_to_pod([size(500)], [container], [SizeBounds(keep_limits=True)])
    assert (fitted.sizes[0].target, fitted.notes) == (cpu(200), (("app", ("cpu capped to container limit",)),))


def test_the_range_of_limits_bounds_requests_in_proportion() -> None:
    container = Container(name="app", requests=cpu(100), limits=cpu(400))
    fitted = fit_to_pod([size(500)], [container], container_range=LimitRange(max=cpu(1000)))
    assert fitted.sizes[0].target == cpu(250)


def test_the_range_of_the_pod_scales_all_containers_alike() -> None:
    containers = [Container(name=name, requests=cpu(100), limits=cpu(200)) for name in ("app", "log")]
    sizes = [size(300), size(100, container="log")]
    fitted = fit_to_pod(sizes, containers, pod_range=LimitRange(max=cpu(400)))
    assert [one.target.cpu for one in fitted.sizes] == [150, 50]


def test_where_the_peer_would_crash_sizes_stay_and_the_reason_is_given() -> None:
    containers = [Container(name=name, requests=cpu(100), limits=cpu(200)) for name in ("app", "log")]
    fitted = fit_to_pod([size(300)], containers, pod_range=LimitRange(max=cpu(400)))
    assert fitted.sizes == (size(300),)
    assert "without a recommendation" in fitted.refused


def test_sizes_fit_a_total() -> None:
    sizes = [size(300), size(100, container="log")]
    assert [one.target.cpu for one in fit_to_total(sizes, cpu(200))] == [150, 50]
    assert [one.target.cpu for one in fit_to_total(sizes, NOTHING, least=cpu(800))] == [600, 200]
    assert [one.target.cpu for one in fit_to_total(sizes, cpu(200), least=cpu(800))] == [150, 50]
    assert fit_to_total(sizes, Resources.of(memory=1)) == tuple(sizes)


@pytest.mark.parametrize(
    ("policy", "limits", "expected"),
    [
        pytest.param(Limits.REQUESTS_ONLY, cpu(400), None, id="limits-are-left-alone"),
        pytest.param(Limits.KEEP_RATIO, cpu(400), cpu(1200), id="the-ratio-is-kept"),
        pytest.param(Limits.KEEP_RATIO, NOTHING, None, id="no-limit-stays-none"),
        pytest.param(Limits.GUARANTEED, NOTHING, cpu(300), id="limits-are-requests"),
    ],
)
def test_what_limits_become(policy: Limits, limits: Resources, expected: Resources | None) -> None:
    assert limits_for(policy, limits, cpu(100), cpu(300)) == expected


def test_a_limit_never_overflows() -> None:
    scaled = proportional_limits(cpu(2**62), cpu(1), cpu(1000))
    assert scaled.limits.cpu == 2**63 - 1
    assert "capping limit to int64" in scaled.notes[0]


def test_a_default_limit_stands_in() -> None:
    assert proportional_limits(NOTHING, cpu(100), cpu(300), default_limits=cpu(200)).limits == cpu(600)
    assert boundary_request(100, 0, 600, default_limit=200) == 300
