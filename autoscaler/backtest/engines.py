"""
What each engine of a backtest is: documents for every workload, one policy for
the nodes, and the developer's own settings where an operator tunes those.

Baselines follow algorithms, section 8.1, the strongest algorithms-2, section 1. All engines run on the same
offers; nodes are bought and consolidated by our own node engine but where the name of a peer's is part of the name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import msgspec

from autoscaler.backtest.balloons import with_balloons
from autoscaler.backtest.karpenter import CONSOLIDATION, with_karpenter
from autoscaler.backtest.past import peak_cores, weekly_schedules
from autoscaler.errors import InputError
from autoscaler.model.policy import (
    ActionRules,
    Constraints,
    ContainerConstraints,
    GlobalConstraints,
    Goals,
    Limits,
    MpaSpec,
    MultidimPodAutoscaler,
    NodeEngine,
    NodeRules,
    Policies,
    ScalingPolicy,
    ScalingPolicySpec,
    Slo,
    SloClass,
    UpdateMode,
)
from autoscaler.model.resources import MEMORY, Resources
from autoscaler.model.spec import (
    MetricSpec,
    MetricTarget,
    MetricType,
    PrometheusMetric,
    Quantity,
    ResourceMetric,
    TargetRef,
)
from autoscaler.recommend import season_floor
from autoscaler.recommend.demand import safe_utilisation
from autoscaler.simulator.spec import Service, WorldSpec

Settings = dict[str, Any]
Prepared = tuple[WorldSpec, Policies]
Prepare = Callable[[WorldSpec, Settings], Prepared]

LADDER = tuple(step / 1000 for step in season_floor.LADDER)
"""Cores that people ask for."""
_MEMORY_MARGIN = 1.15


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """
    A named way to scale. `settings` are the defaults, `sweep` further settings
    that move along its frontier; `prepare(world, settings)` gives what is run.
    A setting of a node engine has `nodes.` before its name.
    """

    name: str
    about: str
    prepare: Prepare
    settings: Settings = {}
    sweep: tuple[Settings, ...] = ()

    @property
    def knobs(self) -> tuple[str, ...]:
        """The names of its settings."""
        return tuple(dict.fromkeys(name for each in (self.settings, *self.sweep) for name in each))


def _static(world: WorldSpec, settings: Settings) -> Prepared:
    """Replicas for the peak of the history at a fixed utilisation; nothing is scaled but nodes."""
    services = []
    for service in world.services:
        wanted = math.ceil(peak_cores(service, world) / (settings["target"] * _cpu(service)))
        services.append(msgspec.structs.replace(service, replicas=_within(wanted, service)))
    world = msgspec.structs.replace(world, services=tuple(services))
    return world, _policies(())


def _utilisation(world: WorldSpec, settings: Settings, *, engine: str, controlled: tuple[str, ...]) -> Prepared:
    """One CPU utilisation target for all, or with `safe` a target for each that its objective allows."""
    safe = settings.get("safe")
    if safe is not None:
        world = msgspec.structs.replace(
            world, services=tuple(right_sized(service, world) for service in world.services)
        )
    documents = []
    for service in _scaled(world):
        target = settings["target"]
        if safe is not None:
            allowed = safe * safe_utilisation(service.parallelism, service.slowdown) * service.parallelism
            target = min(target, allowed / _cpu(service))
        goals = Goals(metrics=(_cpu_metric(target),))
        documents.append(_document(service, goals, ActionRules(engine=engine), controlled))
    return world, _policies(documents)


def _vertical(world: WorldSpec, settings: Settings) -> Prepared:
    """Sizes only, CPU and memory."""
    rules = ActionRules(engine="vpa", params=dict(settings))
    return world, _policies(_document(service, Goals(), rules, ("cpu", "memory")) for service in _scaled(world))


def _joint(world: WorldSpec, settings: Settings) -> Prepared:
    documents = []
    for service in _scaled(world):
        goals = Goals(slo=Slo(class_=slo_class(service.slowdown), parallelism=Quantity(service.parallelism)))
        rules = ActionRules(engine="joint", params=dict(settings))
        documents.append(_document(service, goals, rules, ("cpu", "memory")))
    return world, _policies(documents)


def _season(world: WorldSpec, settings: Settings) -> Prepared:
    """One CPU utilisation target; requests and minimum follow from the objective and the history."""
    params = {name: value for name, value in settings.items() if name != "target"}
    documents = []
    for service in _scaled(world):
        goals = Goals(
            metrics=(_cpu_metric(settings["target"]),),
            slo=Slo(class_=slo_class(service.slowdown), parallelism=Quantity(service.parallelism)),
        )
        rules = ActionRules(engine="hpa+season", params=params)
        documents.append(_document(service, goals, rules, ("cpu", "memory")))
    return world, _policies(documents)


def _keda(world: WorldSpec, settings: Settings) -> Prepared:
    """CPU utilisation and, where requests are counted, as many a pod as it serves at the same utilisation."""
    documents = []
    for service in _scaled(world):
        metrics = [_cpu_metric(settings["target"])]
        if service.exports_requests and service.requests is not None and service.cores_per_request > 0:
            metrics.append(_requests_metric(service, settings["target"]))
        rules = ActionRules(engine="keda", params={"polling_seconds": settings["polling"]})
        documents.append(_document(service, Goals(metrics=tuple(metrics)), rules, ()))
    return world, _policies(documents)


def _predictive(world: WorldSpec, settings: Settings) -> Prepared:
    """One CPU utilisation target, and a line through the last replicas."""
    line = {"history_size": settings["history"], "look_ahead_seconds": settings["ahead"]}
    params = {"decision": settings["decision"], "models": [{"type": "Linear", "name": "line", **line}]}
    documents = []
    for service in _scaled(world):
        rules = ActionRules(engine="phpa", params=params)
        documents.append(_document(service, Goals(metrics=(_cpu_metric(settings["target"]),)), rules, ()))
    return world, _policies(documents)


def _batch(world: WorldSpec, settings: Settings, *, engine: str) -> Prepared:
    """Sizes only, CPU and memory, now and then."""
    rules = ActionRules(engine=engine, params=dict(settings))
    return world, _policies(_document(service, Goals(), rules, ("cpu", "memory")) for service in _scaled(world))


def _scheduled(world: WorldSpec, settings: Settings) -> Prepared:
    """One CPU utilisation target, and a minimum by hour of the week at the same utilisation."""
    documents = []
    for service in _scaled(world):
        windows = weekly_schedules(
            service,
            world,
            cores_a_pod=settings["target"] * _cpu(service),
            quantile=_share(settings, "quantile"),
        )
        rules = ActionRules(engine="hpa", schedules=windows)
        documents.append(_document(service, Goals(metrics=(_cpu_metric(settings["target"]),)), rules, ()))
    return world, _policies(documents)


def _ballooned(world: WorldSpec, settings: Settings, *, pods: Prepare) -> Prepared:
    """Pods as *pods* prepares them, and balloons for a share of what the peak of the history asks for."""
    rest = {name: value for name, value in settings.items() if name != "share"}
    asked = sum(peak_cores(service, world) for service in _scaled(world)) / settings["target"]
    world, policies = pods(world, rest)
    return with_balloons(world, cores=settings["share"] * asked), policies


def _with_nodes_of(world: WorldSpec, settings: Settings, *, pods: Prepare, nodes: NodeEngine) -> Prepared:
    """Pods as *pods* prepares them, nodes by a peer's engine; its flags are the settings that begin with `nodes.`."""
    rest = {name: value for name, value in settings.items() if not name.startswith(_OF_NODES)}
    flags = {name.removeprefix(_OF_NODES): value for name, value in settings.items() if name.startswith(_OF_NODES)}
    world, policies = pods(world, rest)
    rules = NodeRules(engine=nodes, params=flags)
    scaling = tuple(
        msgspec.structs.replace(each, spec=msgspec.structs.replace(each.spec, nodes=rules)) for each in policies.scaling
    )
    return world, msgspec.structs.replace(policies, scaling=scaling)


