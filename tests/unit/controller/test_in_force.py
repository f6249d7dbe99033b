"""The cluster's documents and those of files are in force together; the cluster's count first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoscaler.controller.in_force import PoliciesInForce
from autoscaler.errors import PolicyError

FILE = """
apiVersion: podnode.io/v1alpha1
kind: ScalingPolicy
metadata: {name: NAME}
spec: {workloads: {namespaceSelector: {}}, mode: MODE}
"""


def _live(name: str, mode: str, version: str = "1") -> dict[str, Any]:
    metadata = {"name": name, "uid": name, "resourceVersion": version}
    spec = {"workloads": {"namespaceSelector": {}}, "mode": mode}
    return {"apiVersion": "podnode.io/v1alpha1", "kind": "ScalingPolicy", "metadata": metadata, "spec": spec}


def _file(folder: Path, name: str, mode: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(FILE.replace("NAME", name).replace("MODE", mode), encoding="utf-8")
    return str(path)


def test_documents_are_joined_and_the_cluster_s_count_first(tmp_path: Path) -> None:
    documents = [_live("both", "Auto"), _live("live", "Off")]
    files = [_file(tmp_path, "both", "Off"), _file(tmp_path, "file", "Recommend")]
    policies = PoliciesInForce(lambda: documents, files=files)
    found = policies()
    assert [(policy.name, str(policy.spec.mode)) for policy in found.scaling] == [
        ("both", "Auto"),
        ("file", "Recommend"),
        ("live", "Off"),
    ]
    assert policies() is found
    documents.pop()
    assert [policy.name for policy in policies().scaling] == ["both", "file"]


def test_a_wrong_document_is_a_problem_and_harms_no_other() -> None:
    documents = [_live("good", "Auto"), _live("wrong", "Sometimes")]
    policies = PoliciesInForce(lambda: documents)
    assert [policy.name for policy in policies().scaling] == ["good"]
    (problem,) = policies.problems
    assert problem.name == "wrong"
    assert "Sometimes" in problem.message


def test_a_wrong_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"wrong\.yaml"):
        PoliciesInForce(list, files=[_file(tmp_path, "wrong", "Sometimes")])
