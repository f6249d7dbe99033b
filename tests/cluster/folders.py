"""
Where a running cluster keeps its files and which ports it has, so that several can run on one machine.

Each cluster has a folder under `home()` and holds a lock on it while it runs.
A folder without a holder is of a cluster that crashed: the next one to start
removes it.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from autoscaler.errors import AutoscalerError

# Below the range from which Linux gives out ports to clients (32768 and up): nobody takes one by chance.
_FIRST_PORT, _LAST_PORT = 20_000, 32_000
PORT_NAMES = (
    "etcd",
    "etcd-peer",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok",
    "prometheus",
    "emulator",
    "metrics-api",
)


class FolderError(AutoscalerError):
    """A cluster of that name runs already, or its folder belongs to somebody else."""


class Folder:
    """A cluster's folder, held until `remove`."""

    def __init__(self, path: Path, lock: IO[str], ports: Mapping[str, int]) -> None:
        self.path = path
        self.ports = ports
        self._lock = lock

    def remove(self) -> None:
        """Delete the folder and let go of its name and ports."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def home() -> Path:
    """Return the folder of all clusters of this user on this machine."""
    return Path(tempfile.gettempdir()) / f"podnode-cluster-{os.getuid()}"


def claim(name: str) -> Folder:
    """
    Make the folder for a cluster called *name*, with ports that nothing else uses.

    Raises:
        FolderError: such a cluster runs, or the folder of all clusters is not ours.
    """
    with _all_folders() as parent:
        _remove_stale(parent)
        path = parent / name
        try:
            path.mkdir(mode=0o700)
        except FileExistsError as error:
            raise FolderError(f"a cluster called {name} runs already") from error
        lock = (path / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        ports = _free_ports({port for other in running() for port in _ports_of(parent / other).values()})
        (path / "ports.json").write_bytes(msgspec.json.encode(ports))
        return Folder(path, lock, ports)


def running() -> list[str]:
    """Return the names of the clusters that run now."""
    parent = home()
    return sorted(path.name for path in parent.iterdir() if _is_held(path)) if parent.is_dir() else []


@contextmanager
def _all_folders() -> Iterator[Path]:
    """Hold the folder of all clusters."""
    parent = home()
    parent.mkdir(mode=0o700, exist_ok=True)
    if parent.is_symlink() or parent.stat().st_uid != os.getuid():
        raise FolderError(
            f"{parent} belongs to somebody else; allowed: a folder of user {os.getuid()}, or another TMPDIR"
        )
    with (parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield parent


def _remove_stale(parent: Path) -> None:
    for path in parent.iterdir():
        if path.is_dir() and not _is_held(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_held(path: Path) -> bool:
    try:
        with (path / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _ports_of(path: Path) -> dict[str, int]:
    try:
        return msgspec.json.decode((path / "ports.json").read_bytes(), type=dict[str, int])
    except (OSError, msgspec.MsgspecError):
        return {}


def _free_ports(taken: set[int]) -> dict[str, int]:
    """Return a port for each of `PORT_NAMES` that is not *taken* and can be bound now."""
    candidates = iter(random.sample(range(_FIRST_PORT, _LAST_PORT), _LAST_PORT - _FIRST_PORT))
    free = (port for port in candidates if port not in taken and _can_bind(port))
    return {name: next(free) for name in PORT_NAMES}


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
