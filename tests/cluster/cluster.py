"""A running development cluster: its life, its parts, and faults on purpose."""

from __future__ import annotations

import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import yaml

from autoscaler.clock import SystemClock
from autoscaler.errors import AutoscalerError
from autoscaler.interfaces import Clock
from autoscaler.kube.client import ApiServer
from tests.cluster.binaries import Say, find_programs
from tests.cluster.control_plane import Layout, Options, command_of, write_files, write_kubeconfig
from tests.cluster.emulator_client import EmulatorClient
from tests.cluster.folders import Folder, claim
from tests.cluster.processes import ComponentError, Process
from tests.cluster.waiting import eventually

READY_SECONDS = 90.0
"""For one component to become ready, on a busy machine."""
_PROBE_SECONDS = 2.0
_HEALTH = {
    "etcd": "/readyz",
    "kube-apiserver": "/readyz",
    "kube-controller-manager": "/healthz",
    "kube-scheduler": "/readyz",
    "kwok": "/healthz",
    "prometheus": "/-/ready",
    "emulator": "/healthz",
}
COMPONENTS = tuple(_HEALTH)
_METRICS = ("emulator", "prometheus")


class _TokenStatus(msgspec.Struct, frozen=True):
    token: str


class _TokenRequest(msgspec.Struct, frozen=True):
    status: _TokenStatus


