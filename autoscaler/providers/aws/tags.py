"""
What tags of an Auto Scaling group say of its nodes, for a group that has none to look at.

Keys are those of Cluster Autoscaler (its AWS README, "Auto-discovery setup" and "Scaling from zero").
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from autoscaler.model.placement import Effect, Taint
from autoscaler.model.resources import Resources
from autoscaler.providers.aws import wire

NODE_TEMPLATE = "k8s.io/cluster-autoscaler/node-template/"
EKS_NODEGROUP = "eks:nodegroup-name"
_LABEL, _TAINT, _RESOURCE = (f"{NODE_TEMPLATE}{part}/" for part in ("label", "taint", "resources"))


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What tags say: labels, taints, and amounts that take the place of the machine's."""

    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    resources: Resources = Resources()
    nodegroup: str = ""


class Wanted(msgspec.Struct, frozen=True):
    """A tag that a group must have; `value` None takes any."""

    key: str
    value: str | None = None

    def is_met(self, tags: Mapping[str, str]) -> bool:
        return self.key in tags and self.value in (None, tags[self.key])


def wanted_tags(texts: tuple[str, ...], cluster: str) -> tuple[Wanted, ...]:
    """
    Read `KEY` and `KEY=VALUE`; without any, those by which Cluster Autoscaler finds the groups of *cluster*.

    >>> wanted_tags(("team=shop", "mine"), "c")
    (Wanted(key='team', value='shop'), Wanted(key='mine', value=None))
    """
    texts = texts or ("k8s.io/cluster-autoscaler/enabled", f"k8s.io/cluster-autoscaler/{cluster}")
    parts = (text.partition("=") for text in texts)
    return tuple(Wanted(key.strip(), value.strip() if sign else None) for key, sign, value in parts)


def told_by(tags: Mapping[str, str]) -> Told:
    """
    Return what *tags* say; other tags are passed over.

    Raises:
        ValueError: a tag cannot be read; names the tag, its value and what is allowed.
    """
    amounts = {_rest(key, _RESOURCE): value for key, value in tags.items() if key.startswith(_RESOURCE)}
    return Told(
        labels={_rest(key, _LABEL): value for key, value in tags.items() if key.startswith(_LABEL)},
        taints=tuple(_taint(key, value) for key, value in sorted(tags.items()) if key.startswith(_TAINT)),
        resources=Resources.of([pair for name, text in amounts.items() for pair in _amount(name, text)]),
        nodegroup=tags.get(EKS_NODEGROUP, ""),
    )


def tags_of(group: wire.Group) -> dict[str, str]:
    return {tag.key: tag.value for tag in group.tags}


def _rest(key: str, prefix: str) -> str:
    rest = key.removeprefix(prefix)
    if not rest:
        raise ValueError(f"tag {key}: '' is not valid; allowed: a name after the last slash")
    return rest


def _taint(key: str, text: str) -> Taint:
    value, _, effect = text.rpartition(":")
    if effect not in frozenset(Effect):
        raise ValueError(
            f"tag {key}: {text!r} is not valid; allowed: `value:Effect`, Effect one of {', '.join(Effect)}"
        )
    return Taint(_rest(key, _TAINT), Effect(effect), value)


def _amount(name: str, text: str) -> tuple[tuple[str, int], ...]:
    try:
        found = Resources.parse({name: text}).amounts
    except ValueError as error:
        raise ValueError(f"tag {_RESOURCE}{name}: {text!r} is not valid; allowed: a Kubernetes quantity") from error
    if not name or found[0][1] < 0:
        raise ValueError(f"tag {_RESOURCE}{name}: {text!r} is not valid; allowed: an amount of a resource, at least 0")
    return found
