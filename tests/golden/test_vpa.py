"""
The VPA's own answers, recomputed (k8s.io/autoscaler/vertical-pod-autoscaler v1.8.1).

The peer's unmodified functions were run on synthetic inputs from fixed seeds;
the units are in the names of the fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from autoscaler.model.pod import Container, Pod, PodShape, Termination
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import CPU, MEMORY, Resources
from autoscaler.model.units import HOUR, MIB
from autoscaler.model.workload import Workload
from autoscaler.recommend.capping import LimitRange, SizeBounds, apply_policy, bounds_of, fit_to_pod
from autoscaler.recommend.histogram import Buckets, Checkpoint, Histogram, exponential_buckets, linear_buckets
from autoscaler.recommend.limits import boundary_request, proportional_limits
from autoscaler.recommend.updater import UpdaterParams, pods_to_resize, priority_of
from autoscaler.recommend.vertical import (
    ContainerHistory,
    Estimate,
    PodWindow,
    VpaParams,
    estimate,
    observe_cpu,
    observe_memory,
    observe_oom,
)
from tests.golden.vectors import Case, check_set

NOW = 1_000_000.0
UNITS = {CPU: "cpu_millicores", MEMORY: "memory_bytes"}
PEER_PANICS = "the peer panics: it writes into an absent map; the sizes are left as they came, with the reason"


def test_histogram() -> None:
    check_set("vpa_histogram", check_histogram)


def test_histogram_merge() -> None:
    check_set("vpa_histogram_merge", check_merge)


def test_recommender() -> None:
    check_set("vpa_recommender", check_recommender)


def test_recommender_series() -> None:
    check_set("vpa_recommender_series", check_series)


def test_limits() -> None:
    check_set("vpa_limits", check_limits)


def test_policy() -> None:
    check_set("vpa_policy", check_policy)


def test_capping() -> None:
    check_set("vpa_capping", check_capping, listed=lambda case: PEER_PANICS if "panic" in case["expected"] else "")


def test_updater_priority() -> None:
    check_set("vpa_updater_priority", check_priority)


def check_histogram(case: Case) -> str:
    given, expected = case["input"], case["expected"]
    buckets = buckets_of(given["options"])
    if "bucket_starts" in expected:
        return differences(
            {
                "starts": ([buckets.start(n) for n in range(buckets.count)], expected["bucket_starts"]),
                "buckets": (
                    [buckets.find(value) for value, _ in expected["value_to_bucket"]],
                    [bucket for _, bucket in expected["value_to_bucket"]],
                ),
            }
        )
    histogram = Histogram(buckets, half_life=given["options"]["half_life_s"])
    for operation, *sample in given["operations"]:
        getattr(histogram, operation)(*sample)
    found: dict[str, tuple[Any, Any]] = {
        "num_buckets": (buckets.count, expected["num_buckets"]),
        "is_empty": (histogram.is_empty, expected["is_empty"]),
        "percentiles": percentiles(histogram, expected["percentiles"]),
    }
    if "checkpoint" in expected:
        checkpoint, wanted = histogram.checkpoint(), expected["checkpoint"]
        found["checkpoint"] = compare_checkpoint(checkpoint, wanted, reference=wanted.get("reference_unix_s"))
        loaded = Histogram(buckets, half_life=histogram.half_life)
        loaded.load(checkpoint)
        found["round trip"] = percentiles(loaded, expected["percentiles_after_checkpoint_round_trip"])
    return differences(found)


def check_merge(case: Case) -> str:
    given = case["input"]
    buckets, half_life = buckets_of(given["options"]), given["half_life_hours"] * HOUR
    histograms = [Histogram(buckets, half_life=half_life) for _ in range(given["histogram_count"])]
    awaited = list(case["expected"]["observations"])
    for count, (operation, index, *rest) in enumerate(given["operations"], 1):
        if operation == "merge":
            histograms[index].merge(histograms[rest[0]])
        elif operation == "checkpoint_round_trip":
            saved = histograms[index].checkpoint()
            histograms[index] = Histogram(buckets, half_life=half_life)
            histograms[index].load(saved)
        else:
            getattr(histograms[index], operation)(*rest)
        while awaited and awaited[0]["after_operations"] == count:
            wanted = awaited.pop(0)
            histogram = histograms[wanted["histogram"]]
            found = differences(
                {
                    "is_empty": (histogram.is_empty, wanted["is_empty"]),
                    "percentiles": percentiles(histogram, wanted["percentiles"]),
                }
            )
            if found:
                return f"after {count} operations, histogram {wanted['histogram']}: {found}"
    return f"{len(awaited)} observations were not reached" if awaited else ""


def check_recommender(case: Case) -> str:
    given, expected = case["input"], case["expected"]
    params = params_of(given["config"])
    bounds = [policy_bounds(policy) for policy in given["container_policies"] or ()]
    modes = {policy["container_name"]: policy.get("mode") for policy in given["container_policies"] or ()}
    sized = [name for name in given["container_names"] if modes.get(name, modes.get("*")) != "Off"]
    snapshots = {snapshot["after_events"]: snapshot for snapshot in expected["snapshots"]}
    histories: dict[tuple[str, str], ContainerHistory] = {}
    windows: dict[Any, PodWindow] = {}
    rejected = []
    for count, (at, kind, pod, place, value) in enumerate(given["events"], 1):
        name = given["pods"][pod]["containers"][place]["name"]
        key = (name, json.dumps(given["pods"][pod]["labels"], sort_keys=True))
        history = histories.setdefault(key, ContainerHistory(params))
        if not feed(windows, (pod, place), history, params, kind=kind, value=value, at=float(at)):
            rejected.append(count - 1)
        if count in snapshots:
            estimates = {name: merged(histories, name, params, len(sized)) for name in sized}
            found = compare_snapshot(snapshots[count], estimates, bounds)
            if found:
                return f"after {count} events: {found}"
    return differences({"rejected": (rejected, expected["rejected_event_indexes"])})


def merged(
    histories: dict[tuple[str, str], ContainerHistory], name: str, params: VpaParams, containers: int
) -> tuple[Estimate, int]:
    total = ContainerHistory(params)
    for (container, _), history in sorted(histories.items()):
        if container == name:
            total.merge(history)
    return estimate(total, params, containers=containers), total.samples


def compare_snapshot(snapshot: Case, estimates: dict[str, tuple[Estimate, int]], bounds: list[SizeBounds]) -> str:
    found: dict[str, tuple[Any, Any]] = {"names": (sorted(estimates), sorted(snapshot["containers"]))}
    for name, wanted in snapshot["containers"].items():
        expected, samples = estimates[name]
        controlled = [resource for resource, unit in UNITS.items() if unit in wanted["target"]]
        size = ContainerSize(
            container=name,
            target=expected.target.only(controlled),
            lower=expected.lower.only(controlled),
            upper=expected.upper.only(controlled),
            uncapped=expected.target.only(controlled),
        )
        found[f"{name}, samples"] = (samples, wanted["total_cpu_samples"])
        found[f"{name}, uncapped"] = (size, size_of(wanted | {"container_name": name}, size))
        capped = snapshot["after_policy"][name]
        found[f"{name}, capped"] = (apply_policy([size], bounds)[0], size_of(capped | {"container_name": name}, size))
    return differences(found)


def check_series(case: Case) -> str:
    given, expected = case["input"], case["expected"]
    params = params_of(given["config"])
    names = [container["name"] for container in given["containers"]]
    histories = [ContainerHistory(params) for _ in names]
    windows: dict[Any, PodWindow] = {}
    snapshots = {snapshot["after_events"]: snapshot for snapshot in expected["snapshots"]}
    rejected = []
    found: dict[str, tuple[Any, Any]] = {}
    for count, (milliseconds, kind, index, value) in enumerate(given["events"], 1):
        if not feed(windows, index, histories[index], params, kind=kind, value=value, at=milliseconds / 1000.0):
            rejected.append(count - 1)
        for name, history in zip(names, histories, strict=True) if count in snapshots else ():
            wanted = snapshots[count]["containers"][name]
            got = estimate(history, params, containers=len(names))
            amounts = {"target": got.target, "lower_bound": got.lower, "upper_bound": got.upper}
            found[f"{name} after {count} events"] = (
                {field: quantities(amount) for field, amount in amounts.items()} | {"total_samples": history.samples},
                {field: wanted[field] for field in (*amounts, "total_samples")},
            )
    found["rejected"] = (rejected, expected["rejected_event_indexes"])
    for name, history in zip(names, histories, strict=True):
        for resource in (CPU, MEMORY):
            wanted = expected["final_checkpoint"][name][resource]
            checkpoint = getattr(history, resource).checkpoint()
            found[f"checkpoint of {name}, {resource}"] = compare_checkpoint(
                checkpoint, wanted, reference=wanted["reference_unix_seconds"], within=1
            )
    return differences(found)


def check_limits(case: Case) -> str:
    given, expected = case["input"], case["expected"]
    if case["function"] == "GetBoundaryRequest":
        request = boundary_request(
            given["original_request"] or 0,
            given["original_limit"] or 0,
            given["boundary_limit"] or 0,
            default_limit=given["default_limit"] or 0,
        )
        return differences({"request": (request, expected["boundary_request"])})
    scaled = proportional_limits(
        resources(given["original_limits"]),
        resources(given["original_requests"]),
        resources(given["recommendation"]),
        default_limits=resources(given["default_limits"]),
    )
    return differences(
        {
            "limits": (scaled.limits, resources(expected["limits"])),
            "notes": (sorted(scaled.notes), expected["annotations_sorted"]),
        }
    )


def check_policy(case: Case) -> str:
    given = case["input"]
    sizes = apply_policy(
        [size_of(one) for one in given["recommendation"]],
        [policy_bounds(policy) for policy in given["container_policies"]],
        global_max=resources(given["global_max_allowed"]),
    )
    return differences({"sizes": (list(sizes), [size_of(one) for one in case["expected"]["recommendation"]])})


def check_capping(case: Case) -> str:
    given, expected = case["input"], case["expected"]
    containers = [
        Container(name=one["name"], requests=resources(one["requests"]), limits=resources(one["limits"]))
        for one in given["pod_containers"]
    ]
    bounds = [policy_bounds(policy) for policy in given["container_policies"]]
    sizes = tuple(size_of(one) for one in given["recommendation"])
    ranges = {name: limit_range(one) for name, one in given["limit_ranges"].items()}
    fitted = fit_to_pod(sizes, containers, bounds, container_range=ranges["container"], pod_range=ranges["pod"])
    if "panic" in expected:
        return f"{expected['panic']}; ours: {fitted.refused or fitted.sizes}"
    default = resources((given["limit_ranges"]["container"] or {}).get("default"))
    by_name = {container.name: container for container in containers}
    limits = {}
    for size in fitted.sizes:
        container = by_name[size.container]
        scaled = proportional_limits(container.limits, container.requests, size.target, default_limits=default)
        limits[size.container] = {
            "annotations": sorted(scaled.notes),
            "controlled_values": "RequestsOnly"
            if bounds_of(size.container, bounds).keep_limits
            else "RequestsAndLimits",
            "limits": quantities(scaled.limits),
        }
    wanted = expected["proportional_limits_for_target"]
    return differences(
        {
            "refused": (fitted.refused, ""),
            "sizes": (list(fitted.sizes), [size_of(one) for one in expected["recommendation"]]),
            "notes": ({name: sorted(notes) for name, notes in fitted.notes}, expected["annotations_sorted"]),
            "limits": (
                limits,
                {name: one | {"annotations": sorted(one["annotations"])} for name, one in wanted.items()},
            ),
        }
    )


def check_priority(case: Case) -> str:
    given, expected = case["input"], case["expected"]
    config = given["config"]
    params = UpdaterParams(
        min_change=config["min_change_priority"],
        min_age_seconds=config["pod_lifetime_update_threshold_s"],
        quick_oom_seconds=config["evict_after_oom_threshold_s"],
    )
    pods = [pod_of(one) for one in given["pods"]]
    sizes = [size_of(one) for one in given["recommendation"]]
    workload = Workload(namespace="shop", kind="Deployment", name="web", replicas=len(pods), template=pods[0].shape)
    chosen = pods_to_resize(workload, pods, sizes, now=NOW, params=params)
    found: dict[str, tuple[Any, Any]] = {
        "order": ([pod.name for pod, _ in chosen], expected["pods_to_update_in_order"])
    }
    for pod, wanted in zip(pods, expected["priorities"], strict=True):
        priority = priority_of(pod.shape, {size.container: size for size in sizes})
        found[pod.name] = (
            (priority.outside, priority.grows, pytest.approx(priority.difference, rel=1e-9)),
            (wanted["outside_recommended_range"], wanted["scale_up"], wanted["resource_diff"]),
        )
    return differences(found)


def differences(found: dict[str, tuple[Any, Any]]) -> str:
    """Return "" or the first pair of (ours, the peer's) that is not equal."""
    return next((f"{what} {ours}, the peer's {peers}" for what, (ours, peers) in found.items() if ours != peers), "")


def feed(
    windows: dict[Any, PodWindow],
    key: Any,
    history: ContainerHistory,
    params: VpaParams,
    *,
    kind: str,
    value: int,
    at: float,
) -> bool:
    """Give one event of the sets to a container; False when it was refused."""
    window = windows.get(key) or PodWindow(pod=str(key), container="")
    if kind == "cpu":
        after = observe_cpu(window, value, at, history)
    elif kind == "memory":
        after = observe_memory(window, value, at, history, interval=params.memory_interval_seconds)
    else:
        after = observe_oom(window, value, at, history, params=params)
    windows[key] = after
    return after is not window


def percentiles(histogram: Histogram, wanted: dict[str, float]) -> tuple[Any, Any]:
    got = histogram.percentiles(tuple(float(share) for share in wanted))
    return pytest.approx(dict(zip(wanted, got, strict=True)), rel=1e-9), wanted


def compare_checkpoint(got: Checkpoint, wanted: Case, *, reference: float | None, within: int = 0) -> tuple[Any, Any]:
    weights = {str(bucket): weight for bucket, weight in got.weights}
    buckets = weights | wanted["bucket_weights"]
    near = all(abs(weights.get(bucket, 0) - wanted["bucket_weights"].get(bucket, 0)) <= within for bucket in buckets)
    total = pytest.approx(got.total, rel=1e-9, abs=0.0)
    at = got.reference if reference is not None else None
    return (near or weights, total, at), (near or wanted["bucket_weights"], wanted["total_weight"], reference)


def buckets_of(options: Case) -> Buckets:
    if options["kind"] == "linear":
        return linear_buckets(max_value=options["max_value"], width=options["bucket_size"], epsilon=options["epsilon"])
    return exponential_buckets(
        max_value=options["max_value"],
        first=options["first_bucket_size"],
        ratio=options["ratio"],
        epsilon=options["epsilon"],
    )


def params_of(config: Case) -> VpaParams:
    def seconds(name: str) -> float:
        return float(config[f"{name}_s"] if f"{name}_s" in config else config[f"{name}_hours"] * HOUR)

    return VpaParams(
        target_cpu_percentile=config["target_cpu_percentile"],
        lower_cpu_percentile=config["lower_bound_cpu_percentile"],
        upper_cpu_percentile=config["upper_bound_cpu_percentile"],
        target_memory_percentile=config["target_memory_percentile"],
        lower_memory_percentile=config["lower_bound_memory_percentile"],
        upper_memory_percentile=config["upper_bound_memory_percentile"],
        safety_margin=config["safety_margin_fraction"],
        cpu_half_life_seconds=seconds("cpu_histogram_half_life"),
        memory_half_life_seconds=seconds("memory_histogram_half_life"),
        memory_interval_seconds=seconds("memory_aggregation_interval"),
        memory_interval_count=config["memory_aggregation_interval_count"],
        cpu_confidence_seconds=seconds("confidence_interval_cpu"),
        memory_confidence_seconds=seconds("confidence_interval_memory"),
        oom_bump_ratio=config["oom_bump_up_ratio"],
        oom_min_bump_bytes=config["oom_min_bump_up_bytes"],
        pod_min_cpu_millicores=config["pod_min_cpu_millicores"],
        pod_min_memory_bytes=config["pod_min_memory_mib"] * MIB,
    )


def resources(amounts: Case | None) -> Resources:
    names = {unit: name for name, unit in UNITS.items()}
    return Resources.of({names[unit]: amount for unit, amount in (amounts or {}).items()})


def quantities(amounts: Resources) -> dict[str, int]:
    return {UNITS[name]: amount for name, amount in amounts.items()}


def size_of(one: Case, template: ContainerSize | None = None) -> ContainerSize:
    return ContainerSize(
        container=one["container_name"],
        target=resources(one.get("target")),
        lower=resources(one.get("lower_bound")),
        upper=resources(one.get("upper_bound")),
        uncapped=resources(one["uncapped_target"]) if "uncapped_target" in one else unset(template),
    )


def unset(template: ContainerSize | None) -> Resources:
    return template.uncapped if template is not None else Resources()


def policy_bounds(policy: Case) -> SizeBounds:
    return SizeBounds(
        container=policy["container_name"],
        min_allowed=resources(policy.get("min_allowed")),
        max_allowed=resources(policy.get("max_allowed")),
        keep_limits=policy.get("controlled_values") == "RequestsOnly",
    )


def limit_range(item: Case | None) -> LimitRange | None:
    if item is None:
        return None
    return LimitRange(
        min=resources(item.get("min")), max=resources(item.get("max")), default=resources(item.get("default"))
    )


def pod_of(one: Case) -> Pod:
    containers: Iterable[Case] = one["containers"]
    return Pod(
        name=one["name"],
        shape=PodShape(
            namespace="shop",
            containers=tuple(Container(name=each["name"], requests=resources(each["requests"])) for each in containers),
        ),
        started_at=None if one["age_s"] is None else NOW - one["age_s"],
        terminations=tuple(
            Termination(
                container=each["name"],
                reason=end["reason"],
                started_at=NOW - end["finished_s_ago"] - end["ran_for_s"],
                finished_at=NOW - end["finished_s_ago"],
            )
            for each in containers
            if (end := each["last_termination"]) is not None
        ),
    )
