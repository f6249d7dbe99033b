"""Which builds are alike, and which programs are built at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from tests.cluster.binaries import MODULES, PROGRAMS, BuildError, build_key, find_programs, parse_go_version

ETCD = next(program for program in PROGRAMS if program.folder == "etcd")


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    shutil.copytree(MODULES / "etcd", tmp_path / "etcd")
    return tmp_path


def test_equal_inputs_have_equal_keys(modules: Path) -> None:
    assert build_key(ETCD, modules) == build_key(ETCD)


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "main.go"])
def test_a_changed_module_file_is_another_build(modules: Path, file: str) -> None:
    with (modules / "etcd" / file).open("a", encoding="utf-8") as changed:
        changed.write("// more\n")
    assert build_key(ETCD, modules) != build_key(ETCD)


def test_other_flags_are_another_build() -> None:
    assert build_key(msgspec.structs.replace(ETCD, tags="netgo")) != build_key(ETCD)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        pytest.param("go version go1.26.8 linux/amd64", (1, 26), id="release"),
        pytest.param("go version go1.27rc1 linux/arm64", (1, 27), id="release-candidate"),
        pytest.param("go version devel +1234567 linux/amd64", None, id="development-version"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_go_says_its_version(text: str, version: tuple[int, int] | None) -> None:
    assert parse_go_version(text) == version


def test_given_programs_are_used_as_they_are(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "etcd").touch()
    environment = {"KUBEBUILDER_ASSETS": str(given), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": ""}
    assert find_programs(environment=environment, programs=(ETCD,)) == {"etcd": given / "etcd"}
    assert not (tmp_path / "cache").exists()


def test_a_build_that_fails_says_what_the_compiler_said_and_leaves_nothing(tmp_path: Path) -> None:
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text('#!/bin/sh\n[ "$1" = version ] && echo go1.99.0 && exit\necho no space left >&2\nexit 3\n')
    go.chmod(0o755)
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": str(go.parent)}
    with pytest.raises(BuildError, match=r"etcd could not be built \(exit 3\):\nno space left"):
        find_programs(say=lambda text: None, environment=environment, programs=(ETCD,))
    assert [path.name for path in (tmp_path / "cache" / "podnode-autoscaler" / "bin").iterdir()] == ["lock"]
