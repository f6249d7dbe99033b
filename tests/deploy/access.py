"""What roles grant and what was asked for, as sets of permissions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tests.deploy.chart import Document

Permission = tuple[str, str, str]
"""API group, resource with its subresource, verb."""

READS = frozenset({"get", "list", "watch"})


def granted(roles: Iterable[Document]) -> set[Permission]:
    """Return all that *roles* allow; wildcards stay as they are."""
    return {
        (group, resource, verb)
        for role in roles
        for rule in role.get("rules", ())
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        for verb in rule["verbs"]
    }


def asked(audit_log: Path, user: str) -> set[Permission]:
    """Return what *user* asked the API server for, allowed or not, by its audit log."""
    found: set[Permission] = set()
    with audit_log.open(encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            target = event.get("objectRef")
            if event["user"]["username"] != user or not target or "resource" not in target:
                continue
            resource = "/".join(part for part in (target["resource"], target.get("subresource")) if part)
            found.add((target.get("apiGroup", ""), resource, event["verb"]))
    return found


def covers(rights: set[Permission], wanted: Permission) -> bool:
    """Tell whether *rights* have *wanted*, by its name or by a wildcard resource."""
    group, _, verb = wanted
    return wanted in rights or (group, "*", verb) in rights
