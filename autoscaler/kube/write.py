"""
Single changes to the cluster's objects; `controller.actuate` alone may use them.

A change reads the object, edits what it read and sends the difference with the
resourceVersion it was read at: what somebody else changed meanwhile is never
overwritten, and doing a change twice is doing it once. In a dry run each write
carries `dryRun=All`: the API server judges it in full and keeps nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from autoscaler.errors import ConflictError
from autoscaler.kube import edits
from autoscaler.kube.client import MERGE, STRATEGIC, ApiServer, NotFoundError
from autoscaler.kube.scale import (
    NODES,
    QUOTAS,
    RIVALS,
    WORKLOADS,
    ResourceOf,
    place_of,
    pod_path,
)
from autoscaler.model.recommendation import ContainerSize

WRITE_SECONDS = 5.0
"""A call's time-out: shorter than the time between a leader's last act and its lease's end."""
_ATTEMPTS = 4
"""Tries at one change: controllers write status all the time, and that moves the resourceVersion."""

Edit = Callable[[edits.Document], None]


class KubeWriter:
    """
    A `controller.actuate.Writer` on the API server.

    Args:
        dry_run: let the server judge each write and keep nothing.
        resources: where workloads of custom kinds are served.
        roll_out: False leaves templates alone: `set_requests` then only notes
            the sizes on the workload (annotation `podnode.io/requests`), for an
            admission webhook to give to new pods.
    """

    def __init__(
        self,
        api: ApiServer,
        *,
        dry_run: bool = False,
        field_manager: str = edits.FIELD_MANAGER,
        resources: ResourceOf | None = None,
        roll_out: bool = True,
    ) -> None:
        self._api = api
        self._manager = field_manager
        self._params = {"fieldManager": field_manager, **({"dryRun": "All"} if dry_run else {})}
        self._resources = resources
        self._roll_out = roll_out

    async def scale(self, workload: str, replicas: int, *, expected: int) -> None:
        """Set the count through the scale subresource; a count that is already so is left alone."""
        path = place_of(workload, WORKLOADS, self._resources).path("scale")

        def edit(scale: edits.Document) -> None:
            # The API leaves a count of 0 out.
            spec = scale.setdefault("spec", {})
            found = spec.get("replicas", 0)
            if found not in (expected, replicas):
                raise ConflictError(f"workload {workload}: replicas is {found}, expected {expected}")
            if found != replicas:
                spec["replicas"] = replicas

        await self._change(path, edit)

    async def set_requests(self, workload: str, containers: Sequence[ContainerSize]) -> None:
        """Change the template, which rolls the pods out; `restore_requests` undoes it."""
        where = f"workload {workload}"
        apply = edits.set_sizes if self._roll_out else edits.wish_sizes
        path = place_of(workload, WORKLOADS, self._resources).path()
        await self._change(path, lambda document: apply(document, containers, where=where))

    async def restore_requests(self, workload: str) -> None:
        """Give the template what it had before `set_requests`, and forget what was noted for new pods."""
        path = place_of(workload, WORKLOADS, self._resources).path()
        await self._change(path, lambda document: edits.restore_sizes(document, where=f"workload {workload}"))

    async def resize_pod(self, pod: str, containers: Sequence[ContainerSize]) -> None:
        """Ask the kubelet for other sizes; whether it can is in the pod's status later."""
        named = [{"name": size.container, "resources": edits.resources_of(size)} for size in containers]
        body = {"spec": {"containers": named}}
        await self._send("PATCH", pod_path(pod, "resize"), body, content_type=STRATEGIC)

    async def evict(self, pod: str, *, uid: str) -> None:
        """Evict; a pod that is gone needs none. TransientError names the PodDisruptionBudget that forbids it."""
        namespace, _, name = pod.partition("/")
        body: dict[str, Any] = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        if uid:
            body["deleteOptions"] = {"preconditions": {"uid": uid}}
        with suppress(NotFoundError):
            await self._send("POST", pod_path(pod, "eviction"), body)

    async def cordon(self, node: str) -> None:
        await self._change(NODES.to(node), lambda document: edits.cordon(document, by=self._manager))

    async def uncordon(self, node: str) -> None:
        """Raises ConflictError where somebody else cordoned the node."""
        await self._change(NODES.to(node), lambda document: edits.uncordon(document, where=f"node {node}"))

    async def set_quota(self, namespace: str, name: str, hard: Sequence[tuple[str, int]]) -> None:
        await self._change(QUOTAS.to(name, namespace=namespace), lambda document: edits.set_quota(document, hard))

    async def set_aside(self, rival: str) -> None:
        """Stop a rival (by key) from acting; what it was is kept on it."""
        await self._rival(rival, edits.set_aside)

    async def give_back(self, rival: str) -> None:
        """Let a rival act again, as it was; one that was not set aside is left alone."""
        await self._rival(rival, edits.give_back)

    async def _rival(self, rival: str, edit: Callable[..., None]) -> None:
        place = place_of(rival, RIVALS)
        kind = rival.split("/")[1]
        await self._change(place.path(), lambda document: edit(document, kind=kind, where=f"autoscaler {rival}"))

    async def _change(self, path: str, edit: Edit) -> None:
        """Read, edit and send the difference; read anew when somebody else was faster."""
        for left in range(_ATTEMPTS - 1, -1, -1):
            before = msgspec.json.decode(await self._api.get(path, timeout=WRITE_SECONDS), type=dict[str, Any])
            after = copy.deepcopy(before)
            edit(after)
            patch = edits.merge_patch(before, after)
            if not patch:
                return
            patch.setdefault("metadata", {})["resourceVersion"] = before["metadata"]["resourceVersion"]
            try:
                await self._send("PATCH", path, patch, content_type=MERGE)
            except NotFoundError:
                raise
            except ConflictError:
                if not left:
                    raise
                continue
            return

    async def _send(self, method: str, path: str, body: Any, **options: Any) -> None:
        await self._api.send(method, path, body, params=self._params, timeout=WRITE_SECONDS, **options)
