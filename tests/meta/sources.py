"""The files that the rules are checked on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "autoscaler"
TESTS = ROOT / "tests"
PURE = ("model", "recommend", "scheduling", "planning")
SKIPPED = {".git", ".venv", "build", "dist", "__pycache__", ".mypy_cache", ".ruff_cache", ".hypothesis"}


def modules(folder: Path = PACKAGE) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if not SKIPPED & set(path.parts))


def text_files() -> Iterator[Path]:
    """Yield everything that a reader of the project sees as text."""
    endings = {".py", ".md", ".yaml", ".yml", ".cfg", ".toml", ".html", ".json", ".lock", ".csv", ""}
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT)
        if path.is_file() and path.suffix in endings and not any(_skipped(part) for part in inside.parts):
            yield path


def _skipped(part: str) -> bool:
    return part in SKIPPED or part.endswith(".egg-info") or part in {".import_linter_cache", ".coverage"}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> set[str]:
    """Return the names of all modules that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))
