"""What each command of `python -m tests.cluster` does."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from autoscaler.clock import SystemClock
from autoscaler.errors import AutoscalerError
from autoscaler.kube.client import ApiServer
from tests.cluster.cluster import COMPONENTS, Cluster
from tests.cluster.control_plane import AUDIT_LOG, KUBECONFIG
from tests.cluster.emulator_client import EmulatorClient
from tests.cluster.folders import home, running
from tests.cluster.processes import cpu_seconds, resident_bytes
from tests.cluster.scenario import create_workloads

_POLL_SECONDS = 0.2
_STOP_SECONDS = 30.0
_WATCH_SECONDS = 1.0


class State(msgspec.Struct, frozen=True):
    """What a running cluster says of itself: process ids by component, the keeper's under "keeper"."""

    processes: dict[str, int]
    prometheus: str
    emulator: str
    kubectl: str


async def up(name: str) -> None:
    """Start a cluster that outlives this command, and tell how to use it."""
    if _is_up(name):
        _say(f"the cluster {name} is up")
        _say(_usage(name, _state(name)))
        return
    log = _keeper_log(name)
    log.parent.mkdir(mode=0o700, exist_ok=True)
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster", "--name", name, "up", "--foreground"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with log.open(encoding="utf-8") as progress:
        clock = SystemClock()
        while not _is_up(name) and keeper.poll() is None:
            sys.stdout.write(progress.read())
            sys.stdout.flush()
            await clock.sleep(_POLL_SECONDS)
        sys.stdout.write(progress.read())
    if keeper.poll() is not None:
        raise AutoscalerError(f"the cluster {name} did not start")


async def serve(name: str) -> None:
    """Start a cluster and keep it until SIGTERM or SIGINT."""
    cluster = await Cluster.up(name=name, say=_say)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        _write_state(name, cluster)
        _say(_usage(name, _state(name)))
        await _watch_over(cluster, stop)
    finally:
        cluster.close()
        _keeper_log(name).unlink(missing_ok=True)


async def _watch_over(cluster: Cluster, stop: asyncio.Event) -> None:
    """Wait until *stop* is set; tell of components that end meanwhile."""
    ended: set[str] = set()
    while not stop.is_set():
        for component in COMPONENTS:
            if not cluster.process(component).pid and component not in ended:
                ended.add(component)
                _say(f"{component} ended:\n{cluster.process(component).last_lines()}")
        try:
            await asyncio.wait_for(stop.wait(), _WATCH_SECONDS)
        except TimeoutError:
            continue


async def down(name: str) -> None:
    """Stop a cluster and wait until its files are gone."""
    if name not in running():
        _say(f"no cluster {name} runs")
        return
    os.kill(_state(name).processes["keeper"], signal.SIGTERM)
    clock = SystemClock()
    deadline = clock.monotonic() + _STOP_SECONDS
    while name in running():
        if clock.monotonic() > deadline:
            raise AutoscalerError(f"the cluster {name} did not stop within {_STOP_SECONDS:.0f} s")
        await clock.sleep(_POLL_SECONDS)
    _say(f"the cluster {name} is down")


async def status(name: str) -> None:
    """Print what runs."""
    if name not in running():
        raise AutoscalerError(f"no cluster {name} runs; running: {', '.join(running()) or 'none'}")
    state = _state(name)
    _say(f"{'component':<26}{'process':>8}{'RSS MiB':>9}{'CPU s':>8}")
    for component, pid in state.processes.items():
        _say(f"{component:<26}{pid:>8}{resident_bytes(pid) / 2**20:>9.0f}{cpu_seconds(pid):>8.1f}")
    total = sum(map(resident_bytes, state.processes.values()))
    _say(f"{'together':<26}{'':>8}{total / 2**20:>9.0f}")
    _say(_usage(name, state))


async def logs(name: str, component: str) -> None:
    """Print a component's log so far."""
    path = home() / name / (AUDIT_LOG if component == "audit" else f"logs/{component}.log")
    try:
        with path.open("rb") as log:
            sys.stdout.flush()
            shutil.copyfileobj(log, sys.stdout.buffer)
    except FileNotFoundError as error:
        raise AutoscalerError(f"no cluster {name} has run a {component}") from error


async def scenario(name: str, file: str, *, speed: float, begin_seconds: float) -> None:
    """Create a scenario's nodes and workloads, and let their load follow its traces."""
    state = _state(name)
    found = Path(file).resolve() if Path(file).exists() else file
    progress = await EmulatorClient(state.emulator).play(str(found), speed=speed, begin_seconds=begin_seconds)
    api = await ApiServer.connect(kubeconfig=str(home() / name / KUBECONFIG), user_agent="scenario")
    try:
        made = await create_workloads(api, str(found), speed=speed)
    finally:
        await api.aclose()
    hours = (progress["lengthSeconds"] - progress["traceSeconds"]) / speed / 3600
    _say(f"{made} objects created; the trace lasts {hours:.1f} more hours at {speed:g} seconds a second")


def _write_state(name: str, cluster: Cluster) -> None:
    processes = {component: cluster.process(component).pid for component in COMPONENTS}
    state = State(
        processes={"keeper": os.getpid(), **processes},
        prometheus=cluster.prometheus_url,
        emulator=cluster.emulator.url,
        kubectl=str(cluster.kubectl),
    )
    # Written beside and renamed: who sees the file sees all of it.
    scratch = _state_file(name).with_suffix(".new")
    scratch.write_bytes(msgspec.json.encode(state))
    scratch.rename(_state_file(name))


def _state(name: str) -> State:
    try:
        return msgspec.json.decode(_state_file(name).read_bytes(), type=State)
    except FileNotFoundError as error:
        raise AutoscalerError(f"no cluster {name} is up; start one with: make cluster-up") from error


def _is_up(name: str) -> bool:
    """Return whether a cluster runs and has started; what a crashed one left does not count."""
    return _state_file(name).exists() and name in running()


def _state_file(name: str) -> Path:
    return home() / name / "state.json"


def _keeper_log(name: str) -> Path:
    return home() / f"{name}.log"


def _usage(name: str, state: State) -> str:
    kubectl = Path(state.kubectl)
    lines = [f"export KUBECONFIG={home() / name / KUBECONFIG}"]
    if shutil.which("kubectl") is None:
        lines.append(f'export PATH="{kubectl.parent}:$PATH"   # kubectl')
    lines += [f"export PROMETHEUS={state.prometheus}", f"export EMULATOR={state.emulator}"]
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
