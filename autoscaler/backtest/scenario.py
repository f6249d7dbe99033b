"""Reads scenario files and says what is wrong with them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from autoscaler.backtest.results import METRICS
from autoscaler.backtest.schema import ScenarioFile
from autoscaler.backtest.traces import Field, data_folders
from autoscaler.backtest.world import build_world, grid_of
from autoscaler.documents import parse_documents
from autoscaler.errors import ScenarioError
from autoscaler.mismatch import convert
from autoscaler.model.spec import Quantity
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
    _refuse_not_finite(value, Field(where, ""))
    file = convert(value, ScenarioFile, where, error=ScenarioError)
    _check(file, where)
    return Scenario(file=file, where=where, folders=folders)


def load_scenario(name: str | Path, environment: Mapping[str, str] = os.environ) -> Scenario:
    """
    Return the scenario in a file; a plain name such as `demo` is a bundled one.

    Raises:
        ScenarioError: there is no such file, or it is wrong.
    """
    path = Path(name)
    if not path.exists() and path.suffix == "" and len(path.parts) == 1:
        path = BUNDLED / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ScenarioError(str(name), "", str(name), f"a readable YAML file, or one of {bundled_names()}") from error
    return parse_scenario(text, str(path), folders=data_folders(path.parent, environment))


def bundled_names() -> str:
    """Return the names of the scenarios that are installed with the package."""
    return ", ".join(sorted(path.stem for path in BUNDLED.glob("*.yaml")))


def _check(file: ScenarioFile, where: str) -> None:
    """Check what a type cannot express and needs no trace."""
    root = Field(where, "")
    _refuse_negative(file, root)
    grid_of(file, root)
    seen: set[str] = set()
    for place, entry in enumerate(file.workloads):
        field = root.at(f"workloads[{place}].name")
        if entry.name in seen:
            raise field.error(entry.name, "a name that no other workload has")
        if not all(part.isalnum() for part in entry.name.split("-")) or entry.name != entry.name.lower():
            raise field.error(entry.name, "lower-case letters, digits and single dashes between them")
        seen.add(entry.name)
    for name, bounds in file.expect.items():
        if name not in METRICS:
            raise root.at(f"expect.{name}").error(name, f"one of {', '.join(METRICS)}")
        if bounds.min is not None and bounds.max is not None and bounds.min > bounds.max:
            raise root.at(f"expect.{name}").error(bounds.min, f"a min of at most max ({bounds.max:g})")


def _refuse_not_finite(value: Any, field: Field) -> None:
    """Refuse NaN and infinities anywhere, with their path."""
    if isinstance(value, dict):
        for name, item in value.items():
            _refuse_not_finite(item, field.at(str(name)))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _refuse_not_finite(item, Field(field.file, f"{field.path}[{place}]"))
    elif isinstance(value, float) and not math.isfinite(value):
        raise field.error(value, "a finite number")


def _refuse_negative(value: Any, field: Field) -> None:
    """Refuse quantities below 0 anywhere, with their path."""
    if isinstance(value, msgspec.Struct):
        for info in msgspec.structs.fields(value):
            _refuse_negative(getattr(value, info.name), field.at(info.encode_name))
    elif isinstance(value, dict):
        for name, item in value.items():
            _refuse_negative(item, field.at(str(name)))
    elif isinstance(value, tuple):
        for place, item in enumerate(value):
            _refuse_negative(item, Field(field.file, f"{field.path}[{place}]"))
    elif isinstance(value, Quantity) and value.value < 0:
        raise field.error(value.text, "a quantity of at least 0")