def _on_karpenter(world: WorldSpec, settings: Settings, *, pods: Prepare) -> Prepared:
    """Pods as *pods* prepares them, nodes by Karpenter."""
    rest = {name: value for name, value in settings.items() if name != CONSOLIDATION and not name.startswith(_OF_NODES)}
    world, policies = pods(world, rest)
    return world, with_karpenter(policies, settings)


_OF_NODES = "nodes."
_TARGETS: tuple[Settings, ...] = ({"target": 0.6}, {"target": 0.8})
_TUNED: tuple[Settings, ...] = ({"target": 0.8, "safe": 0.9},)
_LINE: Settings = {"decision": "maximum", "history": 6, "ahead": 10}
"""The line of the peer's first example: records, and seconds ahead."""
_QUICK: Settings = {
    "nodes.scale-down-unneeded-time": "3m",
    "nodes.scale-down-delay-after-add": "3m",
    "nodes.scale-down-utilization-threshold": 0.65,
    "nodes.max-drain-parallelism": 5,
}
"""The quicker scale-down of Cluster Autoscaler that cost-minded users set."""
_ON_KARPENTER: tuple[Settings, ...] = (
    {"target": 0.7, "consolidation": "balanced"},
    {"target": 0.8, "safe": 0.9, "consolidation": "aggressive"},
    {"target": 0.8, "safe": 0.9, "consolidation": "balanced"},
)
_STRONGEST = {"target": 0.85, "fill": 0.9, "replicas_at_peak": 4}
"""Of the sweep of algorithms-2, section 1 (B3), as the points beside it are."""

ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            name="static",
            about="fixed replicas for the 99.9th percentile of the history",
            prepare=_static,
            settings={"target": 0.7},
            sweep=({"target": 0.5}, {"target": 0.9}),
        ),
        Engine(
            name="hpa",
            about="HorizontalPodAutoscaler on CPU utilisation",
            prepare=partial(_utilisation, engine="hpa", controlled=()),
            settings={"target": 0.7},
            sweep=_TARGETS + _TUNED,
        ),
        Engine(
            name="hpa+ca",
            about="HorizontalPodAutoscaler on CPU utilisation, Cluster Autoscaler for nodes",
            prepare=partial(
                _with_nodes_of,
                pods=partial(_utilisation, engine="hpa", controlled=()),
                nodes=NodeEngine.CLUSTER_AUTOSCALER,
            ),
            settings={"target": 0.7},
            sweep=(
                {"target": 0.8},
                {"target": 0.8, "safe": 0.9, "nodes.expander": "price", **_QUICK},
            ),
        ),
        Engine(
            name="hpa+karpenter",
            about="HorizontalPodAutoscaler on CPU utilisation, Karpenter for nodes",
            prepare=partial(_on_karpenter, pods=partial(_utilisation, engine="hpa", controlled=())),
            settings={"target": 0.7, "consolidation": "aggressive"},
            sweep=_ON_KARPENTER,
        ),
        Engine(
            name="hpa+vpa+karpenter",
            about="HorizontalPodAutoscaler on CPU utilisation, VerticalPodAutoscaler on memory, Karpenter for nodes",
            prepare=partial(_on_karpenter, pods=partial(_utilisation, engine="hpa+vpa", controlled=("memory",))),
            settings={"target": 0.7, "consolidation": "aggressive"},
            sweep=_ON_KARPENTER,
        ),
        Engine(
            name="cron+hpa",
            about="HorizontalPodAutoscaler on CPU utilisation, with a minimum for each hour of the week by the history",
            prepare=_scheduled,
            settings={"target": 0.7, "quantile": 0.95},
            sweep=(
                {"target": 0.6, "quantile": 0.99},
                {"target": 0.8, "quantile": 0.95},
            ),
        ),
        Engine(
            name="hpa+balloon",
            about="HorizontalPodAutoscaler on CPU utilisation, and balloon pods for a share of the peak in the history",
            prepare=partial(_ballooned, pods=partial(_utilisation, engine="hpa", controlled=())),
            settings={"target": 0.7, "share": 0.1},
            sweep=(
                {"target": 0.7, "share": 0.2},
                {"target": 0.8, "share": 0.1},
            ),
        ),
        Engine(
            name="hpa+vpa",
            about="HorizontalPodAutoscaler on CPU utilisation, VerticalPodAutoscaler on memory",
            prepare=partial(_utilisation, engine="hpa+vpa", controlled=("memory",)),
            settings={"target": 0.7},
            sweep=_TARGETS + _TUNED,
        ),
        Engine(
            name="vpa",
            about="VerticalPodAutoscaler on CPU and memory, replicas as they are",
            prepare=_vertical,
            sweep=(
                {"safety_margin": 0.05},
                {"target_cpu_percentile": 0.95},
                {"target_cpu_percentile": 0.98, "safety_margin": 0.3},
            ),
        ),
        Engine(
            name="mpa",
            about="GKE's MultidimPodAutoscaler: CPU utilisation and memory",
            prepare=partial(_utilisation, engine="mpa", controlled=("memory",)),
            settings={"target": 0.7},
            sweep=_TARGETS,
        ),
        Engine(
            name="hpa+season",
            about="hpa+vpa with requests that fit the objective and a minimum that follows the season",
            prepare=_season,
            settings=_STRONGEST,
            sweep=(
                {"target": 0.85, "fill": 0.9, "replicas_at_peak": 2},
                {"target": 0.7, "fill": 0.85, "replicas_at_peak": 4},
            ),
        ),
        Engine(
            name="keda",
            about="KEDA: CPU utilisation and requests a pod",
            prepare=_keda,
            settings={"target": 0.7, "polling": 30},
            sweep=tuple({**settings, "polling": 30} for settings in _TARGETS),
        ),
        Engine(
            name="phpa",
            about="PredictiveHorizontalPodAutoscaler: CPU utilisation and a line through past replicas",
            prepare=_predictive,
            settings={"target": 0.7, **_LINE},
            sweep=(
                *({**_LINE, **settings} for settings in _TARGETS),
                {"target": 0.8, **_LINE, "history": 40, "ahead": 120},
                {"target": 0.7, **_LINE, "decision": "mean"},
            ),
        ),
        Engine(
            name="krr",
            about="KRR's simple strategy once a day on CPU and memory, replicas as they are",
            prepare=partial(_batch, engine="krr"),
            sweep=({"cpu_percentile": 0.99}, {"memory_buffer": 0.3, "use_oom_data": True}),
        ),
        Engine(
            name="crane",
            about="Crane's recommendation once a day on CPU and memory, replicas as they are",
            prepare=partial(_batch, engine="crane"),
            sweep=({"cpu_target_utilization": 0.7}, {"cpu_margin": 0.5}),
        ),
        Engine(
            name="joint",
            about="replicas, requests and nodes as one decision",
            prepare=_joint,
            sweep=(
                {"utilisation": 0.75, "fill": 0.75},
                {"utilisation": 1.0, "fill": 0.96},
            ),
        ),
    )
}


