"""
A mutating webhook that gives new pods their size, so that templates need not roll out for it.

It never forbids a pod, and when in doubt leaves it as it is: an unknown
workload, a review that cannot be read, an API server that does not answer in
time. The webhook's configuration says `failurePolicy: Ignore` for the rest.

Source: admission.k8s.io/v1 AdmissionReview (Kubernetes, dynamic admission control).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from autoscaler.errors import AutoscalerError, InputError
from autoscaler.kube.wishes import Wishes, merged_resources
from autoscaler.model.resources import Resources
from autoscaler.model.workload import workload_key
from autoscaler.telemetry.logs import Log
from autoscaler.telemetry.metrics import Metrics

RESIZED_FROM = "podnode.io/resized-from"
"""On a pod: by container, the `resources` that it would have had."""
TEMPLATE_HASH = "pod-template-hash"
ANSWER_SECONDS = 0.8
"""Less than the second that the webhook's configuration allows."""
_MOST_BYTES = 1 << 22
log = Log(__name__)

WishesOf = Callable[[str], Awaitable[Wishes]]
"""Gives what new pods of a workload (by key) should get, {} where they are to be left alone."""
Pod = Mapping[str, Any]


class _Request(msgspec.Struct, frozen=True):
    uid: str
    namespace: str = ""
    operation: str = ""
    object: dict[str, Any] | None = None


class _Review(msgspec.Struct, frozen=True):
    request: _Request


def webhook(wishes_of: WishesOf, metrics: Metrics) -> web.Application:
    """Return the application with `/mutate-pods`."""

    async def mutate(request: web.Request) -> web.Response:
        try:
            review = msgspec.json.decode(await request.read(), type=_Review)
        except msgspec.MsgspecError as error:
            metrics.webhook.labels("failed").inc()
            return web.Response(status=400, text=f"not an AdmissionReview: {error}\n")
        patch = await _patch(review.request, wishes_of, metrics)
        return web.Response(body=_answer(review.request.uid, patch), content_type="application/json")

    application = web.Application(client_max_size=_MOST_BYTES)
    application.router.add_post("/mutate-pods", mutate)
    return application


def owner_of(pod: Pod, namespace: str) -> str:
    """
    Return the key of the workload that a new pod belongs to, "" where there is none.

    A Deployment names its ReplicaSets by itself and their `pod-template-hash`
    (deployment/sync.go, getNewReplicaSet): the pod tells both.

    >>> labels = {"pod-template-hash": "5d4f"}
    >>> owner = {"controller": True, "kind": "ReplicaSet", "name": "web-5d4f"}
    >>> owner_of({"metadata": {"labels": labels, "ownerReferences": [owner]}}, "shop")
    'shop/Deployment/web'
    """
    metadata = pod.get("metadata") or {}
    owner = next((each for each in metadata.get("ownerReferences") or () if each.get("controller")), None)
    if owner is None:
        return ""
    kind, name = str(owner.get("kind")), str(owner.get("name"))
    ending = (metadata.get("labels") or {}).get(TEMPLATE_HASH)
    if kind == "ReplicaSet" and ending and name.endswith(f"-{ending}"):
        kind, name = "Deployment", name.removesuffix(f"-{ending}")
    return workload_key(namespace, kind, name)


def json_patch(pod: Pod, wishes: Wishes) -> list[dict[str, Any]]:
    """
    Return the JSON patch (RFC 6902) that gives a pod's containers what is wished for, [] where they have it.

    Raises:
        InputError: a wish, or what the pod has, is not a quantity.
    """
    patch: list[dict[str, Any]] = []
    before: dict[str, Any] = {}
    for number, container in enumerate((pod.get("spec") or {}).get("containers") or ()):
        wish = wishes.get(container.get("name", ""))
        if not wish:
            continue
        old, new = container.get("resources") or {}, _allowed(merged_resources(container, wish))
        if _same(old, new):
            continue
        before[container["name"]] = old
        patch.append({"op": "add", "path": f"/spec/containers/{number}/resources", "value": new})
    if before:
        patch.append(_annotate(pod, msgspec.json.encode(before, order="deterministic").decode()))
    return patch


async def _patch(request: _Request, wishes_of: WishesOf, metrics: Metrics) -> list[dict[str, Any]]:
    """Return the patch for a review, [] whenever anything is not as it should be."""
    pod = request.object
    patch: list[dict[str, Any]] = []
    result = "untouched"
    if pod is not None and request.operation in ("", "CREATE"):
        try:
            owner = owner_of(pod, request.namespace)
            if owner:
                async with asyncio.timeout(ANSWER_SECONDS):
                    patch = json_patch(pod, await wishes_of(owner))
            result = "resized" if patch else "untouched"
        except (AutoscalerError, TimeoutError) as error:
            log.warning("new pod left as it is", namespace=request.namespace, reason=str(error) or "no answer in time")
            result = "failed"
        except Exception:  # whatever is wrong: a pod must never wait for us
            log.exception("new pod left as it is by a bug", namespace=request.namespace)
            result = "failed"
    metrics.webhook.labels(result).inc()
    return patch


def _answer(uid: str, patch: list[dict[str, Any]]) -> bytes:
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(msgspec.json.encode(patch)).decode()
    return msgspec.json.encode({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})


def _allowed(resources: dict[str, Any]) -> dict[str, Any]:
    """Return *resources* with no request above its limit: the API server would refuse the pod."""
    requests, limits = _parsed(resources, "requests"), _parsed(resources, "limits")
    above = {
        name: resources["limits"][name]
        for name, amount in requests.items()
        if limits.has(name) and amount > limits.get(name)
    }
    return {**resources, "requests": {**resources["requests"], **above}} if above else resources


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return all(_parsed(old, part) == _parsed(new, part) for part in ("requests", "limits"))


def _parsed(resources: Mapping[str, Any], part: str) -> Resources:
    try:
        return Resources.parse(resources.get(part) or {})
    except ValueError as error:
        raise InputError("pod", f"resources.{part}", resources.get(part), "quantities") from error


def _annotate(pod: Pod, text: str) -> dict[str, Any]:
    if (pod.get("metadata") or {}).get("annotations"):
        # RFC 6901: a slash in a name is written ~1.
        return {"op": "add", "path": f"/metadata/annotations/{RESIZED_FROM.replace('/', '~1')}", "value": text}
    return {"op": "add", "path": "/metadata/annotations", "value": {RESIZED_FROM: text}}
