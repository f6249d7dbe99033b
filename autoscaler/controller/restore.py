"""Puts back what the controller changed: requests in templates, other autoscalers, cordoned nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from autoscaler.controller.actuate import Writer, cluster_writer
from autoscaler.errors import AutoscalerError, ConflictError
from autoscaler.kube.client import ApiServer, NotFoundError
from autoscaler.kube.lease import holder_of
from autoscaler.kube.scale import LEASES, ResourcePath
from autoscaler.kube.traces import NODE, RIVAL, Trace, find_traces


class Restored(msgspec.Struct, frozen=True):
    """What became of one trace; `error` is "" where it was undone, or where nothing was to be done."""

    trace: Trace
    error: str = ""


Told = Callable[[Restored], None]


async def restore(
    api: ApiServer,
    *,
    told: Told,
    do: bool = False,
    namespace: str = "",
    custom: Mapping[str, ResourcePath] | None = None,
    lease: tuple[str, str],
    now: float,
) -> int:
    """
    Find all traces and, with *do*, undo each; *told* hears of each as it comes. Return how many failed.

    *lease* is the namespace ("" for our own) and name of the controller's
    lease: who holds it at *now* (epoch seconds) would only do it all again.

    Raises:
        ConflictError: a controller runs.
        AccessError: objects may not be listed.
        TransientError: the API server does not answer.
    """
    custom = custom or {}
    traces = await find_traces(api, namespace=namespace, custom=custom)
    if do and traces:
        await _refuse_beside_a_leader(api, *lease, now=now)
    writer = cluster_writer(api, dry_run=False, roll_out=True, resources=custom.get)
    failed = 0
    for trace in traces:
        done = await _undone(writer, trace) if do else Restored(trace)
        failed += bool(done.error)
        told(done)
    return failed


async def _undone(writer: Writer, trace: Trace) -> Restored:
    try:
        if trace.target == NODE:
            await writer.uncordon(trace.key)
        elif trace.target == RIVAL:
            await writer.give_back(trace.key)
        else:
            await writer.restore_requests(trace.key)
    except AutoscalerError as error:
        return Restored(trace, str(error))
    return Restored(trace)


async def _refuse_beside_a_leader(api: ApiServer, namespace: str, name: str, *, now: float) -> None:
    namespace, holder = namespace or api.namespace, ""
    with suppress(NotFoundError):
        holder = holder_of(await api.get(LEASES.to(name, namespace=namespace)), now=now)
    if holder:
        raise ConflictError(f"lease {namespace}/{name}: {holder} leads and would change it all again; stop it first")