def settings_of(engine: Engine, *, sweep: bool, knobs: Mapping[str, Sequence[Any]]) -> tuple[Settings, ...]:
    """
    Return the settings to run, the defaults first.

    A sweep has the engine's own points, or where *knobs* are given all combinations
    of their values, of those that the engine has.
    """
    own = {name: values for name, values in knobs.items() if name in engine.knobs}
    if not sweep:
        return (engine.settings,)
    if not knobs:
        return (engine.settings, *engine.sweep)
    combined = (dict(zip(own, values, strict=True)) for values in product(*own.values()))
    further = ({**engine.settings, **each} for each in combined)
    return (engine.settings, *(each for each in further if each != engine.settings))


def right_sized(service: Service, world: WorldSpec) -> Service:
    """
    Return *service* as an operator would tune it: a step of the ladder that
    gives about 8 replicas at the peak, never above its parallelism, and memory
    for the load that a pod then gets (algorithms, section 8.1, "tuned").
    """
    if not service.scalable or service.requests is None:
        return service
    peak = peak_cores(service, world)
    wanted = min(max(peak / 0.7 / 8, LADDER[0]), service.parallelism)
    cores = min(next((step for step in LADDER if step >= wanted - 1e-9), LADDER[-1]), service.parallelism)
    replicas = _within(math.ceil(peak / (0.7 * cores)), service)
    rate = min(peak / replicas, service.parallelism) / max(service.cores_per_request, 1e-12)
    memory = max(int(_MEMORY_MARGIN * (service.base_bytes + service.bytes_per_rps * rate)), 1)
    memory = max(memory, service.pod_requests.memory)
    return msgspec.structs.replace(
        service,
        pod_requests=service.pod_requests.with_(cpu=max(1, round(cores * 1000)), memory=memory),
        pod_limits=_with_memory(service.pod_limits, memory),
        replicas=_within(math.ceil(service.replicas * _cpu(service) / cores), service),
    )


