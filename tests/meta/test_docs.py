"""Pages are complete, generated ones are up to date, and what they show works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.cli.main import main
from autoscaler.cli.reference import generated
from tests.meta.sources import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "changelog.d")
FOLDERS = {"tutorials", "how-to", "reference", "explanation"}
KINDS = {"added", "changed", "fixed", "removed", "security"}
GENERATED = generated()
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(path: Path) -> list[tuple[str, str]]:
    return _BLOCK.findall(path.read_text(encoding="utf-8"))


def _commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block, and what it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_files_are_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == GENERATED[name], "run `make docs`"


def test_every_page_is_in_the_navigation() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = list(_pages_in(navigation))
    assert sorted(listed) == sorted(str(path.relative_to(DOCS)) for path in PAGES)
    assert {path.relative_to(DOCS).parts[0] for path in PAGES if path.parent != DOCS} == FOLDERS


def _pages_in(entries: list[Any]) -> Iterator[str]:
    """Yield the pages of a part of the navigation, those of its sections included."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for section in entry.values():
                yield from _pages_in(section)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_a_page_has_one_title_and_known_blocks(path: Path) -> None:
    text = _BLOCK.sub("", path.read_text(encoding="utf-8"))
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1
    assert {language for language, _ in _blocks(path)} <= {"text", "yaml", "python", "console"}


@pytest.mark.parametrize("path", [p for p in PAGES if any(k == "python" for k, _ in _blocks(p))], ids=lambda p: p.stem)
def test_python_blocks_run(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "page"}
    for language, block in _blocks(path):
        if language == "python":
            exec(compile(block, str(path), "exec"), names)
    printed = capsys.readouterr().out.strip()
    assert printed in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [p for p in PAGES if any(k == "console" for k, _ in _blocks(p))], ids=lambda p: p.stem)
def test_console_blocks_print_what_they_show(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for language, block in _blocks(path):
        if language == "yaml" and block.startswith("# ") and ".yaml\n" in block:
            name, _, rest = block.removeprefix("# ").partition("\n")
            Path(name).write_text(rest, encoding="utf-8")
        for command, shown in _commands(block) if language == "console" else ():
            words = shlex.split(command.split(" > ")[0])
            assert words[0] == "autoscaler"
            code = main(words[1:])
            printed = capsys.readouterr()
            if shown:
                assert "".join(line.rstrip() + "\n" for line in (printed.out + printed.err).splitlines()) == shown
            else:
                assert code == 0


@pytest.mark.parametrize("path", sorted((DOCS / "changelog.d").glob("*")), ids=lambda path: path.name)
def test_a_changelog_fragment_is_one_sentence(path: Path) -> None:
    assert re.fullmatch(rf"\d+(\.[a-z0-9-]+)?\.({'|'.join(KINDS)})\.md", path.name)
    text = path.read_text(encoding="utf-8")
    assert text.endswith(".\n")
    assert len(text.strip().splitlines()) == 1
