"""Reads scenario files and says what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from autoscaler.backtest.checks import check_scenario, refuse_not_finite
from autoscaler.backtest.schema import ScenarioFile
from autoscaler.backtest.traces import Field, data_folders
from autoscaler.backtest.world import build_world
from autoscaler.documents import parse_documents, read_text
from autoscaler.errors import ScenarioError
from autoscaler.mismatch import convert
from autoscaler.model.spec import Duration
from autoscaler.simulator.spec import WorldSpec

BUNDLED = Path(__file__).parent / "scenarios"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A checked scenario file; `where` is its name, `folders` where its traces are looked for."""

    file: ScenarioFile
    where: str
    folders: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        return self.file.name

    def first(self, length: Duration) -> Scenario:
        """Return the scenario with only the first *length* of its run, the faults that fall into it included."""
        kept = min(length.seconds, self.file.length.seconds)
        faults = tuple(fault for fault in self.file.faults if fault.at.seconds < kept)
        file = msgspec.structs.replace(self.file, length=Duration(kept), faults=faults)
        check_scenario(file, Field(self.where, ""))
        return msgspec.structs.replace(self, file=file)

    def world(self, seed: int | None = None) -> WorldSpec:
        """
        Return the simulated cluster, with the file's seed unless another is given.

        Raises:
            ScenarioError: a trace is missing or cannot be used, or values do not go together.
        """
        chosen = self.file.seed if seed is None else seed
        return build_world(self.file, where=self.where, folders=self.folders, seed=chosen)


def parse_scenario(text: str, where: str, *, folders: tuple[Path, ...] = ()) -> Scenario:
    """
    Return the scenario in *text*, one YAML document.

    Raises:
        ScenarioError: naming *where*, the field's path, the value and what is allowed.
    """
    documents = parse_documents(text, where, error=ScenarioError)
    if len(documents) != 1:
        raise ScenarioError(where, "", f"{len(documents)} documents", "one YAML document with a scenario")
    value = documents[0].value
    root = Field(where, "")
    refuse_not_finite(value, root)
    file = convert(value, ScenarioFile, where, error=ScenarioError)
    check_scenario(file, root)
    return Scenario(file=file, where=where, folders=folders)


def load_scenario(name: str | Path, environment: Mapping[str, str] = os.environ) -> Scenario:
    """
    Return the scenario in a file; a plain name such as `demo` is a bundled one.

    Raises:
        ScenarioError: there is no such file, or it is wrong.
    """
    path = Path(name)
    if str(name) in bundled_names() and not path.is_file():
        path = BUNDLED / f"{name}.yaml"
    elif not _is_there(path):
        raise ScenarioError(
            str(name) or "SCENARIO", "", str(name), f"a YAML file, or one of {', '.join(bundled_names())}"
        )
    text = read_text(path, error=ScenarioError)
    return parse_scenario(text, str(path), folders=data_folders(path.parent, environment))


def bundled_names() -> list[str]:
    """Return the names of the scenarios that are installed with the package."""
    return sorted(path.stem for path in BUNDLED.glob("*.yaml"))


def _is_there(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):
        return False
