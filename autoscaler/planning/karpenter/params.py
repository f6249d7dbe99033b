"""
Karpenter's settings that this engine knows, with their defaults.

Source: Karpenter `pkg/operator/options/options.go`,
`pkg/apis/v1alpha1/nodeoverlay.go`, main of 2026-08-20.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from autoscaler.model.resources import CPU, Resources
from autoscaler.model.spec import Duration, Quantity, Spec, decode_hook
from autoscaler.planning.karpenter.overlays import Overlay, overlay_problems
from autoscaler.planning.karpenter.requirements import requirement
from autoscaler.planning.karpenter.solve import SolveRules

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte")


class PreferencePolicy(enum.StrEnum):
    RESPECT = "Respect"
    IGNORE = "Ignore"


class MinValuesPolicy(enum.StrEnum):
    STRICT = "Strict"
    BEST_EFFORT = "BestEffort"


class OverlayRequirement(Spec, frozen=True, kw_only=True):
    key: str
    operator: str
    values: tuple[str, ...] = ()


class NodeOverlay(Spec, frozen=True, kw_only=True):
    """A `NodeOverlay` of Karpenter: its name and its spec."""

    name: str
    requirements: tuple[OverlayRequirement, ...] = ()
    """Which instance types and offerings it is about."""
    price: str = ""
    """US dollars an hour instead of the provider's."""
    price_adjustment: str = ""
    """Added to the provider's price: an amount (`+0.1`) or a share (`-15%`)."""
    capacity: dict[str, Quantity] = {}
    """Extended resources that the provider does not know of."""
    weight: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    """The highest counts where several set the same."""


class KarpenterParams(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Set under `nodes.params` where `nodes.engine` is `karpenter`."""

    preference_policy: PreferencePolicy = PreferencePolicy.RESPECT
    """Whether preferences are taken as rules until they fail, or not looked at."""
    min_values_policy: MinValuesPolicy = MinValuesPolicy.STRICT
    """Whether minValues may be undercut where there are not so many."""
    node_overlays: tuple[NodeOverlay, ...] = ()
    expire_after: Duration = Duration("720h")
    """Nodes are replaced at this age, whatever the budgets say; 0s for never."""
    termination_grace_period: Duration | None = None
    """Where given, drift begins with nodes whose pods must not be evicted yet."""
    spot_to_spot_consolidation: bool = False
    """Whether a spot node may be replaced by a cheaper spot node."""

    @property
    def solve_rules(self) -> SolveRules:
        return SolveRules(
            respects_preferences=self.preference_policy is PreferencePolicy.RESPECT,
            best_effort_values=self.min_values_policy is MinValuesPolicy.BEST_EFFORT,
        )

    @property
    def overlays(self) -> tuple[Overlay, ...]:
        return tuple(map(_overlay, self.node_overlays))


def read_params(given: Mapping[str, Any]) -> KarpenterParams:
    """
    Return the parameters that a policy gives.

    Raises:
        msgspec.ValidationError: they are not what the engine takes.
    """
    return msgspec.convert(dict(given), KarpenterParams, dec_hook=decode_hook) if given else DEFAULTS


def param_problems(params: KarpenterParams) -> Iterable[tuple[str, object, str]]:
    """Yield what is wrong with parameters of the right types."""
    names = [overlay.name for overlay in params.node_overlays]
    for at, overlay in enumerate(params.node_overlays):
        path = f"node-overlays[{at}]"
        if names.index(overlay.name) != at:
            yield f"{path}.name", overlay.name, "a name that no other overlay has"
        wrong = False
        for number, each in enumerate(overlay.requirements):
            if each.operator not in OPERATORS:
                wrong = True
                yield f"{path}.requirements[{number}].operator", each.operator, f"one of {', '.join(OPERATORS)}"
        for name, found, allowed in () if wrong else overlay_problems(_overlay(overlay)):
            yield f"{path}.{name}", found, allowed


def _overlay(given: NodeOverlay) -> Overlay:
    return Overlay(
        name=given.name,
        requirements=tuple(requirement(each.key, each.operator, each.values) for each in given.requirements),
        price=given.price,
        adjustment=given.price_adjustment,
        capacity=Resources.of(
            (name, amount.milli if name == CPU else amount.whole) for name, amount in given.capacity.items()
        ),
        weight=given.weight,
    )


DEFAULTS = KarpenterParams()
