"""
What the types of ScalingPolicy, NodeGroup and Tenant cannot express.

Each function yields what is wrong as (path, found, allowed). Requirements and
disruption budgets follow Karpenter's validation (karpenter.sh/v1 NodePool).
"""

from __future__ import annotations

import re

import msgspec

from autoscaler.mismatch import NOTHING, find_mismatch
from autoscaler.model.policy import (
    BudgetWindow,
    Disruption,
    GroupMatch,
    GroupPrice,
    GroupRequirement,
    Money,
    NodeGroupSpec,
    NodeRules,
    Objective,
    ScalingPolicySpec,
    Signals,
    TenantQuota,
    TenantSpec,
)
from autoscaler.model.spec import Quantity, decode_hook
from autoscaler.model.units import DAY
from autoscaler.planning.node_engines import ENGINES
from autoscaler.policy_files.words import (
    OPERATORS,
    Found,
    amounts,
    at_least,
    check_selector,
    cron,
    one_of,
    ordered,
    values_of,
    within,
    word,
)
from autoscaler.policy_files.workload_checks import check_constraints, check_goals, check_rules

DISRUPTION_REASONS = ("Consolidation", "Resize", "Empty", "Underutilized", "Drifted")
CAPACITY_TYPES = ("on-demand", "spot", "reserved")
NODE_ENGINES = tuple(ENGINES)
NUMERIC_OPERATORS = ("Gt", "Lt", "Gte", "Lte")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
COUNT_OR_SHARE = re.compile(r"[0-9]{1,9}|(100|[0-9]{1,2})%")
ADJUSTMENT = re.compile(r"[+-][0-9]{1,3}(\.[0-9]{1,4})?%|[+-]?[0-9]{1,6}(\.[0-9]{1,6})?")
_WHOLE = re.compile(r"[0-9]{1,18}")
_PERCENT = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?%")
_LEAST_PATIENCE = 1.0


def check_scaling_policy(spec: ScalingPolicySpec) -> Found:
    """Yield what is wrong with one document's spec."""
    yield from check_selector(spec.workloads.namespace_selector, "spec.workloads.namespaceSelector")
    yield from check_selector(spec.workloads.label_selector, "spec.workloads.labelSelector")
    yield from check_goals(spec.defaults.goals, "spec.defaults.goals")
    yield from check_constraints(spec.defaults.constraints, "spec.defaults.constraints")
    yield from check_rules(spec.defaults.policy, "spec.defaults.policy")
    yield from _check_objective(spec.objective, "spec.objective")
    yield from _check_disruption(spec.disruption, "spec.disruption")
    yield from _check_signals(spec.signals, "spec.signals")
    yield from _check_nodes(spec.nodes, "spec.nodes")


def check_node_group(spec: NodeGroupSpec) -> Found:
    """Yield what is wrong with one document's spec."""
    if not spec.provider:
        yield "spec.provider", spec.provider, "the name of a provider, such as aws"
    yield from _check_match(spec.match, "spec.match")
    yield from ordered(spec.size.min, spec.size.max, "spec.size.min", "max")
    for index, requirement in enumerate(spec.requirements):
        yield from _check_requirement(requirement, f"spec.requirements[{index}]")
    if not spec.capacity_types:
        yield "spec.capacityTypes", [], f"at least one of {', '.join(CAPACITY_TYPES)}"
    for index, capacity_type in enumerate(spec.capacity_types):
        yield from word(capacity_type, CAPACITY_TYPES, f"spec.capacityTypes[{index}]")
    for index, taint in enumerate(spec.template.taints):
        yield from word(taint.effect, EFFECTS, f"spec.template.taints[{index}].effect")
    yield from _check_price(spec.price, "spec.price")
    if spec.backend is not None:
        yield from word(spec.backend.kind, ("Declarative",), "spec.backend.kind")


def check_tenant(spec: TenantSpec) -> Found:
    """Yield what is wrong with one document's spec."""
    yield from check_selector(spec.namespaces.selector, "spec.namespaces.selector")
    yield from _check_money(spec.budget, "spec.budget")
    if spec.quota is not None:
        yield from _check_quota(spec.quota, "spec.quota")


def _check_objective(objective: Objective, path: str) -> Found:
    yield from _check_money(objective.money, f"{path}.money")
    quantile = objective.headroom.quantile
    if not 0 < quantile.value < 1:
        yield f"{path}.headroom.quantile", quantile.text, "a number above 0 and below 1"
    yield from word(objective.headroom.nodes, ("Pooled", "Balloons", "Off"), f"{path}.headroom.nodes")


def _check_money(money: Money, path: str) -> Found:
    yield from at_least(money.per_day, 0, f"{path}.perDay")
    yield from word(money.on_exceed, ("Alert", "Degrade"), f"{path}.onExceed")


def _check_disruption(disruption: Disruption, path: str) -> Found:
    for index, budget in enumerate(disruption.budgets):
        yield from _check_budget(budget, f"{path}.budgets[{index}]")
    yield from at_least(disruption.min_savings_per_eviction, 0, f"{path}.minSavingsPerEviction")


