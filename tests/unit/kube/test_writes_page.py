"""The page that lists every write, and the roles that are shipped, say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from autoscaler.kube import edits
from autoscaler.model.plan import AnyAction, DeleteInstances, SetGroupSize
from tests.meta.sources import ROOT

PAGE = (ROOT / "docs" / "reference" / "what-it-writes.md").read_text(encoding="utf-8")
RENDERED = [ROOT / "deploy" / "kustomize" / part / "rendered.yaml" for part in ("base", "components/act")]
READS = {"get", "list", "watch"}
OURS = ("-observe", "-lease", "-act", "-checkpoint")
"""Ends of the names of the controller's own roles; all others are for people."""


def rows() -> list[list[str]]:
    """Return the cells of the first table."""
    table = PAGE.split("\n\n")[2]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def granted() -> Iterator[tuple[str, str, str]]:
    for path in RENDERED:
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document and document["kind"].endswith("Role") and document["metadata"]["name"].endswith(OURS):
                for rule in document["rules"]:
                    for group in rule["apiGroups"]:
                        yield from (
                            (verb, group or "core", each) for each in rule["resources"] for verb in rule["verbs"]
                        )


def test_what_is_listed_is_what_the_roles_allow() -> None:
    listed = [(verb, group, resource) for _, verb, group, resource, _ in rows()]
    assert len(listed) == len(set(listed))
    assert set(listed) == {each for each in granted() if each[0] not in READS}


def test_every_action_on_objects_is_listed() -> None:
    named = {name for who, *_ in rows() for name in re.findall(r"`(\w+)`", who)}
    actions = {action.__name__ for action in AnyAction.__args__}
    assert named == actions - {SetGroupSize.__name__, DeleteInstances.__name__}


def test_every_annotation_is_listed() -> None:
    kept = {edits.ORIGINAL_REQUESTS, edits.WANTED_REQUESTS, edits.SET_ASIDE, edits.CORDONED_BY}
    assert kept == set(re.findall(r"^\| `(podnode\.io/[\w-]+)`", PAGE, re.MULTILINE))