class Cluster:
    """
    A control plane on loopback; make one with `Cluster.up`, end it with `close`.

    Everything lives in one folder, which `close` removes. If the process that
    holds this object dies, its components die with it.
    """

    def __init__(self, folder: Folder, layout: Layout, clock: Clock) -> None:
        self.layout = layout
        self._folder = folder
        self._clock = clock
        self.emulator = EmulatorClient(layout.url("emulator"))
        self._admin: ApiServer | None = None
        self._processes = {
            name: Process(
                name,
                _command(name, layout),
                log=layout.folder / "logs" / f"{name}.log",
                environment={**os.environ, "KUBECONFIG": str(layout.kubeconfig)},
            )
            for name in COMPONENTS
            if layout.options.metrics or name not in _METRICS
        }

    @classmethod
    async def up(
        cls, *, name: str = "development", options: Options | None = None, say: Say = print, clock: Clock | None = None
    ) -> Cluster:
        """
        Start everything and return when pods can be created.

        Raises:
            BuildError: a program is missing and cannot be built.
            FolderError: a cluster of that name runs.
            ComponentError: a component did not become ready; the message has its last log lines.
        """
        clock = clock or SystemClock()
        programs = find_programs(say=say)
        folder = claim(name)
        try:
            layout = Layout(folder=folder.path, ports=folder.ports, programs=programs, options=options or Options())
            write_files(layout)
        except BaseException:
            folder.remove()
            raise
        cluster = cls(folder, layout, clock)
        try:
            await cluster._start_all(say)
        except BaseException:
            cluster.close()
            raise
        return cluster

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig

    @property
    def audit_log(self) -> Path:
        """One JSON object a line (audit.k8s.io/v1 Event), every request but kwok's heartbeats."""
        return self.layout.audit_log

    @property
    def prometheus_url(self) -> str:
        """Where Prometheus answers."""
        return self.layout.url("prometheus")

    @property
    def kubectl(self) -> Path:
        """The kubectl that goes with the API server."""
        return self.layout.programs["kubectl"]

    @property
    def admin(self) -> ApiServer:
        """The administrator's connection, inside `connected`."""
        if self._admin is None:
            raise ValueError("admin is there only inside `async with cluster.connected()`")
        return self._admin

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Cluster]:
        """Connect `admin` in the running event loop."""
        self._admin = await ApiServer.connect(kubeconfig=str(self.kubeconfig), user_agent="tests")
        try:
            yield self
        finally:
            await self._admin.aclose()
            self._admin = None

    async def start(self, component: str) -> None:
        """Start a component that does not run, and wait until it is ready."""
        self._processes[component].start()
        await self.wait_ready(component)

    async def stop(self, component: str) -> None:
        """End a component in order (SIGTERM) and wait until it is gone."""
        await self._processes[component].stop(self._clock)

    async def restart(self, component: str) -> None:
        """Stop and start a component; it keeps its port and its data."""
        await self.stop(component)
        await self.start(component)

    def kill(self, component: str) -> None:
        """End a component at once (SIGKILL)."""
        self._processes[component].kill()

    def pause(self, component: str) -> None:
        """Let a component stand still (SIGSTOP): connections stay open and nothing answers."""
        self._processes[component].signal(signal.SIGSTOP)

    def resume(self, component: str) -> None:
        """Let a paused component go on."""
        self._processes[component].signal(signal.SIGCONT)

    async def wait_ready(self, component: str, *, within: float = READY_SECONDS) -> None:
        """
        Wait until a component says that it is ready.

        Raises:
            ComponentError: it ended, or took longer than *within* seconds.
        """
        process = self._processes[component]
        async with self._prober() as prober:

            async def is_ready() -> bool:
                process.check()
                return await _answers(prober, self.layout.url(component) + _HEALTH[component])

            try:
                await eventually(is_ready, what=f"{component} ready", within=within, clock=self._clock)
            except AssertionError as error:
                raise ComponentError(f"{error}:\n{process.last_lines()}") from error

    async def wait_namespace(self, name: str) -> None:
        """Wait until pods can be created in a namespace: they need its service account `default`."""

        async def has_account() -> bool:
            try:
                return bool(await self.admin.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"))
            except AutoscalerError:
                return False

        await eventually(has_account, what=f"service account default in {name}", clock=self._clock)

    async def kubeconfig_for(self, service_account: str, *, namespace: str = "default", seconds: int = 86_400) -> Path:
        """Return a kubeconfig of a ServiceAccount that exists, with a token from the API server (TokenRequest)."""
        answer = await self.admin.send(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": seconds},
            },
        )
        token = msgspec.json.decode(answer, type=_TokenRequest).status.token
        path = self.layout.folder / f"{namespace}.{service_account}.kubeconfig"
        write_kubeconfig(self.layout, path, user=service_account, token=token, namespace=namespace)
        return path

    def log_of(self, component: str) -> Path:
        """Return where a component's output goes."""
        return self._processes[component].log

    def process(self, component: str) -> Process:
        """Return a component's process."""
        return self._processes[component]

    def close(self) -> None:
        """End everything and remove the folder."""
        for process in reversed(self._processes.values()):
            process.kill()
        self._folder.remove()

    async def _start_all(self, say: Say) -> None:
        began = self._clock.monotonic()

        def note(what: str) -> None:
            say(f"{self._clock.monotonic() - began:5.1f} s  {what}")

        # What can wait for the API server by itself starts with it; the others would end.
        patient = [name for name in self._processes if name in ("etcd", "kube-apiserver", *_METRICS)]
        for name in patient:
            self._processes[name].start()
        await self.wait_ready("kube-apiserver")
        note("API server is ready")
        for name in self._processes:
            if name not in patient:
                self._processes[name].start()
        for name in self._processes:
            await self.wait_ready(name)
        async with self.connected():
            await self.wait_namespace("default")
        note("pods can be created")

    @asynccontextmanager
    async def _prober(self) -> AsyncIterator[aiohttp.ClientSession]:
        user = yaml.safe_load(self.kubeconfig.read_text(encoding="utf-8"))["users"][0]["user"]
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(self.layout.authority)))
        async with aiohttp.ClientSession(
            connector=connector,
            headers={"Authorization": f"Bearer {user['token']}"},
            timeout=aiohttp.ClientTimeout(total=_PROBE_SECONDS),
        ) as session:
            yield session


async def _answers(prober: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with prober.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


def _command(component: str, layout: Layout) -> list[str]:
    if component == "emulator":
        return [sys.executable, "-m", "tests.cluster.emulator", str(layout.folder)]
    return command_of(component, layout)