def _check_budget(budget: BudgetWindow, path: str) -> Found:
    for name, text in (("nodes", budget.nodes), ("pods", budget.pods)):
        if not COUNT_OR_SHARE.fullmatch(text):
            yield f"{path}.{name}", text, 'a count such as "3", or a share from "0%" to "100%"'
    for index, reason in enumerate(budget.reasons):
        yield from word(reason, DISRUPTION_REASONS, f"{path}.reasons[{index}]")
    if budget.schedule:
        yield from cron(budget.schedule, f"{path}.schedule")
        if budget.duration is None or budget.duration.seconds < 60:
            yield f"{path}.duration", budget.duration or NOTHING, "a duration of at least 1m; a schedule needs one"
    elif budget.duration is not None:
        yield f"{path}.schedule", NOTHING, "a cron line; a duration needs one"


def _check_signals(signals: Signals, path: str) -> Found:
    if signals.stale_after.seconds <= 0:
        yield f"{path}.staleAfter", signals.stale_after, "a duration above 0"
    yield from within(signals.min_coverage, 0, 1, f"{path}.minCoverage")


def _check_nodes(nodes: NodeRules, path: str) -> Found:
    yield from _check_node_params(nodes, f"{path}.params")
    if not _LEAST_PATIENCE <= nodes.consolidate_after.seconds <= DAY:
        yield f"{path}.consolidateAfter", nodes.consolidate_after, "a duration from 1s to 24h"
    yield from within(nodes.spot.max_share, 0, 1, f"{path}.spot.maxShare")
    yield from amounts(nodes.limits, f"{path}.limits")


def _check_node_params(nodes: NodeRules, path: str) -> Found:
    engine = ENGINES[nodes.engine]
    kind = msgspec.inspect.type_info(engine.params)
    known = {field.encode_name for field in getattr(kind, "fields", ())}
    for name in nodes.params:
        if name not in known:
            allowed = one_of(sorted(known)) if known else "nothing"
            yield f"{path}.{name}", name, f"{allowed}: the parameters of engine {nodes.engine.value}"
            return
    mismatch = find_mismatch(nodes.params, kind, path)
    if mismatch:
        yield mismatch
        return
    params = msgspec.convert(nodes.params, engine.params, dec_hook=decode_hook)
    for name, found, allowed in engine.problems(params):
        yield f"{path}.{name}", found, allowed


def _check_match(match: GroupMatch, path: str) -> Found:
    named = {
        "asg": match.asg,
        "nodegroup": match.nodegroup,
        "mig": match.mig,
        "nodePool": match.node_pool,
        "launch": match.launch,
    }
    given = [name for name, value in named.items() if value]
    if len(given) > 1:
        yield f"{path}.{given[1]}", named[given[1]], f"one of {', '.join(named)}, and {given[0]} is given"


def _check_requirement(requirement: GroupRequirement, path: str) -> Found:
    if not requirement.key:
        yield f"{path}.key", requirement.key, "the key of a label"
    yield from word(requirement.operator, (*OPERATORS, *NUMERIC_OPERATORS), f"{path}.operator")
    yield from values_of(requirement.operator, requirement.values, f"{path}.values")
    if requirement.operator in NUMERIC_OPERATORS and not (
        len(requirement.values) == 1 and _WHOLE.fullmatch(requirement.values[0])
    ):
        yield f"{path}.values", list(requirement.values), "one whole number, as text"
    least = requirement.min_values
    if least is not None and requirement.operator == "In" and least > len(requirement.values):
        yield f"{path}.minValues", least, f"at most the number of values, {len(requirement.values)}"


def _check_price(price: GroupPrice, path: str) -> Found:
    if price.adjustment and not ADJUSTMENT.fullmatch(price.adjustment):
        yield f"{path}.adjustment", price.adjustment, 'a share such as "-28%", or US dollars an hour'
    yield from amounts(price.per_type, f"{path}.perType")


def _check_quota(quota: TenantQuota, path: str) -> Found:
    yield from amounts(quota.floor, f"{path}.floor")
    yield from amounts(quota.ceiling, f"{path}.ceiling")
    for name, low in quota.floor.items():
        high = quota.ceiling.get(name)
        if high is not None and low.value > high.value:
            yield f"{path}.floor.{name}", low.text, f"at most ceiling, {high.text}"
    known = ("quantile", "days", "margin")
    for name, value in quota.from_.items():
        yield from word(name, known, f"{path}.from.{name}")
        if name in known and not _is_quota_source(name, value):
            allowed = {"quantile": "a number from 0 to 1", "days": "a whole number from 1 to 366"}
            yield f"{path}.from.{name}", value, allowed.get(name, 'a share such as "20%"')


def _is_quota_source(name: str, value: object) -> bool:
    if name == "days":
        return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 366
    if name == "margin":
        return isinstance(value, str) and _PERCENT.fullmatch(value) is not None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return False
    try:
        return 0 <= Quantity(value).value <= 1
    except ValueError:
        return False
