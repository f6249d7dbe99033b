"""Runs Helm on the chart."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.binaries import KUBERNETES, Program, find_programs

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "autoscaler"
RELEASE = NAMESPACE = "autoscaler"
HELM = Program(
    folder="helm",
    package="helm.sh/helm/v3/cmd/helm",
    names=("helm",),
    values=("helm.sh/helm/v3/internal/version.version=v3.22.0",),
    # Most of it is compiled with kubectl already.
    cpu_minutes=2,
)
Document = dict[str, Any]
_SECONDS = 60.0


class ChartError(Exception):
    """Helm refused; the message is what it said."""


@cache
def helm() -> Path:
    """Return where Helm is, built now if it is not there."""
    return find_programs(programs=(HELM,))["helm"]


def render(values: Mapping[str, Any], *, namespace: str = NAMESPACE) -> str:
    """
    Return the chart's manifests with *values* for *namespace*, in the order Helm installs them.

    Raises:
        ChartError: the values are refused by the schema or by a template.
    """
    return _run("template", RELEASE, str(CHART), "--namespace", namespace, "--values", "-", values=values)


def documents(values: Mapping[str, Any], *, namespace: str = NAMESPACE) -> list[Document]:
    """Return the manifests of `render` as values."""
    return [each for each in yaml.safe_load_all(render(values, namespace=namespace)) if each]


def lint(values: Mapping[str, Any]) -> str:
    """Return what `helm lint --strict` says; raises ChartError where it finds something."""
    return _run("lint", "--strict", str(CHART), "--values", "-", values=values)


def _run(*arguments: str, values: Mapping[str, Any]) -> str:
    done = subprocess.run(
        [str(helm()), *arguments, "--kube-version", KUBERNETES],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode:
        raise ChartError(done.stdout + done.stderr)
    return done.stdout
