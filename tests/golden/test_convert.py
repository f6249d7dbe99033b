"""
What `autoscaler convert` makes of manifests, and what it says about them.

Inputs are `tests/data/convert/*.yaml`, written for this by the peers' API
references, and Karpenter's own examples in `tests/data/nodepools`. The expected
texts beside them were read through by hand when they were made, with

    python -m tests.golden.test_convert
"""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.documents import parse_documents
from autoscaler.policy_files import find_problems
from tests.unit.cli.commands import Ran, run

DATA = Path(__file__).parents[1] / "data"
EXPECTED = DATA / "convert" / "expected"
INPUTS = sorted([*(DATA / "convert").glob("*.yaml"), *(DATA / "nodepools").glob("*.yaml")])


def _converted(path: Path, *options: str) -> Ran:
    return run("convert", "-f", str(path), *options)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_documents_and_notes_are_as_expected(path: Path) -> None:
    ran = _converted(path)
    assert ran.code == 0
    assert ran.out == (EXPECTED / f"{path.stem}.yaml").read_text(encoding="utf-8")
    assert ran.err == (EXPECTED / f"{path.stem}.notes.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("engine", ["same", "joint"])
@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_what_comes_out_is_valid(path: Path, engine: str) -> None:
    ran = _converted(path, "--engine", engine)
    assert find_problems(ran.out, path.stem) == []
    engines = {
        document.value["spec"]["policy"]["engine"]
        for document in parse_documents(ran.out, path.stem)
        if "policy" in document.value["spec"]
    }
    assert engines <= ({"joint"} if engine == "joint" else {"hpa", "vpa", "hpa+vpa", "keda", "mpa"})


def _write() -> None:
    EXPECTED.mkdir(exist_ok=True)
    for path in INPUTS:
        ran = _converted(path)
        (EXPECTED / f"{path.stem}.yaml").write_text(ran.out, encoding="utf-8")
        (EXPECTED / f"{path.stem}.notes.txt").write_text(ran.err, encoding="utf-8")


if __name__ == "__main__":
    _write()
