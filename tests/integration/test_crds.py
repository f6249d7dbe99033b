"""The API server takes our CRDs and every document we ship, and refuses what is wrong by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from autoscaler.documents import parse_documents
from autoscaler.errors import InputError
from autoscaler.kube.client import MERGE, ApiServer
from autoscaler.kube.policies import read_documents
from autoscaler.policy_files.read import API_VERSION, GKE_API_VERSION
from tests.cluster.cluster import Cluster
from tests.integration.crds import install, path_of
from tests.meta.sources import ROOT
from tests.unit.policy_files import documents as full
from tests.unit.policy_files.wrong import ADMITTED, REFUSED, SERVED_MPA, STRICTER, Wrong

_STRICT = {"fieldValidation": "Strict"}
_YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
async def api(cluster: Cluster) -> ApiServer:
    await install(cluster.admin)
    return cluster.admin


def _shipped() -> Iterator[Any]:
    """Yield every document of ours in the policy packs, the samples, the pages, and what conversions give."""
    patterns = ("policies/*/policy.yaml", "deploy/samples/*.yaml", "tests/data/convert/expected/*.yaml")
    files = [file for pattern in patterns for file in ROOT.glob(pattern)]
    texts = [(str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")) for file in sorted(files)]
    for page in sorted(ROOT.glob("docs/**/*.md")):
        blocks = _YAML_BLOCK.findall(page.read_text(encoding="utf-8"))
        texts += [(f"{page.relative_to(ROOT)} {at}", block) for at, block in enumerate(blocks)]
    for where, text in texts:
        for document in parse_documents(text, where):
            value = document.value
            if isinstance(value, dict) and value.get("apiVersion") == API_VERSION:
                yield pytest.param(value, id=document.where)


async def _dry_create(api: ApiServer, value: Any) -> Any:
    # Objects of the tests live in a namespace that is always there.
    if "namespace" in value["metadata"]:
        value = {**value, "metadata": {**value["metadata"], "namespace": "default"}}
    return json.loads(await api.send("POST", path_of(value), value, params={"dryRun": "All", **_STRICT}))


async def test_every_document_that_we_ship_is_accepted(api: ApiServer) -> None:
    shipped = list(_shipped())
    assert len(shipped) >= 12
    refused = {}
    for case in shipped:
        try:
            await _dry_create(api, case.values[0])
        except InputError as error:
            refused[case.id] = str(error)
    # A page may show what is wrong with a document.
    wrong = {case.id for case in shipped if read_documents([case.values[0]])[1]}
    assert len(wrong) <= 2
    assert {name: error for name, error in refused.items() if name not in wrong} == {}


async def test_what_the_schema_can_see_is_refused_by_name(api: ApiServer) -> None:
    unseen = {}
    for case in [*REFUSED, *STRICTER]:
        (wrong,) = case.values
        try:
            await _dry_create(api, wrong.value)
            unseen[case.id] = "accepted"
        except InputError as error:
            unseen.update({} if _names(str(error), wrong) else {case.id: str(error)})
    assert unseen == {}


def _names(error: str, wrong: Wrong) -> bool:
    """Tell whether the field, or a part in which it is one of the items, is in the server's words."""
    return wrong.field in error or wrong.field in error.replace('unknown field "', "")


async def test_what_only_the_parser_can_see_is_stored_and_becomes_a_problem(api: ApiServer) -> None:
    for case in ADMITTED:
        (wrong,) = case.values
        stored = await _dry_create(api, wrong.value)
        _, (problem,) = read_documents([stored])
        assert wrong.field in problem.message
        assert problem.uid


@pytest.mark.parametrize("text", [SERVED_MPA, full.FULL_POLICY, full.FULL_GROUP, full.FULL_TENANT, full.GKE])
async def test_a_stored_document_is_read_back_as_it_was_written(api: ApiServer, text: str) -> None:
    (written,) = (document.value for document in parse_documents(text, "f"))
    stored = await _dry_create(api, written)
    assert stored["spec"] == written["spec"]
    policies, problems = read_documents([stored])
    assert problems == ()
    assert sum(map(len, (policies.mpas, policies.scaling, policies.node_groups, policies.tenants))) == 1


async def test_gke_s_own_objects_are_read_unchanged(api: ApiServer, namespace: str) -> None:
    (value,) = (document.value for document in parse_documents(full.GKE, "f"))
    value = {**value, "metadata": {**value["metadata"], "namespace": namespace}}
    await api.send("POST", path_of(value), value)
    listed = json.loads(await api.get(path_of(value)))["items"]
    policies, problems = read_documents(listed)
    assert problems == ()
    assert [mpa.spec.policy.engine for mpa in policies.mpas] == ["mpa"]
    assert listed[0]["apiVersion"] == GKE_API_VERSION


async def test_kubectl_shows_target_mode_sizes_cost_and_reason(api: ApiServer, namespace: str) -> None:
    value = {
        "apiVersion": API_VERSION,
        "kind": "MultidimPodAutoscaler",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}},
    }
    await api.send("POST", path_of(value), value)
    condition = {"type": "Valid", "status": "True", "reason": "Read", "lastTransitionTime": "2030-01-31T08:00:00Z"}
    status = {
        "observedGeneration": 1,
        "mode": "Recommend",
        "replicas": {"current": 6, "desired": 4, "lower": 3, "upper": 7},
        "pod": {"current": {"cpu": "500m"}, "target": {"cpu": "350m", "memory": "640Mi"}},
        "containers": [{"name": "app", "target": {"cpu": "350m", "memory": "640Mi"}}],
        "cost": {"currentPerDay": "11.20", "desiredPerDay": "6.90", "currency": "USD"},
        "reasons": [{"code": "ShapeCheaperAtPrices", "message": "less"}],
        "lastDecision": {"digest": "a", "time": "2030-01-31T08:00:00Z"},
        "conditions": [condition],
    }
    path = f"{path_of(value)}/web"
    stored = json.loads(await api.send("PATCH", f"{path}/status", {"status": status}, content_type=MERGE))
    assert stored["status"] == status
    table = json.loads(await api.get(path, accept="application/json;as=Table;v=v1;g=meta.k8s.io"))
    shown = dict(zip((column["name"] for column in table["columnDefinitions"]), table["rows"][0]["cells"], strict=True))
    assert [shown[name] for name in ("Target", "Mode", "Now", "Wanted", "CPU", "Memory", "USD/day", "Reason")] == [
        "web",
        "Recommend",
        6,
        4,
        "350m",
        "640Mi",
        "6.90",
        "ShapeCheaperAtPrices",
    ]
