"""Writes policies as YAML documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from autoscaler.model.policy import Policies
from autoscaler.model.spec import Duration, encode_hook
from autoscaler.model.units import format_duration, parse_duration
from autoscaler.policy_files.read import API_VERSION, KINDS, AnyPolicy


def dump_policies(policies: Policies) -> str:
    """Return YAML that `parse_policies` reads back as equal policies (but for `where`)."""
    return yaml.safe_dump_all(policy_documents(policies), sort_keys=False, allow_unicode=True)


def policy_documents(policies: Policies) -> Iterator[dict[str, Any]]:
    """Yield the policies as plain documents, as `policies_of` takes them."""
    found: tuple[AnyPolicy, ...] = (*policies.mpas, *policies.scaling, *policies.node_groups, *policies.tenants)
    for policy in found:
        yield _document(policy)


def _document(policy: AnyPolicy) -> dict[str, Any]:
    kind = next(name for name, kind in KINDS.items() if kind.make is type(policy))
    namespace = getattr(policy, "namespace", "")
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": policy.name, **place},
        "spec": msgspec.to_builtins(policy.spec, enc_hook=_encode, str_keys=True),
    }


def _encode(value: Any) -> Any:
    if isinstance(value, Duration):
        shown = format_duration(value.seconds)
        return shown if parse_duration(shown) == value.seconds else value.seconds
    return encode_hook(value)
