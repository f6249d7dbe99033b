"""What the shipped roles allow is what the controller does: by a real API server's answers and its audit log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from autoscaler.clock import SystemClock
from autoscaler.errors import AccessError
from autoscaler.kube.checkpoints import ConfigMapCheckpoint
from autoscaler.kube.client import ApiServer
from autoscaler.kube.events import EventRecorder, ObjectEvent, Regarding
from autoscaler.kube.scale import ResourcePath
from tests.cluster.cluster import Cluster
from tests.cluster.waiting import eventually
from tests.deploy.access import READS, Permission, asked, covers, granted
from tests.deploy.installed import Installed, chart_flags, installed
from tests.deploy.stage import Change, Stage
from tests.integration import crds
from tests.integration.running import autoscaler_run

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
CUSTOM = {"apiGroup": "rbac.example", "resource": "machines"}
ADAPTERS = {"custom.metrics.k8s.io", "external.metrics.k8s.io"}
"""Asked only where somebody serves them, which here nobody does."""
ASKING = "authorization.k8s.io"
"""Everybody may ask what they may do."""


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


async def tell_twice(api: ApiServer, namespace: str) -> None:
    """Publish one event two times: the second is added to the first one's series."""
    recorder = EventRecorder(api, SystemClock(), refresh_seconds=0.0)
    about = Regarding("apps/v1", "Deployment", "one", namespace)
    for _ in range(2):
        await recorder.publish([ObjectEvent(regarding=about, reason="Scaled", action="Scale", note="to 3")])


async def test_the_role_to_observe_is_what_the_controller_asks_for(
    cluster: Cluster, namespace: str, stage: Stage, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"metrics": {"source": "metrics-api"}, "custom": (CUSTOM,)}
    await crds.install(cluster.admin)
    await stage.govern(ResourcePath(f"{CUSTOM['apiGroup']}/v1", CUSTOM["resource"]), "Machine")
    async with installed(cluster, namespace, **values) as account:
        config = ("--kubeconfig", str(account.kubeconfig))
        rights = account.rights("")
        needed = {each for each in rights if each[0] not in ADAPTERS}

        async def all_are_used() -> bool:
            used = asked(cluster.audit_log, account.user)
            # A list is streamed as a watch where the server can do so; where it cannot, it is a list.
            used |= {(group, resource, "list") for group, resource, verb in used if verb == "watch"}
            return needed <= used

        await tell_twice(account.api, namespace)
        async with autoscaler_run(cluster, tmp_path / "log", *chart_flags(namespace, **values), *config) as running:
            await running.logged("cycle", count=2)
            assert (await running.get("/readyz"))[0] == 200
            await eventually(all_are_used, what="every right used", within=60.0)
            assert await running.stop() == 0
    assert [each for each in asked(cluster.audit_log, account.user) if not covers(rights, each)] == []


async def keep_memory(api: ApiServer, namespace: str) -> None:
    """Save a checkpoint of many parts, a smaller one in its place, and load it."""
    checkpoint = ConfigMapCheckpoint(api, name=namespace, namespace=namespace, part_bytes=4)
    await checkpoint.save(b"of several parts")
    await checkpoint.save(b"one")
    assert await checkpoint.load() == b"one"


async def test_the_roles_to_act_are_what_acting_needs(cluster: Cluster, namespace: str, stage: Stage) -> None:
    async with installed(cluster, namespace, mode="apply") as account:
        for change in (*stage.purchases(account.api).values(), *stage.changes(account.api).values()):
            await change()
        await keep_memory(account.api, namespace)
        used = asked(cluster.audit_log, account.user)
        acting = account.rights("-act", "-checkpoint")
        assert {each for each in used if not covers(account.rights(""), each)} == set()
    assert {each for each in acting if each not in used} == set()
