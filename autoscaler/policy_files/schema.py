"""The form of the documents as a JSON schema, for editors and for the cluster."""

from __future__ import annotations

from typing import Any

import msgspec

from autoscaler.model.spec import Duration, Quantity, encode_hook
from autoscaler.model.units import DURATION_FORM, QUANTITY_FORM
from autoscaler.policy_files.read import API_VERSION, GKE_API_VERSION, KINDS

_FORMS: dict[Any, str] = {Quantity: QUANTITY_FORM, Duration: DURATION_FORM}


def policy_schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of one document of any kind."""
    definitions: dict[str, Any] = {}
    documents = [_document(name, definitions) for name in KINDS]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Documents of podnode-autoscaler",
        "oneOf": documents,
        "$defs": dict(sorted(definitions.items())),
    }


def _document(kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    namespaced = KINDS[kind].namespaced
    names = {"name": {"type": "string"}, **({"namespace": {"type": "string"}} if namespaced else {})}
    versions = [API_VERSION, GKE_API_VERSION] if kind == "MultidimPodAutoscaler" else [API_VERSION]
    return {
        "type": "object",
        "properties": {
            "apiVersion": {"enum": versions},
            "kind": {"const": kind},
            "metadata": {"type": "object", "properties": names, "required": ["name"]},
            "spec": schema_of(msgspec.inspect.type_info(KINDS[kind].spec), definitions),
            "status": {"type": "object"},
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
    }


def schema_of(kind: msgspec.inspect.Type, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type; Structs go into *definitions* and are referred to."""
    info = msgspec.inspect
    if isinstance(kind, info.Metadata):
        return schema_of(kind.type, definitions)
    if isinstance(kind, info.StructType):
        return _struct(kind, definitions)
    if isinstance(kind, info.UnionType):
        options = [schema_of(each, definitions) for each in kind.types]
        return {"anyOf": options}
    if isinstance(kind, info.DictType):
        return {"type": "object", "additionalProperties": schema_of(kind.value_type, definitions)}
    if isinstance(kind, (info.VarTupleType, info.ListType)):
        return {"type": "array", "items": schema_of(kind.item_type, definitions)}
    if isinstance(kind, info.EnumType):
        return {"enum": [member.value for member in kind.cls]}
    if isinstance(kind, info.CustomType):
        return {"type": ["string", "number"], "description": _FORMS[kind.cls]}
    return _plain(kind)


def _struct(kind: msgspec.inspect.StructType, definitions: dict[str, Any]) -> dict[str, Any]:
    name = kind.cls.__name__
    if name not in definitions:
        definitions[name] = {}
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {field.encode_name: _field(field, definitions) for field in kind.fields},
        }
        required = [field.encode_name for field in kind.fields if field.required]
        if required:
            schema["required"] = required
        if kind.forbid_unknown_fields:
            schema["additionalProperties"] = False
        definitions[name] = schema
    return {"$ref": f"#/$defs/{name}"}


def _field(field: msgspec.inspect.Field, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = schema_of(field.type, definitions)
    if isinstance(field.default, (str, int, float, Quantity, Duration)):
        default = msgspec.to_builtins(field.default, enc_hook=encode_hook)
        return {**schema, "default": default}
    return schema


def _plain(kind: msgspec.inspect.Type) -> dict[str, Any]:
    info = msgspec.inspect
    if isinstance(kind, info.StrType):
        return {"type": "string", **_given(minLength=kind.min_length, maxLength=kind.max_length)}
    if isinstance(kind, (info.IntType, info.FloatType)):
        name = "integer" if isinstance(kind, info.IntType) else "number"
        return {"type": name, **_given(minimum=kind.ge, maximum=kind.le)}
    if isinstance(kind, info.BoolType):
        return {"type": "boolean"}
    return {"type": "null"} if isinstance(kind, info.NoneType) else {}


def _given(**bounds: float | None) -> dict[str, Any]:
    return {name: bound for name, bound in bounds.items() if bound is not None}
