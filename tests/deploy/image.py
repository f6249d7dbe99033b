"""
The image's layout without a container: what deploy/Dockerfile copies, installed as it installs it.

The packages that the project needs are those of the running environment; in
the image they come from deploy/requirements-*.lock, by hash.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from tests.deploy.chart import CHART

ROOT = CHART.parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
NOBODY = "65532"
_SECONDS = 120.0


def build_image(folder: Path) -> Path:
    """Return the Python that stands for the image's, after installing the project beside it."""
    source, prefix = folder / "src", folder / "prefix"
    source.mkdir()
    for name in _copied():
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    _run(sys.executable, "-m", "venv", "--without-pip", str(prefix))
    options = ("--no-cache-dir", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    _run(sys.executable, "-m", "pip", "install", *options, f"--prefix={prefix}", str(source))
    (packages,) = prefix.glob("lib/python3.*/site-packages")
    (packages / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    _run(sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(packages))
    return prefix / "bin" / "python"


def as_nobody(command: Sequence[str]) -> list[str]:
    """
    Return *command* as the image's user runs it: no rights but, here, to read.

    What is built by root's tests lies in folders that others may not enter, so
    the right to read all is left; the right to write anything is not. Who is
    not root runs it as they are.
    """
    if os.geteuid() != 0:
        return list(command)
    only_read = "+dac_read_search"
    return [
        "setpriv",
        *("--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--no-new-privs"),
        *(f"--inh-caps={only_read}", f"--ambient-caps={only_read}", f"--bounding-set=-all,{only_read}"),
        *command,
    ]


def _copied() -> list[str]:
    """Return what the Dockerfile copies from the source tree, but for the lock files."""
    lines = re.findall(r"^COPY (?!--from|deploy/)(.+)$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    return [name for line in lines for name in line.split()[:-1]]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
