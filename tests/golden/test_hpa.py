"""
The HPA engine against answers of Kubernetes 1.37's own horizontal controller.

The sets and their known peer bugs are described in the README files beside the
vectors. Listed cases, with the argument: a negative external sum (the peer
proposes a negative size, ours refuses), and 0 replicas with a total so large
that the peer's conversion to 32 bits wraps round (ours saturates).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from autoscaler.interfaces import WorkloadView
from autoscaler.model.pod import Container, Phase, Pod, PodShape, ReadyCondition
from autoscaler.model.policy import ActionRules, Constraints, GlobalConstraints, Goals, MpaSpec, UpdateMode
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading, Signal, SignalKind
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import Recommendation
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import Prices
from autoscaler.model.spec import Behavior, MetricSpec, RulePolicy, ScalingRules, TargetRef, decode_hook
from autoscaler.model.workload import Workload
from autoscaler.recommend import horizontal as calculator
from autoscaler.recommend import stabilize
from autoscaler.recommend.hpa import HpaMemory, HpaParams, HpaRecommender
from tests.golden.vectors import Case, check_set

Values = Mapping[str, Any]
_INT32_WRAP = -(2**31)


def test_hpa_behavior() -> None:
    check_set("hpa_behavior", check_behavior)


def test_hpa_replica_calculator() -> None:
    check_set("hpa_replica_calculator", check_calculation, listed=undefined_in_the_peer)


def test_hpa_replica_calculator_edges() -> None:
    check_set("hpa_replica_calculator_edges", check_calculation, listed=undefined_in_the_peer)


def test_hpa_sequences() -> None:
    check_set("hpa_sequences", check_sequence)


# Behaviour


def check_behavior(case: Case) -> str:
    given, steps = case["input"], case["expected"]["steps"]
    window = float(given["downscale_stabilization_window_seconds"])
    rules = stabilize.behavior_rules(read_behavior(given["behavior"]), downscale_window=window)
    bounds = stabilize.Bounds(minimum=given["min_replicas"], maximum=given["max_replicas"])
    history = stabilize.History()
    for number, (step, expected) in enumerate(zip(given["steps"], steps, strict=True)):
        now, current, raw = step["t_seconds"], step["current_replicas"], step["raw_desired_replicas"]
        history = stabilize.first_sight(history, current, now)
        if raw is None:
            continue
        ours = limits_of(history, rules, raw=raw, current=current, bounds=bounds, now=now)
        allowed, history = stabilize.allow(raw, history, rules, current=current, bounds=bounds, window=window, now=now)
        ours |= {
            "desired_replicas": allowed.replicas,
            "stabilized_replicas": allowed.stabilized,
            "able_to_scale_status": "True",
            "able_to_scale_reason": allowed.able_reason,
            "scaling_limited_status": str(allowed.limited),
            "scaling_limited_reason": allowed.limit_reason,
        }
        history = stabilize.record_change(history, rules, before=current, after=allowed.replicas, now=now)
        if ours != expected:
            return f"step {number}: {ours} != {expected}"
    return ""


def limits_of(
    history: stabilize.History,
    rules: stabilize.BehaviorRules | None,
    *,
    raw: int,
    current: int,
    bounds: stabilize.Bounds,
    now: float,
) -> dict[str, Any]:
    if rules is None:
        return {"scale_up_limit": stabilize.plain_up_limit(current)}
    replicas, reason = stabilize.rate_limited(raw, history, rules, current=current, bounds=bounds, now=now)
    return {
        "scale_up_limit": stabilize.up_limit(current, history, rules.up, now),
        "scale_down_limit": stabilize.down_limit(current, history, rules.down, now),
        "rate_limited_without_stabilization": replicas,
        "rate_limited_without_stabilization_reason": reason,
    }


def read_behavior(given: Values | None) -> Behavior | None:
    if given is None:
        return None
    return Behavior(scale_up=read_rules(given["scale_up"]), scale_down=read_rules(given["scale_down"]))


def read_rules(given: Values | None) -> ScalingRules | None:
    if given is None:
        return None
    policies = given.get("policies")
    return ScalingRules(
        stabilization_window_seconds=given.get("stabilization_window_seconds"),
        select_policy=given.get("select_policy"),
        policies=None
        if policies is None
        else tuple(
            RulePolicy(type=rule["type"], value=rule["value"], period_seconds=rule["period_seconds"])
            for rule in policies
        ),
    )


# Replica calculator


def check_calculation(case: Case) -> str:
    expected = case.get("expected") or {}
    error = case.get("error") or expected.get("error")
    calculation = Calculation(case["input"])
    try:
        proposal = CALLS[case["function"]](calculation)
    except calculator.MetricError as problem:
        kind = str(problem).partition(":")[0]
        return "" if error and kind == error.partition(":")[0] else f"{problem!r} instead of {error or expected}"
    if error:
        return f"{proposal} instead of the error {error!r}"
    ours = {"replicas": proposal.replicas, "utilization_percent": proposal.utilization}
    for name in ("usage_milli", "usage_average_milli", "raw_average_milli"):
        # With no replicas the peer's average is a division by zero, and ours is not defined.
        ours[name] = expected.get(name) if proposal.usage is None else proposal.usage
    differences = [
        f"{name} {ours[name]} != {expected[name]}" for name in ours if name in expected and ours[name] != expected[name]
    ]
    if "groups" in expected and calculation.groups() != read_groups(expected["groups"]):
        differences.append(f"groups {calculation.groups()} != {expected['groups']}")
    return "; ".join(differences)


def undefined_in_the_peer(case: Case) -> str:
    expected = case.get("expected") or {}
    if sum(case["input"].get("external_values_milli", ())) < 0 or (case["input"].get("object_value_milli") or 0) < 0:
        return "a negative metric: the peer proposes a size below 0, 0 or the largest; no size follows from it"
    if expected.get("replicas") == _INT32_WRAP:
        return "the peer's conversion to 32 bits wraps round; ours saturates"
    return ""


def read_groups(given: Values) -> tuple[int, list[str], list[str], list[str]]:
    ready = given["ready_count"] if "ready_count" in given else given["ready_pod_count"]
    return ready, sorted(given["unready"]), sorted(given["missing"]), sorted(given["ignored"])


class Calculation:
    """One case of either series, in our values. Times are relative to now = 0."""

    def __init__(self, given: Values) -> None:
        self.given = given
        # The second series tells of a failed call; in the first an empty list is one.
        self.is_edge = "cpu_initialization_period_seconds" in given
        self.resource: str = given.get("resource", "")
        self.container: str = given.get("container", "")
        self.pods = tuple(read_pod(pod) for pod in given.get("pods", ()))
        self.tolerance = calculator.Tolerance(up=given["tolerance_up"], down=given["tolerance_down"])
        seconds = "seconds" if self.is_edge else "s"
        self.readiness = calculator.Readiness(
            now=0.0,
            cpu_initialization_period_seconds=first(given, f"cpu_initialization_period_{seconds}"),
            initial_readiness_delay_seconds=first(given, f"initial_readiness_delay_{seconds}"),
        )

    def usage(self) -> dict[str, calculator.Usage]:
        """
        Return what the metrics API gave, by pod.

        Raises:
            MetricError: the API call failed, or there was nothing in it.
        """
        found = {}
        listed = first(self.given, "pod_metrics", "pod_metric_values")
        failure = self.given.get("metrics_api_error", "")
        if failure or (not listed and not self.is_edge):
            what = f"metrics for resource {self.resource}" if self.resource else "metric qps"
            raise calculator.MetricError(f"unable to get {what}: {failure or 'no metrics returned'}")
        for metric in listed:
            milli = self.usage_milli(metric)
            if milli is not None:
                at = -metric["timestamp_seconds_ago"] if "timestamp_seconds_ago" in metric else 0.0
                at = metric.get("timestamp_rel_s", at)
                window = metric.get("window_s", metric.get("window_seconds", 0.0))
                found[metric["pod"]] = calculator.Usage(milli, float(at), float(window))
        return found

    def usage_milli(self, metric: Values) -> int | None:
        if "value_milli" in metric:
            return int(metric["value_milli"])
        field, unit = ("cpu_millicores", 1) if self.resource == "cpu" else ("memory_bytes", 1000)
        amounts = [
            each["usage"].get(field)
            for each in metric["containers"]
            if not self.container or each["name"] == self.container
        ]
        return None if not amounts or None in amounts else sum(amounts) * unit

    def object_total(self) -> int:
        if self.given["object_value_milli"] is None:
            raise calculator.MetricError("unable to get metric rps on Ingress ns/main: no value")
        return int(self.given["object_value_milli"])

    def external_total(self) -> int:
        if not self.given["external_values_milli"]:
            raise calculator.MetricError("unable to get external metric ns/queue/nil: no metrics returned")
        return calculator.sum_series(self.given["external_values_milli"])

    def by_utilization(self) -> calculator.Proposal:
        return calculator.propose_by_utilization(
            self.pods,
            self.usage(),
            self.readiness,
            resource=self.resource,
            container=self.container,
            target_percent=self.given["target_utilization_percent"],
            current=self.given["current_replicas"],
            tolerance=self.tolerance,
        )

    def by_average(self) -> calculator.Proposal:
        return calculator.propose_by_average(
            self.pods,
            self.usage(),
            self.readiness,
            resource=self.resource,
            target=self.average_target(),
            current=self.given["current_replicas"],
            tolerance=self.tolerance,
        )

    def by_value(self, total: int) -> calculator.Proposal:
        return calculator.propose_by_value(
            total,
            self.pods,
            target=self.given["target_value_milli"],
            current=self.given["current_replicas"],
            tolerance=self.tolerance,
        )

    def per_pod(self, total: int) -> calculator.Proposal:
        return calculator.propose_per_pod(
            total,
            target=self.average_target(),
            status_replicas=self.given["status_replicas"],
            tolerance=self.tolerance,
        )

    def average_target(self) -> int:
        return int(first(self.given, "target_average_value_milli", "target_average_milli"))

    def groups(self) -> tuple[int, list[str], list[str], list[str]]:
        found = calculator.group_pods(self.pods, self.usage(), self.readiness, resource=self.resource)
        return found.ready, sorted(found.unready), sorted(found.missing), sorted(found.ignored)


CALLS: Mapping[str, Callable[[Calculation], calculator.Proposal]] = {
    "GetResourceReplicas": Calculation.by_utilization,
    "GetRawResourceReplicas": Calculation.by_average,
    "GetMetricReplicas": Calculation.by_average,
    "GetObjectMetricReplicas": lambda case: case.by_value(case.object_total()),
    "GetExternalMetricReplicas": lambda case: case.by_value(case.external_total()),
    "GetObjectPerPodMetricReplicas": lambda case: case.per_pod(case.object_total()),
    "GetExternalPerPodMetricReplicas": lambda case: case.per_pod(case.external_total()),
}


def first(given: Values, *names: str) -> Any:
    return next((given[name] for name in names if name in given), ())


def read_pod(given: Values) -> Pod:
    condition, level = given["ready_condition"], given["pod_level_requests"]
    return Pod(
        name=given["name"],
        phase=Phase(given["phase"]),
        deleted_at=0.0 if given["deleting"] else None,
        started_at=read_time(given, "start_time"),
        ready=None
        if condition is None
        else ReadyCondition(condition["status"], read_time(condition, "last_transition") or 0.0),
        shape=PodShape(
            namespace="ns",
            containers=tuple(read_container(each) for each in given["containers"]),
            init_containers=tuple(read_container(each) for each in given["init_containers"]),
            pod_requests=None if level is None else read_requests(level),
        ),
    )


def read_time(given: Values, name: str) -> float | None:
    ago = given.get(f"{name}_seconds_ago")
    return given.get(f"{name}_rel_s") if ago is None else -float(ago)


def read_container(given: Values) -> Container:
    return Container(
        name=given["name"],
        requests=read_requests(given.get("requests") or {}),
        restart_always=bool(given.get("restart_policy_always")),
    )


def read_requests(given: Values) -> Resources:
    return Resources.of({name.partition("_")[0]: amount for name, amount in given.items() if amount is not None})


# Sequences: the whole recommender


START = 1_700_000_000.0
WORKLOAD = Workload(
    namespace="ns", kind="Deployment", name="web", replicas=0, template=PodShape(namespace="ns", containers=())
)


def check_sequence(case: Case) -> str:
    given = case["input"]
    spec, params = read_spec(given["hpa_spec"]), read_params(given["controller"])
    engine, memory = HpaRecommender(), HpaMemory()
    for number, (step, expected) in enumerate(zip(given["steps"], case["expected"]["steps"], strict=True)):
        view = read_view(given, step, spec)
        recommendation, memory = engine.recommend(view, params, memory)
        ours = told(recommendation, memory, step["current_replicas"])
        wanted = {name: expected[name] for name in ours}
        wanted["conditions"] = [(each["type"], each["status"], each["reason"]) for each in expected["conditions"]]
        if ours != wanted:
            return f"step {number}: " + "; ".join(
                f"{name} {ours[name]} != {wanted[name]}" for name in ours if ours[name] != wanted[name]
            )
        if recommendation.held != bool(expected["error"]):
            return f"step {number}: held is {recommendation.held} with error {expected['error']!r}"
    return ""


def told(recommendation: Recommendation, memory: HpaMemory, current: int) -> dict[str, Any]:
    errors = [reason.message for reason in recommendation.reasons if reason.code is Code.SIGNAL_MISSING]
    scaled = memory.last_scale_at
    return {
        "scale_replicas_after": recommendation.replicas,
        "rescaled": recommendation.replicas != current,
        "last_scale_time_s": round(scaled - START) if scaled else None,
        "error": errors[0] if errors else None,
        "conditions": [(each.type, each.status, each.reason) for each in recommendation.conditions],
    }


def read_spec(given: Values) -> MpaSpec:
    return MpaSpec(
        scale_target_ref=convert(given["scaleTargetRef"], TargetRef),
        goals=Goals(metrics=convert(given.get("metrics", []), tuple[MetricSpec, ...])),
        constraints=Constraints(
            global_=GlobalConstraints(min_replicas=given.get("minReplicas"), max_replicas=given["maxReplicas"])
        ),
        policy=ActionRules(
            update_mode=UpdateMode.AUTO, engine="hpa", behavior=convert(given.get("behavior"), Behavior | None)
        ),
    )


def convert(given: Any, kind: Any) -> Any:
    return msgspec.convert(given, kind, dec_hook=decode_hook)


def read_params(given: Values) -> HpaParams:
    return HpaParams(
        cpu_initialization_period_seconds=given["cpu_initialization_period_s"],
        initial_readiness_delay_seconds=given["initial_readiness_delay_s"],
        downscale_stabilization_seconds=given["downscale_stabilisation_s"],
        tolerance=given["tolerance"],
    )


def read_view(given: Values, step: Values, spec: MpaSpec) -> WorkloadView:
    now = START + step["t_s"]
    pods = read_pods(given, step, now)
    workload = msgspec.structs.replace(
        WORKLOAD, replicas=step["current_replicas"], status_replicas=step["status_replicas"]
    )
    return WorkloadView(
        now=now,
        workload=workload,
        spec=spec,
        pods=pods,
        readings=read_readings(step["metrics"], pods, now),
        model=None,
        prices=Prices(),
        reaction_seconds=60.0,
        node_seconds=120.0,
        largest_node=Resources(),
        period=15.0,
    )


def read_pods(given: Values, step: Values, now: float) -> tuple[Pod, ...]:
    requests = Resources.of(cpu=given["pod_request_cpu_millicores"], memory=given["pod_request_memory_bytes"])
    shape = PodShape(namespace="ns", containers=(Container(name="web", requests=requests),))
    ready = step["pod_count"] - step["unready_pods"]
    return tuple(
        Pod(
            name=f"web-{number}",
            shape=shape,
            workload=WORKLOAD.key,
            started_at=now - (3600.0 if number < ready else 20.0),
            ready=ReadyCondition("True", now - 3600.0) if number < ready else ReadyCondition("False", now - 20.0),
        )
        for number in range(step["pod_count"])
    )


def read_readings(given: Values, pods: tuple[Pod, ...], now: float) -> dict[Signal, Reading]:
    key, ready = WORKLOAD.key, sum(pod.is_ready for pod in pods)
    found: dict[Signal, Reading] = {}
    for field, amount in given.items():
        signal = Signal(key, *SIGNALS[field])
        if amount is None:
            found[signal] = Missing(MissingReason.FAILED, "api down")
        elif signal.kind is SignalKind.EXTERNAL_METRIC:
            found[signal] = PodSamples((PodSample("", amount, now),))
        else:
            measured = len(pods) if signal.kind is SignalKind.POD_MEMORY else ready
            container = "" if signal.kind is SignalKind.PODS_METRIC else "web"
            found[signal] = PodSamples(
                tuple(
                    PodSample(pod.name, amount if number < measured else 0, now - 5.0, 30.0, container)
                    for number, pod in enumerate(pods)
                )
            )
    return found


SIGNALS: Mapping[str, tuple[SignalKind, str]] = {
    "cpu_usage_millicores_per_ready_pod": (SignalKind.POD_CPU, ""),
    "memory_usage_bytes_per_pod": (SignalKind.POD_MEMORY, ""),
    "qps_milli_per_ready_pod": (SignalKind.PODS_METRIC, "qps"),
    "external_queue_value_milli": (SignalKind.EXTERNAL_METRIC, "queue"),
}
