"""Kubernetes objects as tests and people put them on the development cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]
SPEED_UP = {"terminationGracePeriodSeconds": 0}


def node(
    name: str,
    *,
    cpu: str = "4",
    memory: str = "16Gi",
    pods: str = "110",
    zone: str = "zone-a",
    instance_type: str = "fake",
    labels: Mapping[str, str] | None = None,
    boot_seconds: float = 0,
) -> Object:
    """Return a Node that kwok keeps alive; it becomes Ready after *boot_seconds*."""
    room = {"cpu": cpu, "memory": memory, "pods": pods}
    own = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": zone,
        "node.kubernetes.io/instance-type": instance_type,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": own | dict(labels or {}),
            "annotations": {"kwok.x-k8s.io/node": "fake", "podnode.io/boot-seconds": f"{boot_seconds:g}"},
        },
        "spec": {},
        "status": {"capacity": room, "allocatable": room},
    }


def deployment(
    name: str,
    *,
    replicas: int = 1,
    cpu: str = "100m",
    memory: str = "64Mi",
    limits: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **pod_spec: Any,
) -> Object:
    """
    Return a Deployment of one container, `app`, whose pods carry the label `app: NAME`.

    *annotations* go to its pods (`podnode.io/start-seconds`); *pod_spec* adds to the pods' spec.
    """
    labels = {"app": name}
    container = {
        "name": "app",
        "image": "fake",
        "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": dict(limits or {})},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": dict(annotations or {})},
                "spec": {**SPEED_UP, **pod_spec, "containers": [container]},
            },
        },
    }


def is_ready(value: Mapping[str, Any]) -> bool:
    """Return whether a Pod or Node, as JSON, is Ready."""
    conditions = value.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
