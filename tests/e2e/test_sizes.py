"""Sizes on real components: in place for pods that run, at admission for new ones, and more for the OOM-killed."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from autoscaler.clock import SystemClock
from autoscaler.model.units import MIB, quantity_value
from tests.cluster.cluster import Cluster
from tests.cluster.objects import Object, deployment
from tests.cluster.oom import kill
from tests.cluster.waiting import eventually
from tests.deploy.installed import chart
from tests.e2e.controller_process import Controller, controller, release_in, what
from tests.e2e.shop import Shop
from tests.integration.running import free_port, remove

_HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
_LIMIT, _USED = 300 * MIB, 400 * MIB
"""What each pod is limited to, and what one comes to use."""


@asynccontextmanager
async def sizing(cluster: Cluster, shop: Shop, release: str, log: Path) -> AsyncIterator[Controller]:
    """Run the controller with its webhook, which the chart registers for the shop's namespace."""
    port, folder = free_port(), cluster.layout.folder
    authority = (folder / "ca.crt").read_bytes()
    selector = {"matchLabels": {"kubernetes.io/metadata.name": shop.name}}
    hook = {"enabled": True, "tlsSecret": "given", "caBundle": authority.decode(), "namespaceSelector": selector}
    flags = (
        *("--webhook-address", "127.0.0.1", "--webhook-port", str(port)),
        *("--webhook-cert-file", str(folder / "server.crt"), "--webhook-key-file", str(folder / "server.key")),
    )
    async with (
        release_in(cluster, release, mode="apply", webhook=hook) as account,
        controller(cluster, account, log, *flags) as acting,
    ):
        (document,) = [
            each
            for each in chart(release, mode="apply", webhook=hook)
            if each["kind"] == "MutatingWebhookConfiguration"
        ]
        # No pod stands behind a Service here: the process listens on this machine.
        document["webhooks"][0]["clientConfig"] = {
            "url": f"https://127.0.0.1:{port}/mutate-pods",
            "caBundle": base64.b64encode(authority).decode(),
        }
        await cluster.admin.send("POST", _HOOKS, document)
        try:
            yield acting
        finally:
            await remove(cluster.admin, f"{_HOOKS}/{document['metadata']['name']}")


async def test_sizes_change_in_place_and_at_admission(
    cluster: Cluster, shop: Shop, release: str, tmp_path: Path
) -> None:
    await shop.govern(mode="Auto", types=["m7i.xlarge"])
    await shop.add_node("first", cpu="8", memory="32Gi")
    for name, replicas in (("cache", 3), ("leaky", 1)):
        await shop.run(small(name, replicas=replicas, shop=shop))
        await shop.autoscale(name, constraints={"global": {"minReplicas": replicas, "maxReplicas": replicas}})
    first = await shop.all_ready("cache", pods=3)
    async with sizing(cluster, shop, release, tmp_path / "log") as acting:
        await acting.process.logged("cycle")
        await kill(cluster.admin, shop.name, first[0]["metadata"]["name"], at=SystemClock().now())
        await resized_in_place(shop, first)
        await starts_right_sized(cluster, shop)
        await cluster.emulator.set_load(shop.name, "leaky", memory_bytes=_USED)
        await no_longer_killed(shop)
        assert await acting.process.stop() == 0
    assert acting.process.events("action", result="failed") == []
    asked = {what(entry) for entry in acting.trail.writes()}
    assert ("patch", "pods/resize") in asked
    assert ("create", "pods/eviction") not in asked


def small(name: str, *, replicas: int, shop: Shop) -> Object:
    """Return a Deployment of pods that are killed when they use more than 300 MiB, and come back soon."""
    return deployment(
        name,
        replicas=replicas,
        memory="256Mi",
        limits={"memory": "300Mi"},
        annotations={"podnode.io/restart-seconds": "0.5"},
        **shop.placement,
    )


async def resized_in_place(shop: Shop, before: list[Object]) -> None:
    """Wait until all pods got more, for one was killed: the same pods, of which no other was restarted."""

    async def look() -> list[Object]:
        pods = await shop.pods("cache")
        return pods if all(memory_of(pod) > _LIMIT and given_to(pod) == memory_of(pod) for pod in pods) else []

    pods = await eventually(look, what="pods of cache resized", within=60.0, every=0.2)
    assert [pod["metadata"]["uid"] for pod in pods] == [pod["metadata"]["uid"] for pod in before]
    assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods] == [1, 0, 0]
    found = await shop.get(f"/apis/apps/v1/namespaces/{shop.name}/deployments/cache")
    assert found["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"] == "256Mi"
    await names_the_kill(shop, "cache")


async def names_the_kill(shop: Shop, workload: str) -> None:
    """Wait for an event about the resize that says why."""

    async def is_told() -> bool:
        notes = [event["note"] for event in await shop.events("Resized") if event["regarding"]["name"] == workload]
        return any("killed for want of memory" in note for note in notes)

    await eventually(is_told, what=f"an event that names the kill of {workload}")


async def starts_right_sized(cluster: Cluster, shop: Shop) -> None:
    """Delete a pod, and wait for one that was born with the size that was wished for."""

    async def look() -> Object | None:
        for pod in await shop.pods("cache"):
            if "podnode.io/resized-from" in pod["metadata"].get("annotations", {}):
                return pod
        # The API server takes a moment to learn of a webhook, so the first new pod may still miss it.
        pods = await shop.pods("cache")
        await remove(cluster.admin, f"/api/v1/namespaces/{shop.name}/pods/{pods[-1]['metadata']['name']}")
        return None

    pod = await eventually(look, what="a pod sized at admission", within=60.0, every=2.0)
    assert pod is not None
    assert memory_of(pod) > _LIMIT
    assert json.loads(pod["metadata"]["annotations"]["podnode.io/resized-from"])["app"]["requests"]["memory"] == "256Mi"


async def no_longer_killed(shop: Shop) -> None:
    """Wait until the pod that was killed has room for what it uses, and is Ready again; it is the same one."""

    async def look() -> Object | None:
        (pod,) = await shop.pods("leaky")
        (status,) = pod["status"]["containerStatuses"]
        limit = quantity_value(pod["spec"]["containers"][0]["resources"]["limits"]["memory"])
        return pod if limit > _USED and status["ready"] and given_to(pod) == memory_of(pod) else None

    pod = await eventually(look, what="leaky to get what it uses", within=60.0, every=0.2)
    assert pod is not None
    (status,) = pod["status"]["containerStatuses"]
    assert status["restartCount"] >= 1
    assert status["lastState"]["terminated"]["reason"] == "OOMKilled"
    await names_the_kill(shop, "leaky")


def memory_of(pod: Object) -> int:
    """Return the bytes that a pod asks for."""
    return int(quantity_value(pod["spec"]["containers"][0]["resources"]["requests"]["memory"]))


def given_to(pod: Object) -> int:
    """Return the bytes that its node gave it."""
    resources = pod["status"]["containerStatuses"][0]["resources"]
    return int(quantity_value(resources["requests"]["memory"]))
