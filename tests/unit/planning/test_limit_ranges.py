from __future__ import annotations

from typing import Any

import pytest

from autoscaler.model.bounds import request_bounds
from autoscaler.model.plan import Decision, ResizePod, SetRequests
from autoscaler.model.pod import Container, PodShape
from autoscaler.model.policy import MpaSpec
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import ContainerSize, Recommendation
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.state import DecisionState
from autoscaler.model.units import GIB, MIB
from autoscaler.model.workload import LimitRange
from autoscaler.planning.decide import decide
from autoscaler.planning.guard_ranges import outside_range
from autoscaler.planning.limit_ranges import told_ranges, within_ranges
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.testing.builders import make_shape
from tests.unit.planning.decisions import cluster, key, load, mpa, policies

WEB = key("web")


def limit_range(name: Any = "small", **bounds: Any) -> LimitRange:
    return LimitRange(namespace="default", name=name, **bounds)


def bounds(spec: MpaSpec, *ranges: LimitRange, template: PodShape | None = None) -> tuple[Resources, Resources]:
    return request_bounds(within_ranges(spec, template or make_shape(), ranges).constraints, "app")


def sized(**amounts: Any) -> ContainerSize:
    fields = {"target": Resources.of(cpu=400), **amounts}
    return ContainerSize(container="app", **fields)


def container(name: str = "app", *, request: int = 100, limit: int = 0) -> Container:
    limits = Resources.of(cpu=limit) if limit else NOTHING
    return Container(name=name, requests=Resources.of(cpu=request), limits=limits)


@pytest.mark.parametrize(
    ("own", "ranges", "low", "high"),
    [
        pytest.param({}, [(100, 900)], 100, 900, id="where-the-document-has-no-bounds"),
        pytest.param({"minAllowed": {"cpu": "200m"}, "maxAllowed": {"cpu": "500m"}}, [(100, 900)], 200, 500, id="own"),
        pytest.param({"maxAllowed": {"cpu": "2"}}, [(100, 900)], 100, 900, id="the-range-is-narrower"),
        pytest.param({"maxAllowed": {"cpu": "50m"}}, [(100, 900)], 100, 100, id="the-range-wins-a-conflict-below"),
        pytest.param({"minAllowed": {"cpu": "2"}}, [(100, 900)], 2000, 900, id="the-maximum-wins-a-conflict-above"),
        pytest.param({}, [(100, 900), (200, 800)], 200, 800, id="the-narrowest-of-several"),
    ],
)
def test_bounds_lie_within_the_ranges(own: dict[str, Any], ranges: list[tuple[int, int]], low: int, high: int) -> None:
    spec = mpa(constraints={"container": [{"name": "*", "requests": own}]}).spec
    given = [
        limit_range(str(number), container_min=Resources.of(cpu=least), container_max=Resources.of(cpu=most))
        for number, (least, most) in enumerate(ranges)
    ]
    assert bounds(spec, *given) == (Resources.of(cpu=low), Resources.of(cpu=high))


def test_without_ranges_nothing_changes() -> None:
    spec = mpa().spec
    assert within_ranges(spec, make_shape(), ()) is spec


def test_a_limit_that_keeps_its_ratio_bounds_the_request() -> None:
    spec = mpa(constraints={"container": [{"limits": "KeepRatio"}]}).spec
    template = make_shape(cpu=100, limits={"cpu": 400})
    most = limit_range(container_max=Resources.of(cpu=1000))
    assert bounds(spec, most, template=template)[1].cpu == 250


def test_pod_bounds_become_those_of_the_document() -> None:
    spec = mpa(constraints={"pod": {"requests": {"maxAllowed": {"cpu": "3"}}}}).spec
    ranges = (limit_range(pod_min=Resources.of(cpu=50), pod_max=Resources.of(cpu=2000, memory=GIB)),)
    pod = within_ranges(spec, make_shape(), ranges).constraints.pod
    assert pod is not None
    assert pod.requests is not None
    assert {name: each.text for name, each in pod.requests.max_allowed.items()} == {"cpu": "2", "memory": "1Gi"}
    assert {name: each.text for name, each in pod.requests.min_allowed.items()} == {"cpu": "50m"}


