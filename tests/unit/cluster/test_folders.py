"""Several clusters on one machine do not get in each other's way, and a crash leaves nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.cluster import folders


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_name_is_taken_until_it_is_given_back() -> None:
    first = folders.claim("one")
    with pytest.raises(folders.FolderError, match="a cluster called one runs already"):
        folders.claim("one")
    assert folders.running() == ["one"]
    first.remove()
    assert folders.running() == []
    folders.claim("one").remove()


def test_no_two_clusters_share_a_port() -> None:
    one, two = folders.claim("one"), folders.claim("two")
    ports = [*one.ports.values(), *two.ports.values()]
    assert len(set(ports)) == len(ports) == 2 * len(folders.PORT_NAMES)
    one.remove()
    two.remove()


def test_what_a_crashed_cluster_left_is_removed() -> None:
    left = folders.home() / "crashed"
    left.mkdir(parents=True)
    (left / "lock").touch()
    (left / "etcd").touch()
    folders.claim("new").remove()
    assert not left.exists()


def test_a_folder_that_is_a_link_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folders.home().symlink_to(tmp_path / "elsewhere")
    with pytest.raises(folders.FolderError, match="belongs to somebody else"):
        folders.claim("one")
