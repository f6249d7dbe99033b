"""
Random pods, and mixed nodes for them: every placement rule of the scheduler's default profile, drawn from a seed.

Pods come as apps: those of one app are alike, and rules between pods name apps.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.cluster.objects import Object, node

ZONES = ("zone-a", "zone-b", "zone-c")
SIZES = {
    "m7i.xlarge": ("4", "16Gi"),
    "m7i.2xlarge": ("8", "32Gi"),
    "c7i.4xlarge": ("16", "32Gi"),
    "r7i.xlarge": ("4", "32Gi"),
}
SMALL = ("m7i.xlarge", "m7i.xlarge", "r7i.xlarge")
DEDICATED = {"key": "dedicated", "value": "batch", "effect": "NoSchedule"}
PRIORITIES = {"low": -10, "normal": 0, "high": 1000}
ZONE, HOST, TYPE = "topology.kubernetes.io/zone", "kubernetes.io/hostname", "node.kubernetes.io/instance-type"
APPS, NODES = 60, 40
_RULES_EACH = (0, 1, 1, 2, 2, 3)


class RandomPods:
    """All of it follows from *seed* and *prefix*, which begins the names of what has no namespace."""

    def __init__(self, seed: int, prefix: str, placement: Object) -> None:
        self._random = random.Random(seed)
        self._prefix, self._placement = prefix, placement
        self.volumes: list[tuple[Object, Object]] = []
        """PersistentVolumes, each with its claim."""
        self._apps = [self._app(f"app-{number:02d}") for number in range(APPS)]

    def priority_classes(self) -> list[Object]:
        """Return classes that order the queue but take no pod's place."""
        return [
            {"metadata": {"name": f"{self._prefix}-{name}"}, "value": value, "preemptionPolicy": "Never"}
            for name, value in PRIORITIES.items()
        ]

    def nodes(self) -> list[Object]:
        """Return nodes of mixed types, zones and taints."""
        return [self._node(number) for number in range(NODES)]

    def _node(self, number: int) -> Object:
        kind = self._random.choice([*SIZES, *SMALL])
        cpu, memory = SIZES[kind]
        own = {"disk": "ssd"} if number % 3 == 0 else {"cores": cpu}
        body = node(
            f"{self._prefix}-{number:02d}",
            cpu=cpu,
            memory=memory,
            pods=self._random.choice(["8", "110"]),
            zone=ZONES[number % len(ZONES)],
            instance_type=kind,
            labels={**own, **self._placement["nodeSelector"]},
        )
        tolerated = self._placement["tolerations"]
        taints = [{key: each[key] for key in ("key", "value", "effect")} for each in tolerated]
        taints += [DEDICATED] if number % 4 == 3 else []
        taints += [{"key": "spot", "value": "", "effect": "PreferNoSchedule"}] if number % 5 == 4 else []
        body["spec"] = {"taints": taints, "unschedulable": number == NODES - 1}
        return body

    def pods(self, count: int) -> list[Object]:
        """Return pods in the order of their creation."""
        return [self._pod(number) for number in range(count)]

    def _pod(self, number: int) -> Object:
        app = self._random.choice(self._apps)
        metadata = {"name": f"pod-{number:03d}-{app['name']}", "labels": app["labels"]}
        return {"metadata": metadata, "spec": app["spec"]}

    def _app(self, name: str) -> Object:
        """Return a template: requests, a priority, and some rules."""
        draw = self._random
        requests = {
            "cpu": f"{draw.choice([50, 100, 250, 500, 1000, 1900, 3500])}m",
            "memory": f"{draw.choice([64, 256, 1024, 3000])}Mi",
        }
        labels = {"app": name, "tier": draw.choice(["web", "db", "job"])}
        container: Object = {"name": "app", "image": "fake", "resources": {"requests": requests}}
        spec: Object = {
            "terminationGracePeriodSeconds": 0,
            "priorityClassName": f"{self._prefix}-{draw.choice(sorted(PRIORITIES))}",
            "nodeSelector": dict(self._placement["nodeSelector"]),
            "tolerations": list(self._placement["tolerations"]),
            "containers": [container],
            "affinity": {},
        }
        for rule in draw.sample(_RULES, draw.choice(_RULES_EACH)):
            rule(self, name, spec)
        return {"name": name, "labels": labels, "spec": spec}

    # Rules: each adds one to a pod's spec.

    def _selects(self, name: str, spec: Object) -> None:
        spec["nodeSelector"] |= self._random.choice(
            [{ZONE: self._random.choice(ZONES)}, {"disk": "ssd"}, {TYPE: self._random.choice(sorted(SIZES))}]
        )

    def _node_affinity(self, name: str, spec: Object) -> None:
        terms = [
            [{"key": ZONE, "operator": "NotIn", "values": [self._random.choice(ZONES)]}],
            [{"key": "cores", "operator": "Gt", "values": ["4"]}],
            [
                {"key": "disk", "operator": "DoesNotExist"},
                {"key": TYPE, "operator": "In", "values": ["m7i.2xlarge", "r7i.xlarge"]},
            ],
            [{"key": "disk", "operator": "Exists"}],
        ]
        chosen = self._random.sample(terms, self._random.choice([1, 2]))
        required = {"nodeSelectorTerms": [{"matchExpressions": term} for term in chosen]}
        spec["affinity"]["nodeAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": required}

    def _prefers(self, name: str, spec: Object) -> None:
        term = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
        affinity = spec["affinity"].setdefault("nodeAffinity", {})
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [{"weight": 50, "preference": term}]

    def _tolerates(self, name: str, spec: Object) -> None:
        spec["tolerations"].append({"key": "dedicated", "operator": "Exists"})

    def _keeps_away(self, name: str, spec: Object) -> None:
        """From its own kind on a host, or from another tier in a zone."""
        own = {"labelSelector": {"matchLabels": {"app": name}}, "topologyKey": HOST}
        other = {
            "labelSelector": {"matchLabels": {"app": self._any_app()}},
            "topologyKey": self._random.choice([HOST, ZONE]),
        }
        terms = self._random.choice([[own], [own, other], [other]])
        spec["affinity"]["podAntiAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": terms}

    def _keeps_company(self, name: str, spec: Object) -> None:
        """With its own kind or another app, in a zone or on a host."""
        app = self._random.choice([name, name, self._any_app()])
        term = {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": self._random.choice([HOST, ZONE, ZONE])}
        spec["affinity"]["podAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}

    def _spreads(self, name: str, spec: Object) -> None:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": self._random.choice([1, 2]),
                "topologyKey": self._random.choice([ZONE, ZONE, HOST]),
                "whenUnsatisfiable": self._random.choice(["DoNotSchedule", "DoNotSchedule", "ScheduleAnyway"]),
                "labelSelector": {"matchLabels": {"app": name}},
                "nodeTaintsPolicy": self._random.choice(["Honor", "Ignore"]),
            }
        ]

    def _listens(self, name: str, spec: Object) -> None:
        port = self._random.choice([8080, 8081, 9090])
        spec["containers"][0]["ports"] = [
            {"containerPort": port, "hostPort": port, "protocol": self._random.choice(["TCP", "UDP"])}
        ]

    def _stores(self, name: str, spec: Object) -> None:
        """On a volume in one zone."""
        volume, zone = f"{self._prefix}-{name}", self._random.choice(ZONES)
        where = [{"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}]
        shared: Object = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        claim = {
            "metadata": {"name": name},
            "spec": {**shared, "volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}},
        }
        persistent = {
            "metadata": {"name": volume},
            "spec": {
                **shared,
                "capacity": {"storage": "1Gi"},
                "local": {"path": f"/{volume}"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": where}},
            },
        }
        self.volumes.append((persistent, claim))
        spec["volumes"] = [{"name": "disk", "persistentVolumeClaim": {"claimName": name}}]

    def _asks_too_much(self, name: str, spec: Object) -> None:
        """For more than any machine has, or for what no machine has."""
        asked = self._random.choice([{"cpu": "90"}, {"example.com/gpu": "1"}, {"memory": "700Gi"}])
        resources = spec["containers"][0]["resources"]
        resources["requests"] = {**resources["requests"], **asked}
        resources["limits"] = {key: value for key, value in asked.items() if "/" in key}

    def _wants_what_is_nowhere(self, name: str, spec: Object) -> None:
        spec["nodeSelector"] |= {"disk": "tape"}

    def _any_app(self) -> str:
        return f"app-{self._random.randrange(APPS):02d}"


_Rule = Callable[[RandomPods, str, Any], None]
_RULES: tuple[_Rule, ...] = (
    *(
        RandomPods._selects,
        RandomPods._node_affinity,
        RandomPods._prefers,
        RandomPods._tolerates,
        RandomPods._tolerates,
    ),
    *(RandomPods._keeps_away, RandomPods._keeps_company, RandomPods._spreads, RandomPods._spreads),
    *(RandomPods._listens, RandomPods._stores, RandomPods._asks_too_much, RandomPods._wants_what_is_nowhere),
)