def slo_class(slowdown: float) -> SloClass:
    """Return the class whose objective is nearest to *slowdown* times the service time."""
    if slowdown <= 3.5:
        return SloClass.LATENCY_SENSITIVE
    return SloClass.STANDARD if slowdown <= 10 else SloClass.BATCH


def _document(service: Service, goals: Goals, rules: ActionRules, controlled: tuple[str, ...]) -> MultidimPodAutoscaler:
    return MultidimPodAutoscaler(
        namespace=service.namespace,
        name=service.name,
        spec=MpaSpec(
            scale_target_ref=TargetRef(kind=service.kind, name=service.name),
            goals=goals,
            constraints=Constraints(
                global_=GlobalConstraints(min_replicas=service.min_replicas, max_replicas=max(1, service.max_replicas)),
                container_controlled_resources=controlled,
                container=(ContainerConstraints(name="*", limits=Limits.KEEP_RATIO),),
            ),
            policy=msgspec.structs.replace(rules, update_mode=UpdateMode.AUTO),
        ),
    )


def _policies(documents: Iterable[MultidimPodAutoscaler]) -> Policies:
    return Policies(
        mpas=tuple(sorted(documents, key=lambda mpa: (mpa.namespace, mpa.name))),
        scaling=(ScalingPolicy(name="backtest", spec=ScalingPolicySpec(mode=UpdateMode.AUTO)),),
    )


