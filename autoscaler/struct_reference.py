"""
Struct types as a reference page and as JSON schema.

The text of a field is the string under it; that of a Struct its docstring.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from autoscaler.mismatch import describe
from autoscaler.model.spec import Duration, Quantity, Spec, encode_hook

_SHORT: dict[Any, str] = {Quantity: "quantity", Duration: "duration"}


def schema_definitions(roots: Sequence[type]) -> dict[str, Any]:
    """Return the JSON schemas of *roots* and of all Structs in them, by name, to be put under `$defs`."""
    return {kind.__name__: _struct_schema(kind) for kind in all_structs(roots)}


def reference_sections(titles: Mapping[type, str], others: Sequence[type] = ()) -> str:
    """
    Return Markdown, one table a Struct, in the order in which they are first named.

    Args:
        titles: the types to begin with, each with its title.
        others: types to go on with, which have their name for a title, as have the Structs in all of these.
    """
    return "\n".join(_section(kind, titles) for kind in all_structs([*titles, *others])).rstrip() + "\n"


def all_structs(roots: Sequence[type]) -> list[type]:
    """Return *roots* and all Structs in them, in the order in which they are named."""
    queue = list(roots)
    seen: list[type] = []
    while queue:
        kind = queue.pop(0)
        if kind not in seen:
            seen.append(kind)
            info = msgspec.inspect.type_info(kind)
            assert isinstance(info, msgspec.inspect.StructType)
            queue += [found for field in info.fields for found in _structs(field.type)]
    return seen


def _struct_schema(kind: type) -> dict[str, Any]:
    info, texts = msgspec.inspect.type_info(kind), field_texts(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    properties: dict[str, Any] = {info.tag_field: {"const": info.tag}} if info.tag_field else {}
    for field in info.fields:
        properties[field.encode_name] = _type_schema(field.type)
        if field.encode_name in texts:
            properties[field.encode_name]["description"] = texts[field.encode_name]
    required = [field.encode_name for field in info.fields if field.required]
    return {
        "type": "object",
        "description": about(kind),
        "properties": properties,
        "required": ([info.tag_field] if info.tag_field else []) + required,
        "additionalProperties": False,
    }


def _type_schema(kind: msgspec.inspect.Type) -> dict[str, Any]:
    info = msgspec.inspect
    if isinstance(kind, info.Metadata):
        return _type_schema(kind.type)
    if isinstance(kind, info.StructType):
        return {"$ref": f"#/$defs/{kind.cls.__name__}"}
    if isinstance(kind, info.UnionType):
        return {"anyOf": [_type_schema(each) for each in kind.types if not isinstance(each, info.NoneType)]}
    if isinstance(kind, (info.VarTupleType, info.ListType)):
        bounds = {"minItems": kind.min_length, "maxItems": kind.max_length}
        return {"type": "array", "items": _type_schema(kind.item_type), **_given(bounds)}
    if isinstance(kind, info.DictType):
        return {"type": "object", "additionalProperties": _type_schema(kind.value_type)}
    if isinstance(kind, info.EnumType):
        return {"enum": [member.value for member in kind.cls]}
    if isinstance(kind, info.CustomType):
        return {"type": ["string", "number"], "title": _SHORT[kind.cls]}
    return _plain_schema(kind)


def _plain_schema(kind: msgspec.inspect.Type) -> dict[str, Any]:
    info = msgspec.inspect
    if isinstance(kind, (info.IntType, info.FloatType)):
        bounds = {"minimum": kind.ge, "maximum": kind.le, "exclusiveMinimum": kind.gt, "exclusiveMaximum": kind.lt}
        return {"type": "integer" if isinstance(kind, info.IntType) else "number", **_given(bounds)}
    if isinstance(kind, info.StrType):
        return {"type": "string", **_given({"minLength": kind.min_length, "maxLength": kind.max_length})}
    return {"type": "boolean"} if isinstance(kind, info.BoolType) else {}


def _given(bounds: dict[str, Any]) -> dict[str, Any]:
    return {name: bound for name, bound in bounds.items() if bound is not None}


def about(kind: type) -> str:
    """Return the docstring of a Struct on one line, "" for none of its own."""
    return " ".join((kind.__doc__ or "").split()) if kind.__doc__ != Spec.__doc__ else ""


def _section(kind: type, titles: Mapping[type, str]) -> str:
    info, texts = msgspec.inspect.type_info(kind), field_texts(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    lines = [f"## {titles.get(kind, kind.__name__)}", ""]
    if kind not in titles and about(kind):
        lines += [about(kind), ""]
    lines += ["| field | value | default | meaning |", "| --- | --- | --- | --- |"]
    if info.tag_field is not None:
        lines.append(f"| `{info.tag_field}` | `{info.tag}` | required | |")
    for field in info.fields:
        cells = (f"`{field.encode_name}`", _allowed(field.type), _default(field), texts.get(field.encode_name, ""))
        lines.append(f"| {' | '.join(cells)} |".replace("  ", " "))
    return "\n".join(lines) + "\n"


def _structs(kind: msgspec.inspect.Type) -> list[type]:
    """Return the Structs that a type holds, in order."""
    info = msgspec.inspect
    if isinstance(kind, info.StructType):
        return [kind.cls]
    if isinstance(kind, info.UnionType):
        return [found for each in kind.types for found in _structs(each)]
    if isinstance(kind, (info.VarTupleType, info.ListType)):
        return _structs(kind.item_type)
    if isinstance(kind, info.DictType):
        return _structs(kind.value_type)
    return _structs(kind.type) if isinstance(kind, info.Metadata) else []


def _allowed(kind: msgspec.inspect.Type) -> str:
    """Return what a value may be, with links to the Structs it holds."""
    structs = _structs(kind)
    info = msgspec.inspect
    if structs:
        links = ", ".join(f"[{found.__name__}](#{found.__name__.lower()})" for found in structs)
        if isinstance(kind, info.DictType):
            return f"a mapping from names to {links}"
        return f"a list of {links}" if isinstance(kind, info.VarTupleType) else links
    if isinstance(kind, info.DictType) and isinstance(kind.value_type, info.CustomType):
        return f"names with a {_SHORT[kind.value_type.cls]} each"
    if isinstance(kind, info.UnionType):
        return " or ".join(_allowed(each) for each in kind.types if not isinstance(each, info.NoneType))
    return _SHORT[kind.cls] if isinstance(kind, info.CustomType) else describe(kind)


def _default(field: msgspec.inspect.Field) -> str:
    if field.required:
        return "required"
    if field.default_factory is not msgspec.NODEFAULT:
        return ""
    value = field.default
    if isinstance(value, (Quantity, Duration)):
        return f"`{encode_hook(value)}`"
    if value is None or value in ("", ()) or isinstance(value, msgspec.Struct):
        return ""
    if isinstance(value, tuple) and any(isinstance(item, msgspec.Struct) for item in value):
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


@lru_cache(maxsize=256)
def field_texts(kind: Any) -> Mapping[str, str]:
    """Return the texts under the fields of a Struct and its bases, by the fields' names in files."""
    texts: dict[str, str] = {}
    names = {field.name: field.encode_name for field in msgspec.structs.fields(kind)}
    for base in reversed(kind.__mro__):
        if not base.__module__.startswith("autoscaler."):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for line, after in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(after, ast.Expr):
                texts[names[line.target.id]] = " ".join(str(ast.literal_eval(after.value)).split())
    return texts
