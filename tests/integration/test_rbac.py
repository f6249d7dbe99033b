"""What the shipped roles allow is what the controller does: by a real API server's answers and its audit log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from autoscaler.errors import AccessError
from autoscaler.kube.client import ApiServer
from tests.cluster.cluster import Cluster
from tests.deploy.access import READS, Permission, asked, covers, granted
from tests.deploy.chart import Document, documents
from tests.deploy.places import PLURALS, collection_of
from tests.deploy.stage import Change, Stage

ACCESS_KINDS = {kind for kind in PLURALS if "Role" in kind} | {"ServiceAccount"}
TOLD = {
    ("coordination.k8s.io", "leases", "create"),
    ("coordination.k8s.io", "leases", "update"),
    ("events.k8s.io", "events", "create"),
    ("events.k8s.io", "events", "patch"),
    ("podnode.io", "multidimpodautoscalers/status", "patch"),
    ("podnode.io", "nodegroups/status", "patch"),
    ("podnode.io", "scalingpolicies/status", "patch"),
    ("podnode.io", "tenants/status", "patch"),
}
"""All that is written in a dry run."""
ASKING = "authorization.k8s.io"
"""Everybody may ask what they may do."""


class Installed(msgspec.Struct, frozen=True):
    """The chart's account and roles on the cluster, and a connection as that account."""

    api: ApiServer
    user: str
    roles: list[Document]

    def rights(self, *endings: str) -> set[Permission]:
        """Return what the roles grant whose names end so."""
        return granted(role for role in self.roles if role["metadata"]["name"].endswith(endings))


@asynccontextmanager
async def installed(cluster: Cluster, namespace: str, **values: Any) -> AsyncIterator[Installed]:
    """Install the chart's account and roles; those without a namespace go away again."""
    values |= {"provider": "kwok", "fullnameOverride": namespace, "rbac": {"aggregate": False}}
    wanted = [each for each in documents(values, namespace=namespace) if each["kind"] in ACCESS_KINDS]
    for document in wanted:
        await cluster.admin.send("POST", collection_of(document), document)
    config = await cluster.kubeconfig_for(namespace, namespace=namespace)
    api = await ApiServer.connect(kubeconfig=str(config))
    try:
        user = f"system:serviceaccount:{namespace}:{namespace}"
        yield Installed(api, user, [each for each in wanted if "Role" in each["kind"]])
    finally:
        await api.aclose()
        for document in wanted:
            await cluster.admin.send("DELETE", f"{collection_of(document)}/{document['metadata']['name']}")


@pytest.fixture
async def stage(cluster: Cluster, namespace: str) -> AsyncIterator[Stage]:
    stage = Stage(cluster, namespace)
    await stage.build()
    yield stage
    await stage.strike()


async def refused(change: Change) -> bool:
    try:
        await change()
    except AccessError:
        return True
    return False


async def allowed_writes(account: Installed, namespace: str) -> set[Permission]:
    """Return what the API server itself says that the account may write, in its namespace or in all."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    answer = await account.api.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)
    status = json.loads(answer)["status"]
    assert not status["incomplete"]
    rules = granted([{"rules": status["resourceRules"]}])
    return {each for each in rules if each[2] not in READS and each[0] not in (ASKING, "authentication.k8s.io")}


async def test_in_a_dry_run_the_only_writes_allowed_are_those_that_tell(cluster: Cluster, namespace: str) -> None:
    async with installed(cluster, namespace) as account:
        assert await allowed_writes(account, namespace) == TOLD
        assert {each for each in account.rights("") if each[2] not in READS} == TOLD


async def test_in_a_dry_run_each_change_is_refused_and_nothing_changes(
    cluster: Cluster, namespace: str, stage: Stage
) -> None:
    before = await stage.state()
    async with installed(cluster, namespace) as account:
        changes = {
            **stage.attempts(account.api),
            **stage.changes(account.api),
            # A dry run of the API server is authorised like the write itself.
            **{f"dry: {name}": change for name, change in stage.changes(account.api, dry_run=True).items()},
        }
        allowed = [name for name, change in changes.items() if not await refused(change)]
    assert len(changes) > 100
    assert allowed == []
    assert await stage.state() == before


async def test_the_role_to_act_is_what_acting_needs(cluster: Cluster, namespace: str, stage: Stage) -> None:
    async with installed(cluster, namespace, mode="apply") as account:
        for change in (*stage.purchases(account.api).values(), *stage.changes(account.api).values()):
            await change()
        used = asked(cluster.audit_log, account.user)
        acting = account.rights("-act")
        observing = account.rights("-observe")
    assert {each for each in used if not covers(acting | observing, each)} == set()
    assert {each for each in acting if each not in used} == set()
