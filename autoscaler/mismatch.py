"""
Turns plain values into Structs, and says what does not fit in the user's words.

A type error names the exact path, the value there, and what is allowed:
the members of an enum, the known fields with the closest one, a range.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec

from autoscaler.errors import InputError
from autoscaler.model.spec import Duration, Quantity, decode_hook
from autoscaler.model.units import DURATION_FORM, QUANTITY_FORM

ErrorType = Callable[[str, str, object, str], InputError]
"""Makes an error of where, path, what was found and what is allowed."""
_Kind = TypeVar("_Kind")
_FORMS: dict[Any, str] = {Quantity: QUANTITY_FORM, Duration: DURATION_FORM}


class Nothing:
    """Stands for a value that should be there and is not."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = Nothing()


def convert(value: Any, kind: type[_Kind], where: str, *, path: str = "", error: ErrorType = InputError) -> _Kind:
    """
    Turn a plain value into *kind*, a type that msgspec knows (Quantity and Duration included).

    Raises:
        InputError: (or what *error* makes) naming the path below *path*, the value there and what is allowed.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=decode_hook)
    except (msgspec.ValidationError, RecursionError) as cause:
        mismatch = find_mismatch(value, msgspec.inspect.type_info(kind), path)
        raise error(where, *(mismatch or (path, value, str(cause)))) from cause


Mismatch = tuple[str, object, str]
"""Path, what was found there, and what is allowed."""


def find_mismatch(value: Any, kind: msgspec.inspect.Type, path: str) -> Mismatch | None:
    """Return the first place where *value* is not of *kind*, in the order of its fields; None if it fits."""
    info = msgspec.inspect
    if isinstance(kind, info.Metadata):
        return find_mismatch(value, kind.type, path)
    if isinstance(kind, info.UnionType):
        return _in_union(value, kind, path)
    if isinstance(kind, info.StructType):
        return _in_struct(value, kind, path)
    if isinstance(kind, info.DictType):
        return _in_dict(value, kind, path)
    if isinstance(kind, (info.VarTupleType, info.ListType)):
        return _in_list(value, kind, path)
    if isinstance(kind, info.CustomType):
        return _in_custom(value, kind, path)
    try:
        msgspec.convert(value, _python_type(kind))
    except msgspec.ValidationError:
        return path, value, describe(kind)
    return None


def _in_union(value: Any, kind: msgspec.inspect.UnionType, path: str) -> Mismatch | None:
    if value is None and kind.includes_none:
        return None
    tagged = {each.tag: each for each in kind.types if isinstance(each, msgspec.inspect.StructType) and each.tag_field}
    if tagged and isinstance(value, dict):
        name = next(iter(tagged.values())).tag_field or ""
        tag = value.get(name, NOTHING)
        chosen = tagged.get(tag) if isinstance(tag, (str, int)) else None
        return _in_struct(value, chosen, path) if chosen else (_at(path, name), tag, _one_of(tagged, tag))
    found = [find_mismatch(value, each, path) for each in kind.types if not isinstance(each, msgspec.inspect.NoneType)]
    if None in found:
        return None
    deepest = max((each for each in found if each), key=lambda each: len(each[0]))
    return deepest if deepest[0] != path else (path, value, describe(kind))


def _in_struct(value: Any, kind: msgspec.inspect.StructType, path: str) -> Mismatch | None:
    if not isinstance(value, dict):
        return path, value, describe(kind)
    fields = {field.encode_name: field for field in kind.fields}
    if kind.forbid_unknown_fields:
        for name in value:
            if name not in fields and name != kind.tag_field:
                return _at(path, name), name, _one_of(fields, name)
    for name, field in fields.items():
        if name in value:
            wrong = find_mismatch(value[name], field.type, _at(path, name))
            if wrong:
                return wrong
        elif field.required:
            return _at(path, name), NOTHING, f"{describe(field.type)}; it is required"
    return None


def _in_dict(value: Any, kind: msgspec.inspect.DictType, path: str) -> Mismatch | None:
    if not isinstance(value, dict):
        return path, value, describe(kind)
    wrong = (find_mismatch(item, kind.value_type, _at(path, name)) for name, item in value.items())
    return next((each for each in wrong if each), None)


def _in_list(value: Any, kind: msgspec.inspect.VarTupleType | msgspec.inspect.ListType, path: str) -> Mismatch | None:
    if not isinstance(value, (list, tuple)):
        return path, value, describe(kind)
    wrong = (find_mismatch(item, kind.item_type, f"{path}[{index}]") for index, item in enumerate(value))
    return next((each for each in wrong if each), None)


def _in_custom(value: Any, kind: msgspec.inspect.CustomType, path: str) -> Mismatch | None:
    try:
        decode_hook(kind.cls, value)
    except (ValueError, TypeError):
        return path, value, describe(kind)
    return None


def describe(kind: msgspec.inspect.Type) -> str:
    """Say in words what is allowed."""
    info = msgspec.inspect
    if isinstance(kind, info.Metadata):
        return describe(kind.type)
    if isinstance(kind, info.UnionType):
        return " or ".join(describe(each) for each in kind.types if not isinstance(each, info.NoneType))
    if isinstance(kind, (info.EnumType, info.LiteralType)):
        words = [member.value for member in kind.cls] if isinstance(kind, info.EnumType) else kind.values
        return "one of " + ", ".join(str(word) for word in words)
    if isinstance(kind, info.CustomType):
        return _FORMS.get(kind.cls, "a value of its own form")
    if isinstance(kind, info.StructType):
        return "a mapping with " + ", ".join(field.encode_name for field in kind.fields)
    if isinstance(kind, info.DictType):
        return f"a mapping from names to {describe(kind.value_type)}"
    if isinstance(kind, (info.VarTupleType, info.ListType)):
        return f"a list, each item {describe(kind.item_type)}"
    return _describe_plain(kind)


def _describe_plain(kind: msgspec.inspect.Type) -> str:
    info = msgspec.inspect
    if isinstance(kind, info.BoolType):
        return "true or false"
    if isinstance(kind, info.StrType):
        bounds = _range(kind.min_length, kind.max_length)
        return f"text of {bounds.removeprefix('from ')} characters" if bounds else "text"
    if isinstance(kind, info.IntType):
        return f"a whole number {_range(kind.ge, kind.le)}".rstrip()
    if isinstance(kind, info.FloatType):
        low = f"above {kind.gt:g}" if kind.gt is not None else ""
        high = f"below {kind.lt:g}" if kind.lt is not None else ""
        return " ".join(filter(None, ("a number", low, _range(kind.ge, kind.le), high)))
    return "any value"


def _range(low: float | None, high: float | None) -> str:
    least, most = _number(low), _number(high)
    if least and most:
        return f"from {least} to {most}"
    return f"at least {least}" if least else f"at most {most}" if most else ""


def _number(bound: float | None) -> str:
    return "" if bound is None else str(bound) if isinstance(bound, int) else f"{bound:g}"


def _python_type(kind: msgspec.inspect.Type) -> Any:
    """Return a type that msgspec reads as *kind*, for the kinds that hold no others."""
    info = msgspec.inspect
    if isinstance(kind, info.EnumType):
        return kind.cls
    if isinstance(kind, info.IntType):
        return _constrained(int, ge=kind.ge, le=kind.le, gt=kind.gt, lt=kind.lt)
    if isinstance(kind, info.FloatType):
        return _constrained(float, ge=kind.ge, le=kind.le, gt=kind.gt, lt=kind.lt)
    if isinstance(kind, info.StrType):
        return _constrained(str, min_length=kind.min_length, max_length=kind.max_length, pattern=kind.pattern)
    return {info.BoolType: bool, info.NoneType: type(None)}.get(type(kind), Any)


def _constrained(kind: type, **bounds: Any) -> Any:
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return Annotated[kind, msgspec.Meta(**given)] if given else kind


def _one_of(names: Any, wrong: object) -> str:
    close = difflib.get_close_matches(str(wrong), list(names), n=1)
    return f"one of {', '.join(names)}" + (f" (did you mean {close[0]}?)" if close else "")


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
