"""
The CustomResourceDefinitions of our kinds, made from the types of the documents.

`python -m autoscaler.cli.reference` writes them to `deploy/crds`. None has the
scale subresource: an mpa is not a thing that has replicas, and what a
NodeGroup holds is a range, not a size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml

from autoscaler.policy_files.crd_schema import Schema, struct_schema
from autoscaler.policy_files.crd_status import DocumentStatus, MpaStatus, NodeGroupStatus, PolicyStatus
from autoscaler.policy_files.read import API_VERSION, KINDS

GROUP, VERSION = API_VERSION.split("/")
CATEGORY = "autoscaling"
"""`kubectl get autoscaling` lists all of them."""
_HEAD = "# Made from the program's types by `python -m autoscaler.cli.reference`: do not edit.\n"


class _Column(NamedTuple):
    """A column of `kubectl get`; those of priority 1 are shown with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


class _Face(NamedTuple):
    """How a kind shows itself to kubectl."""

    plural: str
    short: str
    status: type
    columns: tuple[_Column, ...]


_VALID = _Column("Valid", '.status.conditions[?(@.type=="Valid")].status')
_AGE = _Column("Age", ".metadata.creationTimestamp", "date")
_FACES = {
    "MultidimPodAutoscaler": _Face(
        "multidimpodautoscalers",
        "mpa",
        MpaStatus,
        (
            _Column("Target", ".spec.scaleTargetRef.name"),
            _Column("Mode", ".status.mode"),
            _Column("Now", ".status.replicas.current", "integer"),
            _Column("Wanted", ".status.replicas.desired", "integer"),
            _Column("CPU", ".status.pod.target.cpu"),
            _Column("Memory", ".status.pod.target.memory"),
            _Column("USD/day", ".status.cost.desiredPerDay"),
            _Column("Reason", ".status.reasons[0].code"),
            _Column("Kind", ".spec.scaleTargetRef.kind", priority=1),
            _Column("Engine", ".spec.policy.engine", priority=1),
            _Column("USD/day now", ".status.cost.currentPerDay", priority=1),
            _Column("Message", ".status.reasons[0].message", priority=1),
            _VALID._replace(priority=1),
            _AGE,
        ),
    ),
    "ScalingPolicy": _Face(
        "scalingpolicies",
        "spol",
        PolicyStatus,
        (
            _Column("Mode", ".status.mode"),
            _Column("USD/day", ".spec.objective.money.perDay"),
            _Column("Node engine", ".spec.nodes.engine", priority=1),
            _VALID,
            _AGE,
        ),
    ),
    "NodeGroup": _Face(
        "nodegroups",
        "png",
        NodeGroupStatus,
        (
            _Column("Provider", ".spec.provider"),
            _Column("Now", ".status.nodes.current", "integer"),
            _Column("Wanted", ".status.nodes.desired", "integer"),
            _Column("Min", ".spec.size.min", "integer"),
            _Column("Max", ".spec.size.max", "integer"),
            _Column("Weight", ".spec.weight", "integer", priority=1),
            _VALID,
            _AGE,
        ),
    ),
    "Tenant": _Face(
        "tenants",
        "pnt",
        DocumentStatus,
        (
            _Column("Weight", ".spec.weight", "integer"),
            _Column("USD/day", ".spec.budget.perDay"),
            _Column("Charge to", ".spec.chargeTo"),
            _VALID,
            _AGE,
        ),
    ),
}


def custom_resources() -> list[Schema]:
    """Return the CustomResourceDefinitions of all kinds, in the order of `KINDS`."""
    return [_definition(kind, _FACES[kind]) for kind in KINDS]


def crd_files() -> dict[str, str]:
    """Return the text of each definition, by the name of its file."""
    return {
        f"{each['metadata']['name'].replace(f'.{GROUP}', '')}.yaml": _HEAD + _text([each])
        for each in custom_resources()
    }


def crd_text() -> str:
    """Return all definitions as one text for `kubectl apply --server-side -f -`."""
    return _text(custom_resources())


def _text(documents: Sequence[Schema]) -> str:
    return str(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


class _Dumper(yaml.SafeDumper):
    """Writes values that occur twice twice: an API server reads no anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _definition(kind: str, face: _Face) -> Schema:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{face.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if KINDS[kind].namespaced else "Cluster",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": face.plural,
                "singular": kind.lower(),
                "shortNames": [face.short],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_printer_column(column) for column in face.columns],
                    "schema": {"openAPIV3Schema": _object_schema(kind, face)},
                }
            ],
        },
    }


def _printer_column(column: _Column) -> Schema:
    shown: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**shown, "priority": column.priority} if column.priority else shown


def _object_schema(kind: str, face: _Face) -> Schema:
    made = KINDS[kind].make
    return {
        "description": " ".join((made.__doc__ or "").split("; `where`")[0].split()),
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": struct_schema(KINDS[kind].spec),
            "status": struct_schema(face.status),
        },
        "required": ["spec"],
    }
