"""The controller as the chart runs it: a process of its own, with the chart's flags, account and roles."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from autoscaler.model.plan import Decision
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.telemetry.record import decode_record
from tests.cluster.cluster import Cluster
from tests.deploy.access import READS
from tests.deploy.installed import Installed, installed
from tests.integration.running import Running, autoscaler_run, free_port

Entry = dict[str, Any]
"""One request in the audit log (audit.k8s.io/v1 Event)."""

TOLD = {
    ("create", "leases"),
    ("update", "leases"),
    ("create", "events"),
    ("patch", "events"),
    ("patch", "multidimpodautoscalers/status"),
    ("patch", "nodegroups/status"),
    ("patch", "scalingpolicies/status"),
    ("patch", "tenants/status"),
}
"""All that is written while it only tells: verb and resource, as `what` gives them."""
KEPT = {(verb, "configmaps") for verb in ("create", "update", "patch", "delete")}
"""The checkpoint, which one that may act writes, too."""
ASKED = {("create", "selfsubjectaccessreviews")}
"""A question in the form of a write."""


class Trail:
    """What *user* has asked the API server for since this object was made, by the audit log."""

    def __init__(self, cluster: Cluster, user: str) -> None:
        self._log, self._user = cluster.audit_log, user
        self._begin = self._log.stat().st_size

    def entries(self) -> list[Entry]:
        """Return all requests in the order of their ends, allowed or not."""
        with self._log.open("rb") as log:
            log.seek(self._begin)
            # The last line may be half written.
            whole = log.read().rpartition(b"\n")[0]
        mine = (json.loads(line) for line in whole.splitlines() if self._user.encode() in line)
        return [entry for entry in mine if entry["user"]["username"] == self._user]

    def writes(self) -> list[Entry]:
        """Return the requests that are not reads."""
        return [entry for entry in self.entries() if entry["verb"] not in READS]


class Controller:
    """A running controller: its process with its log, what it asked for since it began, and what it decided last."""

    def __init__(self, process: Running, trail: Trail, debug_port: int) -> None:
        self.process = process
        self.trail = trail
        self._debug_port = debug_port

    async def decision(self) -> Decision:
        """Return the last decision; one must have been made."""
        address = f"http://127.0.0.1:{self._debug_port}/debug/record"
        async with aiohttp.ClientSession() as session, session.get(address) as answer:
            answer.raise_for_status()
            file = decode_record(await answer.read(), where=address, engines=BUILT_IN)
        assert file.decision is not None
        return file.decision


def what(entry: Entry) -> tuple[str, str]:
    """Return the verb, and the resource with its subresource."""
    about = entry["objectRef"]
    return entry["verb"], "/".join(part for part in (about["resource"], about.get("subresource")) if part)


def names(entries: list[Entry], verb: str, resource: str) -> list[str]:
    """Return the names of the objects that were successfully asked for so, in order."""
    return [
        entry["objectRef"]["name"]
        for entry in entries
        if what(entry) == (verb, resource) and entry["responseStatus"]["code"] < 300
    ]


@asynccontextmanager
async def release_in(cluster: Cluster, namespace: str, **values: Any) -> AsyncIterator[Installed]:
    """Install the chart's account and roles in *namespace*, by values that suit the development cluster."""
    metrics = {"prometheus": {"url": cluster.prometheus_url}}
    async with installed(cluster, namespace, **{"metrics": metrics, **values}) as account:
        yield account


@asynccontextmanager
async def controller(
    cluster: Cluster, account: Installed, log: Path, *flags: str, period: str = "1s"
) -> AsyncIterator[Controller]:
    """Run the controller as *account*; further *flags* come after the chart's. It is killed at the end if it runs."""
    port = free_port()
    words = (*account.flags, "--debug-port", str(port), *flags)
    trail = Trail(cluster, account.user)
    async with autoscaler_run(cluster, log, *words, period=period, kubeconfig=account.kubeconfig) as running:
        found = Controller(running, trail, port)
        try:
            yield found
        except AssertionError as error:
            with suppress(aiohttp.ClientError):
                error.add_note("\n".join(map(str, ("the last decision:", *(await found.decision()).notes))))
            raise
