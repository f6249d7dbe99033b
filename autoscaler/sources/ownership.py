"""
Which workload a pod of the past belonged to, told by its name.

Pods that are gone have no owner in the cluster any more, but controllers name
pods by fixed rules, and those are precise enough: a Deployment's pod is
`name-hash-random`, a StatefulSet's `name-ordinal`, all others' `name-random`.
Hash and random part have no vowels, so that hardly a name can pass for one.
Not told: workloads with names of more than 56 characters, which the API
server cuts off. The recording rules use kube-state-metrics' owners instead
and are exact.

Sources: apimachinery `pkg/util/rand` (the alphabet), apiserver
`pkg/storage/names` (58 characters of a base, 5 random ones).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

import msgspec

from autoscaler.model.pod import Pod
from autoscaler.model.workload import workload_key

_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"


class Naming(enum.Enum):
    """How a controller names its pods: what follows its own name (RE2 and Python)."""

    # A long name leaves no room for the second dash.
    HASH = f"-{_SAFE}{{1,10}}-?{_SAFE}{{5}}"
    ORDINAL = "-[0-9]+"
    RANDOM = f"-{_SAFE}{{5}}"


_KNOWN = {
    "Deployment": Naming.HASH,
    "StatefulSet": Naming.ORDINAL,
    "DaemonSet": Naming.RANDOM,
    "ReplicaSet": Naming.RANDOM,
    "ReplicationController": Naming.RANDOM,
    "Job": Naming.RANDOM,
}


class Owner(msgspec.Struct, frozen=True):
    """A workload, and how its pods are named."""

    namespace: str
    kind: str
    name: str
    naming: Naming

    @property
    def key(self) -> str:
        return workload_key(self.namespace, self.kind, self.name)


def owner_of(key: str, pod: str = "") -> Owner:
    """
    Return the owner of key `namespace/Kind/name`; *pod*, one of its pods, shows how an unknown kind names them.

    >>> owner_of("shop/Rollout/web", "web-6fb786454b-mrr5s").naming.name
    'HASH'
    """
    namespace, kind, name = key.split("/", 2)
    naming = _KNOWN.get(kind)
    if naming is None:
        shown = (each for each in Naming if re.fullmatch(_plain(name) + each.value, pod))
        naming = next(shown, Naming.HASH)
    return Owner(namespace, kind, name, naming)


def owners_of(pods: Iterable[Pod]) -> list[Owner]:
    """Return the owners of pods, in the order of their keys."""
    shown: dict[str, str] = {}
    for pod in pods:
        if pod.workload:
            shown.setdefault(pod.workload, pod.name)
    return [owner_of(key, shown[key]) for key in sorted(shown)]


def matchers_of(owners: Iterable[Owner]) -> tuple[str, str]:
    """Return label matchers for the pods of *owners*; a few strangers may match, too."""
    listed = list(owners)
    namespaces = "|".join(sorted({owner.namespace for owner in listed}))
    pods = "|".join(pattern for _, pattern in _patterns(listed))
    return f'namespace=~"{namespaces}"', f'pod=~"{pods}"'


def with_owner(query: str, owners: Iterable[Owner]) -> str:
    """
    Return *query* with the labels `workload` and `workload_kind` on each series of a pod of *owners*.

    >>> with_owner("up", [owner_of("a/StatefulSet/db")]).count("label_replace(up, ")
    1
    """
    for kind, pattern in _patterns(owners):
        query = f'label_replace({query}, "workload", "$1", "pod", "{pattern}")'
        query = f'label_replace({query}, "workload_kind", "{kind}", "pod", "{pattern}")'
    return query


def _patterns(owners: Iterable[Owner]) -> list[tuple[str, str]]:
    """Return (kind, pattern) for all owners that are named alike; the group is the workload's name."""
    alike: dict[tuple[str, str], set[str]] = {}
    for owner in owners:
        alike.setdefault((owner.kind, owner.naming.value), set()).add(_plain(owner.name))
    return [(kind, f"({'|'.join(sorted(names))}){ending}") for (kind, ending), names in sorted(alike.items())]


def _plain(name: str) -> str:
    return name.replace(".", "[.]")
