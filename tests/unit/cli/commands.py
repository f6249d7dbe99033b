"""Runs a command in this process and returns what came of it."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import msgspec

from autoscaler.cli.main import main

RECORDS = Path(__file__).parents[2] / "data" / "records"
SHOP = str(RECORDS / "shop.json.gz")
MINIKUBE = str(Path(__file__).parents[2] / "data" / "captures" / "minikube-1.34.json")


class Ran(msgspec.Struct, frozen=True):
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output as JSON: fails if anything else was printed."""
        return json.loads(self.out)


def run(*arguments: str) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = int(main(arguments))
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Ran(code, out.getvalue(), err.getvalue())
