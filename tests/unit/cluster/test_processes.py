"""Children end with their parent, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autoscaler.clock import SystemClock
from tests.cluster.processes import ComponentError, Process, cpu_seconds, resident_bytes
from tests.cluster.waiting import eventually

_PARENT = """
import sys
from pathlib import Path
from tests.cluster.processes import Process
child = Process("part", ["/bin/sleep", "600"], log=Path(sys.argv[1]), environment={})
child.start()
print(child.pid, flush=True)
sys.stdin.read()
"""


def make(tmp_path: Path, *command: str) -> Process:
    return Process("part", command, log=tmp_path / "part.log", environment=dict(os.environ))


async def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path / "log")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())

        async def runs() -> bool:
            return resident_bytes(pid) > 0

        async def is_gone() -> bool:
            return resident_bytes(pid) == 0

        await eventually(runs, what="the child")
        parent.send_signal(signal.SIGKILL)
        await eventually(is_gone, what="the child's end")


async def test_a_program_is_stopped_and_started_again(tmp_path: Path) -> None:
    part = make(tmp_path, "/bin/sleep", "600")
    part.start()
    with pytest.raises(ValueError, match="runs already"):
        part.start()
    first = part.pid
    await part.stop(SystemClock())
    assert part.pid == 0
    part.start()
    assert part.pid not in (0, first)
    part.kill()
    assert (part.pid, resident_bytes(first), cpu_seconds(first)) == (0, 0, 0.0)


async def test_a_program_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    part = make(tmp_path, "/bin/sh", "-c", "echo port is taken; exit 7")
    part.start()

    async def has_ended() -> bool:
        return part.pid == 0

    await eventually(has_ended, what="the end")
    with pytest.raises(ComponentError, match="part ended with exit code 7:\nport is taken"):
        part.check()
