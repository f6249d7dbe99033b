"""The scenario file's reference page and JSON schema, generated from its Structs."""

from __future__ import annotations

from typing import Any

from autoscaler.backtest.schema import ScenarioFile
from autoscaler.struct_reference import reference_sections, schema_definitions

_INTRO = """# Scenario files

A scenario is one YAML file: workloads and their load, machines on offer, delays, faults and a length of time.
Unknown fields, duplicate keys, tags and numbers that are not finite are refused.
Every error names the file, the path, the value and what is allowed.
This page is generated from the program.
How to write one: [Write a scenario](../how-to/write-a-scenario.md).

Trace files are CSV or CSV.gz with a header.
They are looked for in this order: beside the scenario file, in the folder that the environment variable
`AUTOSCALER_DATA` names, in `../shared/data` beside the project, among the bundled traces and tables.

A *quantity* is one of Kubernetes, such as `250m`, `1.5` or `64Mi`; a *duration* is such as `30s`, `1h30m` or `2d`.

"""


def scenario_schema() -> dict[str, Any]:
    """Return the JSON schema of a scenario file, with descriptions."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": f"#/$defs/{ScenarioFile.__name__}",
        "$defs": schema_definitions([ScenarioFile]),
    }


def scenario_reference() -> str:
    """Return the Markdown page, one table a Struct, in the order in which they are first named."""
    return f"{_INTRO}\n{reference_sections({ScenarioFile: 'The file'})}"