def _scaled(world: WorldSpec) -> Iterable[Service]:
    return (service for service in world.services if service.scalable)


def _cpu_metric(target: float) -> MetricSpec:
    percent = max(1, round(target * 100))
    return MetricSpec(
        type=MetricType.RESOURCE,
        resource=ResourceMetric(name="cpu", target=MetricTarget(type="Utilization", average_utilization=percent)),
    )


def _requests_metric(service: Service, target: float) -> MetricSpec:
    """As many requests a second for each pod as use *target* of its CPU request."""
    each = max(target * _cpu(service) / service.cores_per_request, 0.001)
    return MetricSpec(
        type=MetricType.PROMETHEUS,
        prometheus=PrometheusMetric(
            name="requests",
            query=f'sum(rate(http_requests_total{{service="{service.name}"}}[2m]))',
            target=MetricTarget(type="AverageValue", average_value=Quantity(f"{each:.3f}")),
        ),
    )


def _share(settings: Settings, name: str) -> float:
    value = settings[name]
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InputError("settings", name, value, "a number from 0 to 1")
    return float(value)


def _with_memory(limits: Resources, memory: int) -> Resources:
    return limits.with_(memory=memory) if limits.has(MEMORY) else limits


def _cpu(service: Service) -> float:
    """Return the cores that one pod asks for."""
    return max(service.pod_requests.cpu, 1) / 1000


def _within(replicas: int, service: Service) -> int:
    if not service.scalable:
        return service.replicas
    return min(max(replicas, service.min_replicas), service.max_replicas)
