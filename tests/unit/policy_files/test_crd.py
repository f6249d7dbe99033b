from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml

from autoscaler.errors import PolicyError
from autoscaler.policy_files import policies_of
from autoscaler.policy_files.crd import crd_files, crd_text, custom_resources
from autoscaler.policy_files.crd_rules import BOUNDS, DEFAULTS, MAP_KEYS, PATTERNS, SETS, WORDS, rules_of
from autoscaler.policy_files.crd_status import DocumentStatus, MpaStatus, NodeGroupStatus, PolicyStatus
from autoscaler.policy_files.read import KINDS
from autoscaler.struct_reference import all_structs
from tests.unit.policy_files.wrong import ADMITTED, REFUSED, STRICTER, Wrong

STATUSES = (MpaStatus, PolicyStatus, NodeGroupStatus, DocumentStatus)
STRUCTS = all_structs([*(kind.spec for kind in KINDS.values()), *STATUSES])


def _names(kind: type) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


@pytest.mark.parametrize("case", [*REFUSED, *ADMITTED])
def test_the_parser_refuses_it_and_names_the_field(case: Wrong) -> None:
    with pytest.raises(PolicyError) as caught:
        policies_of([case.value], "f")
    assert case.field in str(caught.value)


@pytest.mark.parametrize("case", STRICTER)
def test_the_parser_takes_what_only_the_server_refuses(case: Wrong) -> None:
    policies_of([case.value], "f")


def test_every_table_names_fields_that_exist() -> None:
    places = [*WORDS, *BOUNDS, *PATTERNS, *MAP_KEYS, *SETS, *DEFAULTS]
    assert [(kind.__name__, name) for kind, name in places if kind not in STRUCTS or name not in _names(kind)] == []
    assert [
        (kind.__name__, rule.field)
        for kind in STRUCTS
        for rule in rules_of(kind)
        if rule.field and rule.field.split(".")[0] not in _names(kind)
    ] == []


def _schemas(schema: Any, path: str = "") -> Any:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _schemas(child, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            yield from _schemas(schema[part], f"{path}[]")


@pytest.mark.parametrize("crd", custom_resources(), ids=lambda crd: crd["spec"]["names"]["kind"])
def test_schemas_are_structural_and_bounded(crd: dict[str, Any]) -> None:
    (version,) = crd["spec"]["versions"]
    for path, schema in _schemas(version["schema"]["openAPIV3Schema"]):
        assert "$ref" not in schema, path
        assert "type" in schema or schema.get("x-kubernetes-int-or-string"), path
        if schema.get("type") == "array":
            assert "maxItems" in schema, path
        if schema.get("type") == "string" and not path.startswith((".apiVersion", ".kind")):
            assert "enum" in schema or "maxLength" in schema, path


def test_names_do_not_clash() -> None:
    names = [crd["spec"]["names"] for crd in custom_resources()]
    short = [name for each in names for name in each["shortNames"]]
    assert sorted(short) == ["mpa", "png", "pnt", "spol"]


def test_the_files_hold_what_the_command_prints() -> None:
    printed = list(yaml.safe_load_all(crd_text()))
    assert [each for text in crd_files().values() for each in yaml.safe_load_all(text)] == printed
    assert [each["metadata"]["name"] for each in printed] == [
        "multidimpodautoscalers.podnode.io",
        "scalingpolicies.podnode.io",
        "nodegroups.podnode.io",
        "tenants.podnode.io",
    ]
