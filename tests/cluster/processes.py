"""Child processes that end with their parent, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoscaler.errors import AutoscalerError
from autoscaler.interfaces import Clock

_LAUNCHER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
# A parent that died before the line above left this process to another one.
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the program, once the kernel is told to kill it when its parent ends."""
_POLL_SECONDS = 0.02
STOP_SECONDS = 3.0
"""For a component to end by itself before it is killed; the API server would wait a minute for open requests."""


class ComponentError(AutoscalerError):
    """A component did not start, or ended by itself; the message ends with its last log lines."""


class Process:
    """
    A program that runs, is stopped, and runs again with the same arguments.

    Its output goes to *log*. It is killed when the thread that started it ends
    (Linux: PR_SET_PDEATHSIG), so start it from the main thread.
    """

    def __init__(self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running program, 0 if it does not run."""
        return self._child.pid if self._child is not None and self._child.poll() is None else 0

    def start(self) -> None:
        """Start the program; it must not run."""
        if self.pid:
            raise ValueError(f"{self.name} runs already, as process {self.pid}")
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                # Ctrl-C is for the parent, which stops its children in order.
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise ComponentError if the program has ended by itself."""
        if self._child is not None and (code := self._child.poll()) is not None:
            raise ComponentError(f"{self.name} ended with exit code {code}:\n{self.last_lines()}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the program runs."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    async def stop(self, clock: Clock) -> None:
        """Ask the program to end, wait for it, and kill it if it takes too long."""
        # A paused process can end only once it runs again.
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        deadline = clock.monotonic() + STOP_SECONDS
        while self.pid and clock.monotonic() < deadline:
            await clock.sleep(_POLL_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the program at once, and wait until it is gone."""
        if self._child is not None:
            self.signal(signal.SIGKILL)
            self._child.wait()
            self._child = None

    def last_lines(self, count: int = 15) -> str:
        """Return the end of the program's log."""
        try:
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
        except OSError:
            return ""


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds now (VmRSS), 0 if there is none of that id."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, 0 if there is none of that id."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
