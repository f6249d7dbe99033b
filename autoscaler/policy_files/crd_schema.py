"""
Struct types as structural schemas (apiextensions.k8s.io/v1) that an API server accepts.

No `$ref`, one type a field, quantities and durations as int-or-string with
their pattern, and a bound on every list, mapping and text: without one the
estimated cost of a CEL rule is over the server's limit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from autoscaler.model.spec import Duration, Quantity
from autoscaler.policy_files.crd_rules import (
    ATOMIC,
    BOUNDS,
    DEFAULTS,
    MAP_KEYS,
    PATTERNS,
    SETS,
    WORDS,
    Rule,
    rules_of,
)
from autoscaler.struct_reference import about, field_texts

Schema = dict[str, Any]
QUANTITY_PATTERN = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+|[numkMGTPE]?)$"
"""No amount that a document holds is negative."""
DURATION_PATTERN = r"^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h|d))+)$"
_PATTERN_OF: dict[Any, str] = {Quantity: QUANTITY_PATTERN, Duration: DURATION_PATTERN}
MOST_ITEMS, MOST_NAMES, MOST_CHARACTERS = 64, 64, 1024


class _Place(NamedTuple):
    """A field, or the Struct itself where `name` is ""."""

    owner: type
    name: str


def struct_schema(kind: type) -> Schema:
    """Return the schema of a Struct."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    texts = field_texts(kind)
    properties: Schema = {}
    for field in info.fields:
        place = _Place(kind, field.encode_name)
        schema = _type_schema(field.type, place)
        text = texts.get(field.encode_name) or schema.get("description", "")
        properties[field.encode_name] = {**({"description": text} if text else {}), **_without(schema, "description")}
        if place in DEFAULTS:
            properties[field.encode_name]["default"] = DEFAULTS[place]
    schema = {"description": about(kind), "type": "object", "properties": properties}
    required = [field.encode_name for field in info.fields if field.required]
    if required:
        schema["required"] = required
    if kind in ATOMIC:
        schema["x-kubernetes-map-type"] = "atomic"
    if rules_of(kind):
        schema["x-kubernetes-validations"] = [_validation(rule) for rule in rules_of(kind)]
    return schema if schema["description"] else _without(schema, "description")


def _validation(rule: Rule) -> Schema:
    found = {"rule": rule.expression, "message": rule.message}
    return {**found, "fieldPath": f".{rule.field}"} if rule.field else found


def _without(schema: Schema, name: str) -> Schema:
    return {key: value for key, value in schema.items() if key != name}


def _type_schema(kind: msgspec.inspect.Type, place: _Place) -> Schema:
    info = msgspec.inspect
    if isinstance(kind, info.Metadata):
        return {**_type_schema(kind.type, place), **(kind.extra_json_schema or {})}
    if isinstance(kind, info.UnionType):
        (only,) = (each for each in kind.types if not isinstance(each, info.NoneType))
        return _type_schema(only, place)
    if isinstance(kind, info.StructType):
        return struct_schema(kind.cls)
    if isinstance(kind, info.VarTupleType):
        return _list_schema(kind, place)
    if isinstance(kind, info.DictType):
        return _mapping_schema(kind, place)
    return _plain_schema(kind, place)


def _list_schema(kind: msgspec.inspect.VarTupleType, place: _Place) -> Schema:
    schema: Schema = {
        "type": "array",
        "items": _type_schema(kind.item_type, place),
        "maxItems": MOST_ITEMS,
        **BOUNDS.get(place, {}),
    }
    if place in MAP_KEYS:
        return {**schema, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [MAP_KEYS[place]]}
    return {**schema, "x-kubernetes-list-type": "set" if place in SETS else "atomic"}


def _mapping_schema(kind: msgspec.inspect.DictType, place: _Place) -> Schema:
    if isinstance(kind.value_type, msgspec.inspect.AnyType):
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    values = _type_schema(kind.value_type, place)
    return {"type": "object", "additionalProperties": values, "maxProperties": MOST_NAMES}


def _plain_schema(kind: msgspec.inspect.Type, place: _Place) -> Schema:
    info = msgspec.inspect
    if isinstance(kind, info.CustomType):
        pattern = _PATTERN_OF[kind.cls]
        return {"x-kubernetes-int-or-string": True, "pattern": pattern, "maxLength": 64, "minimum": 0}
    if isinstance(kind, info.EnumType):
        return {"type": "string", "enum": [str(word) for word in WORDS.get(place, kind.cls)]}
    if isinstance(kind, info.BoolType):
        return {"type": "boolean"}
    if isinstance(kind, info.IntType):
        bounds = {"minimum": kind.ge, "maximum": kind.le}
        return {"type": "integer", "format": "int64", **{name: at for name, at in bounds.items() if at is not None}}
    if not isinstance(kind, info.StrType):
        raise ValueError(f"{place.owner.__name__}.{place.name}: no schema for {kind}")
    return _text_schema(kind, place)


def _text_schema(kind: msgspec.inspect.StrType, place: _Place) -> Schema:
    if place in WORDS:
        return {"type": "string", "enum": [str(word) for word in WORDS[place]]}
    schema: Schema = {"type": "string", "maxLength": kind.max_length or MOST_CHARACTERS}
    if kind.min_length is not None:
        schema["minLength"] = kind.min_length
    is_item = "maxItems" in BOUNDS.get(place, {})
    schema.update({} if is_item else BOUNDS.get(place, {}))
    if place in PATTERNS:
        schema["pattern"] = PATTERNS[place]
    return schema
