"""Rules on the code that no tool checks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from tests.meta.sources import PACKAGE, PURE, ROOT, TESTS, imports_of, modules, name_of, text_files, tree_of

MOST_LINES = 500
WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
CLOCK = "autoscaler/clock.py"
MACHINE_PATHS = re.compile(r"(?<![\w./])/(work|tmp|home|root|mnt|Users)/\w")
MAY_NAME_PATHS = {"tests/meta/test_code.py", "requirements.lock"}


def test_no_file_is_too_long() -> None:
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules(PACKAGE) + modules(TESTS)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_only_the_clock_reads_wall_time() -> None:
    found = {
        f"{name_of(path)}: {ast.unparse(node.func)}"
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in WALL_CLOCKS and name_of(path) != CLOCK
    }
    assert found == set()


def test_nothing_is_mocked_skipped_or_slept_through() -> None:
    banned = {"unittest.mock", "mock", "pytest_mock"}
    words = ("pytest.skip", "pytest.mark.skip", "pytest.mark.xfail", "time.sleep(", "asyncio.sleep(")
    found = {name_of(path) for path in modules(TESTS) if imports_of(path) & banned}
    found |= {
        f"{name_of(path)}: {word}"
        for path in modules(TESTS)
        if path != ROOT / "tests/meta/test_code.py"
        for word in words
        if word in path.read_text(encoding="utf-8")
    }
    assert found == set()


def test_pure_packages_log_and_print_nothing() -> None:
    found = {
        f"{name_of(path)}: {ast.unparse(node.func)}"
        for package in PURE
        for path in modules(PACKAGE / package)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[0] in {"print", "open", "log", "logging"}
    }
    assert found == set()


def test_no_todo_is_left() -> None:
    found = {
        f"{name_of(path)}: {word}"
        for path in modules(PACKAGE) + modules(TESTS)
        if path != ROOT / "tests/meta/test_code.py"
        for word in ("TODO", "FIXME", "XXX", "HACK")
        if re.search(rf"\b{word}\b", path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_no_path_of_somebody_s_machine_is_in_a_file() -> None:
    found = {
        f"{name_of(path)}:{number}: {line.strip()[:80]}"
        for path in text_files()
        if name_of(path) not in MAY_NAME_PATHS
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
        if MACHINE_PATHS.search(line)
    }
    assert found == set()


def test_every_module_says_what_it_is() -> None:
    silent = [name_of(path) for path in modules() if ast.get_docstring(tree_of(path)) is None]
    assert silent == []


def test_importing_the_package_loads_no_library() -> None:
    code = "import sys, autoscaler; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    heavy = {
        "asyncio",
        "aiohttp",
        "kubernetes_asyncio",
        "numpy",
        "pandas",
        "scipy",
        "statsmodels",
        "highspy",
        "msgspec",
    }
    assert heavy & loaded == set()


@pytest.mark.parametrize("name", ["decide", "ClusterSnapshot", "Policies", "load_policies", "Resources"])
def test_public_names_are_found(name: str) -> None:
    import autoscaler

    assert getattr(autoscaler, name) is not None
    assert name in dir(autoscaler)


def test_the_solver_prints_nothing() -> None:
    code = (
        "import highspy, numpy as np\n"
        "solver = highspy.Highs(); solver.setOptionValue('output_flag', False)\n"
        "solver.addVar(0, 1); solver.changeColCost(0, -1.0); solver.run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_importing_any_module_prints_nothing_and_starts_nothing() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in modules()
        if path.name != "__main__.py"
    ]
    code = (
        "import importlib, sys, threading\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "assert threading.active_count() == 1\n"
        "print(len({'pandas', 'statsmodels', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("0\n", "")
