"""The image's files run as the image runs them: isolated, as nobody, without a place to write."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from autoscaler import __version__
from tests.cluster.cluster import Cluster
from tests.deploy.image import ROOT, as_nobody, build_image
from tests.integration.running import autoscaler_run

_SECONDS = 60.0


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """Give a folder that nobody may write to, with modules in it that must not be taken for the project's."""
    for name in ("autoscaler", "msgspec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working folder')", encoding="utf-8")
    tmp_path.chmod(0o555)
    return tmp_path


def run(
    python: Path, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        as_nobody([str(python), "-I", *arguments]),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"HOME": str(folder), "PATH": os.defpath, "PYTHONPATH": str(folder), **(environment or {})},
        timeout=_SECONDS,
    )


def test_it_runs_as_nobody_and_cannot_write(python: Path, nowhere: Path) -> None:
    code = "import os, sys; print(os.getuid(), os.access('.', os.W_OK), os.access(sys.prefix, os.W_OK))"
    done = run(python, ["-c", code], folder=nowhere)
    assert done.stdout.split()[1:] == ["False", "False"]
    if os.geteuid() == 0:
        assert done.stdout.split()[0] == "65532"


def test_the_code_is_what_was_installed(python: Path, nowhere: Path) -> None:
    code = "import autoscaler, msgspec; print(autoscaler.__file__, autoscaler.__version__)"
    done = run(python, ["-c", code], folder=nowhere)
    where, version = done.stdout.split()
    assert (Path(where).is_relative_to(python.parents[1]), version) == (True, __version__)
    assert not Path(where).is_relative_to(ROOT)


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--help"], ["plan", "--help"]], ids=" ".join)
def test_its_commands_answer(python: Path, nowhere: Path, arguments: list[str]) -> None:
    done = run(python, ["-m", "autoscaler", *arguments], folder=nowhere, environment={"COLUMNS": "200"})
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"autoscaler", done.stdout)


def test_it_says_in_one_line_that_there_is_no_cluster(python: Path, nowhere: Path) -> None:
    done = run(python, ["-m", "autoscaler", "run", "--log-format=text"], folder=nowhere)
    assert done.returncode == 3
    assert "cannot log in to a cluster" in done.stderr.splitlines()[-1]


async def test_it_controls_a_cluster_as_nobody(cluster: Cluster, python: Path, tmp_path: Path) -> None:
    isolated = as_nobody([str(python), "-I"])
    async with autoscaler_run(cluster, tmp_path / "log", python=isolated) as running:
        await running.logged("cycle", count=2)
        assert (await running.get("/readyz"))[0] == 200
        assert await running.stop() == 0
