"""Pods as an API server prints them, 9 kB each: two containers, probes, environment, managedFields."""

from __future__ import annotations

import json
from typing import Any

WORKLOADS, NODES = 3000, 5000
_HASH = "6d4cf56db6"
_MANAGED = ("f:metadata", "f:annotations", "f:labels", "f:ownerReferences", "f:spec", "f:containers", "f:status")


def pod_key(index: int) -> tuple[int, int, int]:
    """Return what sorts pods as their namespaces and names do."""
    workload = index % WORKLOADS
    return workload % 100, workload, index // WORKLOADS


def pod_line(index: int, *, version: int, ready: str = "True") -> bytes:
    """Return pod *index* as one JSON object."""
    workload = index % WORKLOADS
    return _TEMPLATES[workload % len(_TEMPLATES)] % {
        b"app": b"app-%04d" % workload,
        b"namespace": b"team-%03d" % (workload % 100),
        b"pod": b"%05x" % (index // WORKLOADS),
        b"uid": b"%08x-6c1f-4c3f-9d5e-%012x" % (index * 2654435761 % 2**32, index),
        b"node": b"ip-10-%d-%d-%d.eu-central-1.compute.internal" % (index % 7, index % NODES // 256, index % 256),
        b"version": b"%d" % version,
        b"ready": ready.encode(),
        b"minute": b"%02d" % (index % 60),
    }


def replica_set(index: int) -> dict[str, Any]:
    """Return the ReplicaSet of workload *index*, which a Deployment owns."""
    name, namespace = f"app-{index:04d}", f"team-{index % 100:03d}"
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": f"d-{index}", "controller": True}
    return {
        "metadata": {"name": f"{name}-{_HASH}", "namespace": namespace, "ownerReferences": [owner]},
        "spec": {"replicas": 50, "selector": {"matchLabels": {"app": name}}, "template": _template(name)},
    }


def deployment(index: int) -> dict[str, Any]:
    """Return the Deployment of workload *index*."""
    name, namespace = f"app-{index:04d}", f"team-{index % 100:03d}"
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 50, "selector": {"matchLabels": {"app": name}}, "template": _template(name)},
    }


def _template(name: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app"}]}}


def _pod(size: int) -> dict[str, Any]:
    labels = {
        "app": "%(app)s",
        "app.kubernetes.io/instance": "%(app)s",
        "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/version": f"1.{size}.0",
        "pod-template-hash": _HASH,
    }
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": f"%(app)s-{_HASH}",
        "uid": "0f0f0f0f-0000-4000-8000-000000000000",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": f"%(app)s-{_HASH}-%(pod)s",
            "generateName": f"%(app)s-{_HASH}-",
            "namespace": "%(namespace)s",
            "uid": "%(uid)s",
            "resourceVersion": "%(version)s",
            "creationTimestamp": "2026-11-24T09:%(minute)s:00Z",
            "labels": labels,
            "annotations": {"prometheus.io/scrape": "true", "checksum/config": "4f1e" * 16},
            "ownerReferences": [owner],
            "managedFields": _managed_fields(),
        },
        "spec": _spec(size),
        "status": _status(size),
    }


def _managed_fields() -> list[dict[str, Any]]:
    fields: dict[str, dict[str, dict[str, str]]] = {
        key: {f"f:field-{number}": {} for number in range(10)} for key in _MANAGED
    }
    return [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-11-24T09:%(minute)s:02Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        for manager in ("kube-controller-manager", "kubelet")
    ]


def _resources(size: int, number: int) -> dict[str, Any]:
    memory = f"{64 * (1 + size + number)}Mi"
    return {"limits": {"memory": memory}, "requests": {"cpu": f"{100 * (1 + size)}m", "memory": memory}}


def _container(size: int, number: int) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1}
    mount = {"name": "kube-api-access-%(pod)s", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    return {
        "name": f"c{number}",
        "image": f"registry.example.com/team/service-{number}:1.{size}.0",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{key}", "value": f"a value of setting {key} of this"} for key in range(12)],
        "resources": _resources(size, number),
        "volumeMounts": [{"name": "config", "mountPath": "/etc/config", "readOnly": True}, mount],
        "livenessProbe": probe,
        "readinessProbe": probe,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
    }


def _spec(size: int) -> dict[str, Any]:
    token = {"projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]}}
    tolerated = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    return {
        "volumes": [
            {"name": "config", "configMap": {"name": "%(app)s", "defaultMode": 420}},
            {"name": "cache", "emptyDir": {}},
            {"name": "kube-api-access-%(pod)s", **token},
        ],
        "containers": [_container(size, 0), _container(size, 1)],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "%(app)s",
        "nodeName": "%(node)s",
        "schedulerName": "default-scheduler",
        "tolerations": [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300} for key in tolerated
        ],
        "priority": 0,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "%(app)s"}},
            }
        ],
    }


def _status(size: int) -> dict[str, Any]:
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "phase": "Running",
        "conditions": [
            {
                "type": kind,
                "status": "%(ready)s" if kind == "Ready" else "True",
                "lastProbeTime": None,
                "lastTransitionTime": "2026-11-24T09:%(minute)s:20Z",
            }
            for kind in kinds
        ],
        "hostIP": "10.0.0.1",
        "podIP": "10.1.0.1",
        "podIPs": [{"ip": "10.1.0.1"}],
        "startTime": "2026-11-24T09:%(minute)s:01Z",
        "containerStatuses": [
            {
                "name": f"c{number}",
                "state": {"running": {"startedAt": "2026-11-24T09:%(minute)s:10Z"}},
                "lastState": {},
                "ready": True,
                "restartCount": 0,
                "image": f"registry.example.com/team/service-{number}:1.{size}.0",
                "imageID": "registry.example.com/team/service@sha256:" + "ab" * 32,
                "containerID": "containerd://" + "cd" * 32,
                "started": True,
                "allocatedResources": _resources(size, number)["requests"],
                "resources": _resources(size, number),
            }
            for number in (0, 1)
        ],
        "qosClass": "Burstable",
    }


_TEMPLATES = [json.dumps(_pod(size), separators=(",", ":")).encode() for size in range(8)]
