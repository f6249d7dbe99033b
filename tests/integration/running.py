"""`autoscaler run` as a process of its own, on the development cluster, as a user of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from autoscaler.errors import AutoscalerError
from autoscaler.kube.client import ApiServer, NotFoundError
from tests.cluster.cluster import Cluster
from tests.cluster.waiting import eventually

ACCOUNT = "autoscaler-under-test"
USER = f"system:serviceaccount:default:{ACCOUNT}"
_ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


class Running:
    """A process that runs; `lines` are its log."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, port: int) -> None:
        self._process = process
        self._log = log
        self.port = port

    @property
    def lines(self) -> list[dict[str, Any]]:
        whole = self._log.read_text(encoding="utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def events(self, event: str, **facts: Any) -> list[dict[str, Any]]:
        """Return the lines of *event* that have these facts."""
        return [
            line
            for line in self.lines
            if line["event"] == event and all(line.get(name) == value for name, value in facts.items())
        ]

    async def logged(self, event: str, *, count: int = 1, within: float = 30.0, **facts: Any) -> list[dict[str, Any]]:
        """Wait until *event* was logged *count* times."""

        async def look() -> list[dict[str, Any]]:
            assert self._process.returncode is None, self._log.read_text(encoding="utf-8")
            found = self.events(event, **facts)
            return found if len(found) >= count else []

        return await eventually(look, what=f"{count} lines of {event} {facts} in {self._log.name}", within=within)

    async def get(self, path: str) -> tuple[int, bytes]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
        ):
            return answer.status, await answer.read()

    async def stop(self) -> int:
        """Ask for an orderly end; return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            return await self._process.wait()

    def pause(self) -> None:
        """Let it stand still, as a machine that is frozen does."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on, as if no time had passed."""
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it as a crash would."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def autoscaler_run(
    cluster: Cluster,
    log: Path,
    *flags: str,
    period: str = "1s",
    python: Sequence[str] = (sys.executable,),
    kubeconfig: Path | None = None,
) -> AsyncIterator[Running]:
    """
    Run the command with *flags*, by *python*; it is killed at the end if it still runs.

    Without a *kubeconfig* its account may do everything.
    """
    port = free_port()
    words = [
        *("--kubeconfig", str(kubeconfig or await account_of(cluster))),
        *("--prometheus-url", cluster.prometheus_url, "--prometheus-resolution", "2s", "--prometheus-window", "10s"),
        *("--listen-address", "127.0.0.1", "--listen-port", str(port), "--period", period),
        *flags,
    ]
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *python, "-m", "autoscaler", "run", *words, stderr=out, stdout=out, env={**os.environ}
        )
    running = Running(process, log, port)
    try:
        yield running
    finally:
        await running.kill()


async def command(*words: str) -> tuple[int, str]:
    """Run another command of the program to its end; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "autoscaler", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def account_of(cluster: Cluster) -> Path:
    """Return the kubeconfig of an account that may do everything: what it does is then its own choice."""
    await _create(cluster.admin, _ACCOUNTS, {"metadata": {"name": ACCOUNT}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}
    await _create(cluster.admin, _BINDINGS, {"metadata": {"name": ACCOUNT}, "roleRef": role, "subjects": [subject]})
    return await cluster.kubeconfig_for(ACCOUNT)


def asked(cluster: Cluster, *, after: int = 0) -> list[dict[str, Any]]:
    """Return the audit log's entries of the process's user, from the *after*th line of the log on."""
    lines = cluster.audit_log.read_text(encoding="utf-8").splitlines()[after:]
    entries = [json.loads(line) for line in lines if USER in line]
    return [entry for entry in entries if entry["user"]["username"] == USER]


def length_of_audit_log(cluster: Cluster) -> int:
    return len(cluster.audit_log.read_text(encoding="utf-8").splitlines())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def remove(api: ApiServer, path: str) -> None:
    """Delete an object if it is there."""
    try:
        await api.send("DELETE", path)
    except NotFoundError:
        return


async def _create(api: ApiServer, path: str, document: dict[str, Any]) -> None:
    try:
        await api.send("POST", path, document)
    except AutoscalerError as error:
        if "AlreadyExists" not in str(error) and "already exists" not in str(error):
            raise
