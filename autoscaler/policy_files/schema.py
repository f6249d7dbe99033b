"""The form of the documents as a JSON schema, for editors and for the cluster."""

from __future__ import annotations

from typing import Any

from autoscaler.policy_files.read import API_VERSION, GKE_API_VERSION, KINDS
from autoscaler.struct_reference import schema_definitions


def policy_schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of one document of any kind."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Documents of podnode-autoscaler",
        "oneOf": [_document(kind) for kind in KINDS],
        "$defs": schema_definitions([kind.spec for kind in KINDS.values()]),
    }


def _document(kind: str) -> dict[str, Any]:
    namespaced = KINDS[kind].namespaced
    names = {"name": {"type": "string"}, **({"namespace": {"type": "string"}} if namespaced else {})}
    return {
        "type": "object",
        "properties": {
            "apiVersion": {"enum": [API_VERSION, GKE_API_VERSION] if namespaced else [API_VERSION]},
            "kind": {"const": kind},
            "metadata": {"type": "object", "properties": names, "required": ["name"]},
            "spec": {"$ref": f"#/$defs/{KINDS[kind].spec.__name__}"},
            "status": {"type": "object"},
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
    }
