"""The tutorial on a cluster, typed as it says: each command succeeds and prints what is shown."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.binaries import find_programs
from tests.meta.sources import ROOT

PAGE = (ROOT / "docs" / "tutorials" / "on-a-cluster.md").read_text(encoding="utf-8")
MAKE = {
    "make cluster-up": "up",
    "make cluster-down": "down",
}
AGE = re.compile(r"(\d+[dhms])+")
_SECONDS = 120.0


def steps() -> Iterator[tuple[str, str]]:
    """Yield each command of the page, in order, and what it is shown to print."""
    for block in re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


class Terminals:
    """One in which commands are typed, and a second one for the controller."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kubectl = find_programs()["kubectl"].parent
        self.cluster = [sys.executable, "-m", "tests.cluster", "--name", f"tutorial-{os.getpid()}"]
        self.environment = {**os.environ, "PATH": f"{kubectl}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        self._controller: subprocess.Popen[bytes] | None = None

    def type(self, command: str) -> str:
        """Run a command and return what it prints."""
        if command in MAKE:
            if MAKE[command] == "down":
                self.interrupt()
            printed = self._run([*self.cluster, MAKE[command]])
            self.environment |= dict(re.findall(r"^export (\w+)=(.+)$", printed, re.MULTILINE))
            return printed
        if command.startswith(".venv/bin/autoscaler run "):
            self.interrupt()
            self._start(command.removeprefix(".venv/bin/autoscaler "))
            return ""
        return self._run(["bash", "-euc", command])

    def interrupt(self) -> None:
        """Press Ctrl-C in the second terminal, if something runs there."""
        if self._controller is not None:
            self._controller.send_signal(signal.SIGINT)
            assert self._controller.wait(_SECONDS) == 0, self._log().read_text(encoding="utf-8")
            self._controller = None

    def close(self) -> None:
        """End what a failed step has left."""
        if self._controller is not None:
            self._controller.kill()
            self._controller.wait()
        self._run([*self.cluster, "down"])

    def _start(self, arguments: str) -> None:
        words = shlex.split(re.sub(r"\$(\w+)", lambda name: self.environment[name[1]], arguments))
        with self._log().open("ab") as log:
            self._controller = subprocess.Popen(
                [sys.executable, "-m", "autoscaler", *words, "--listen-port=0"],
                cwd=self.folder, env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
        log = self._log().read_text(encoding="utf-8") if self._log().exists() else ""
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}\n{log}"
        return done.stdout

    def _log(self) -> Path:
        return self.folder / "second-terminal.log"


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    for block in re.findall(r"^```yaml\n# (.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        name, _, text = block.partition("\n")
        (tmp_path / name).write_text(text, encoding="utf-8")
    terminals = Terminals(tmp_path)
    yield terminals
    terminals.close()


def like(shown: str) -> list[list[str]]:
    """Return a table's words, any age alike."""
    return [
        [AGE.sub("AGE", word) if AGE.fullmatch(word) else word for word in line.split()] for line in shown.splitlines()
    ]


def test_the_tutorial_works_as_written(terminals: Terminals) -> None:
    typed = list(steps())
    assert [command for command, _ in typed if command in MAKE] == list(MAKE)
    for command, shown in typed:
        printed = terminals.type(command)
        if shown:
            assert like(printed) == like(shown), command
        # "No resources found" is an error to a reader, though not to kubectl.
        assert printed or not command.startswith("kubectl get"), command


def test_make_does_what_the_tutorial_s_test_does_in_its_place() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    for command, verb in MAKE.items():
        target = command.removeprefix("make ")
        assert f"{target}: $(READY) ; @$(BIN)/python -m tests.cluster {verb}" in lines