@pytest.mark.parametrize(
    ("size", "bound", "limits"),
    [
        pytest.param(sized(), {"container_max": 500}, None, id="no-limits-are-set"),
        pytest.param(sized(limits=Resources.of(cpu=800)), {"container_max": 500}, 500, id="cut-to-the-maximum"),
        pytest.param(sized(limits=Resources.of(cpu=450)), {"container_max": 500}, 450, id="within-the-maximum"),
        pytest.param(sized(limits=Resources.of(cpu=800)), {"pod_max": 700}, 400, id="to-the-request-for-the-pods-sake"),
    ],
)
def test_limits_are_cut(size: ContainerSize, bound: dict[str, int], limits: int | None) -> None:
    ranges = (limit_range(**{field: Resources.of(cpu=amount) for field, amount in bound.items()}),)
    advice = Recommendation(workload=WEB, engine="vpa", containers=(size,))
    [found] = told_ranges(advice, make_shape(), ranges).containers
    assert (found.limits.cpu if found.limits is not None else None) == limits


@pytest.mark.parametrize(
    ("sizes", "containers", "bound", "refused"),
    [
        pytest.param([sized()], [container()], {"container_max": 300}, True, id="above-the-maximum"),
        pytest.param([sized()], [container()], {"container_max": 400}, False, id="at-the-maximum"),
        pytest.param([sized()], [container(request=500)], {"container_max": 300}, False, id="coming-nearer"),
        pytest.param([sized()], [container(request=500)], {"container_min": 450}, True, id="below-the-minimum"),
        pytest.param([sized()], [container(request=200)], {"container_min": 450}, False, id="rising-to-the-minimum"),
        pytest.param([sized()], [container(), container("log")], {"pod_max": 450}, True, id="the-pods-sum"),
        pytest.param([sized()], [container(), container("log")], {"pod_max": 500}, False, id="the-pods-sum-fits"),
        pytest.param(
            [sized(limits=Resources.of(cpu=900))],
            [container(limit=200)],
            {"container_max": 800},
            True,
            id="a-limit-above-the-maximum",
        ),
        pytest.param(
            [sized()], [container(limit=900)], {"container_max": 800}, False, id="a-limit-that-was-above-before"
        ),
    ],
)
def test_the_guard_sees_what_a_range_refuses(
    sizes: list[ContainerSize], containers: list[Container], bound: dict[str, int], refused: bool
) -> None:
    ranges = [limit_range(**{field: Resources.of(cpu=amount) for field, amount in bound.items()})]
    found = outside_range(sizes, containers, ranges)
    assert (found is not None) == refused
    if found is not None:
        assert found.code is Code.GUARD_LIMIT_RANGE
        assert "LimitRange default/small" in found.message


def decided(engine: str, *ranges: LimitRange, peak: float = 700.0 * MIB) -> Decision:
    """Return a decision on pods that use more memory than they ask for."""
    snapshot = cluster({"web": (3, 1.0)}, limit_ranges=ranges, readings=load("web", 1.0, replicas=3, peak=peak))
    return decide(snapshot, policies(engine=engine), DecisionState())


def test_the_vpa_engine_proposes_nothing_outside_and_says_which_range_binds() -> None:
    free = decided("vpa")
    assert free.recommendations[0].containers[0].target.memory > 600 * MIB
    found = decided("vpa", limit_range(container_max=Resources.of(memory=512 * MIB)))
    [advice] = found.recommendations
    assert advice.containers[0].target.memory == 512 * MIB
    said = [reason.message for reason in advice.reasons if reason.code is Code.CAPPED_BY_POLICY]
    assert "container app: memory is at most 512Mi, as LimitRange default/small says" in said
    sizes = [action for action in found.plan.actions if isinstance(action, SetRequests | ResizePod)]
    assert all(size.target.memory <= 512 * MIB for action in sizes for size in action.containers)


def test_the_pods_sum_binds_and_is_told() -> None:
    found = decided("vpa", limit_range(pod_max=Resources.of(memory=448 * MIB)))
    [advice] = found.recommendations
    assert advice.containers[0].target.memory == 448 * MIB
    assert "memory of a pod is at most 448Mi, as LimitRange default/small says" in [r.message for r in advice.reasons]


def test_a_range_of_another_namespace_binds_nothing() -> None:
    other = LimitRange(namespace="shop", name="small", container_max=Resources.of(memory=1 * MIB))
    assert decided("vpa", other) == decided("vpa")


def test_every_engine_keeps_within() -> None:
    one = limit_range(
        container_min=Resources.of(cpu=150, memory=400 * MIB), container_max=Resources.of(cpu=450, memory=420 * MIB)
    )
    for engine in sorted(BUILT_IN):
        for advice in decided(engine, one).recommendations:
            for size in advice.containers:
                for name, amount in size.target.items():
                    assert one.container_min.get(name) <= amount <= one.container_max.get(name), engine
