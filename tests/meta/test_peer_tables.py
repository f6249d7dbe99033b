"""The tables of peers' rules name functions of ours: each of them must exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from tests.meta.sources import PACKAGE, ROOT, modules

PAGES = sorted((ROOT / "docs" / "reference" / "peers").glob("*.md"))
_CELL = re.compile(r"(?<!\\)\|")
_NAME = re.compile(r"`([A-Za-z_]\w*(?:\.\w+)*)`")
_OF_DOCUMENTS = re.compile(r"policy\.|autoscaler\.")
"""Fields of documents, and groups of entry points."""


@lru_cache(maxsize=1)
def known() -> frozenset[str]:
    """Return the name of all that the package has, down to fields, alone and with what it is in."""
    found: set[str] = set()
    for path in modules():
        inside = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(inside[:-1] if inside[-1] == "__init__" else inside)
        for inner in ("", *_names_in(ast.parse(path.read_text(encoding="utf-8")))):
            parts = ".".join(filter(None, (name, inner))).split(".")
            found.update(".".join(parts[start:]) for start in range(len(parts)))
    return frozenset(found)


def _names_in(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[str]:
    for each in tree.body:
        if isinstance(each, ast.ClassDef):
            yield prefix + each.name
            yield from _names_in(each, f"{prefix}{each.name}.")
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + each.name
            if each.name == "__init__":
                yield from (prefix + name for name in _own_names(each))
        elif isinstance(each, ast.Assign):
            yield from (prefix + target.id for target in each.targets if isinstance(target, ast.Name))
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            yield prefix + each.target.id


def _own_names(method: ast.AST) -> Iterator[str]:
    for each in ast.walk(method):
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "self":
            yield each.attr


def named(path: Path) -> list[str]:
    """Return the names in the column for our functions, the last but one."""
    rows = (_CELL.split(line)[1:-1] for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|"))
    cells = [cells[-2] for cells in rows if len(cells) >= 3]
    return [name for cell in cells for name in _NAME.findall(cell) if not _OF_DOCUMENTS.match(name)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_what_a_table_names_exists(path: Path) -> None:
    names = named(path)
    assert names
    assert [name for name in names if name not in known()] == []
