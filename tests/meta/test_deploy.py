"""What is shipped for clusters agrees with the code, and with itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from autoscaler import __version__
from autoscaler.telemetry.metrics import Metrics
from tests.deploy.chart import CHART
from tests.deploy.expressions import grouped_by, series_of
from tests.meta.sources import ROOT
from tests.meta.test_distribution import _lines

DEPLOY = ROOT / "deploy"
OBSERVABILITY = DEPLOY / "observability"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
DASHBOARD = json.loads((OBSERVABILITY / "dashboard.json").read_text(encoding="utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
PARTS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
SCRAPED = {"instance", "job", "le"}


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _expressions() -> dict[str, str]:
    """Return all expressions of dashboard and alerts, by where they are."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in _alerts()}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    return found


def _exported() -> dict[str, set[str]]:
    """Return the labels of each series that the controller exports."""
    series = {name: set[str]() for name in PROCESS}
    for metric in Metrics().described:
        series |= {metric.name + part: {*metric.labels} for part in PARTS[metric.kind]}
    return series


@pytest.mark.parametrize(("where", "expression"), sorted(_expressions().items()))
def test_dashboard_and_alerts_read_only_what_is_exported(where: str, expression: str) -> None:
    exported = _exported()
    read = list(series_of(expression))
    assert read
    assert {name for name, _ in read} <= set(exported)
    assert not [(name, label) for name, labels in read for label in labels if label not in exported[name]]
    assert grouped_by(expression) <= SCRAPED.union(*(exported[name] for name, _ in read))


def test_label_values_are_those_that_the_metrics_describe() -> None:
    about = {metric.name: metric.about for metric in Metrics().described}
    strange = [
        (name, value)
        for expression in _expressions().values()
        for name, labels in series_of(expression)
        for value in labels.values()
        if not re.search(rf"\b{value}\b", about[name])
    ]
    assert strange == []


def test_each_panel_has_its_place() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (panel["gridPos"]["x"] + dx, panel["gridPos"]["y"] + dy)
        for panel in panels
        for dx in range(panel["gridPos"]["w"])
        for dy in range(panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_each_alert_says_what_to_do() -> None:
    page = (ROOT / "docs" / "how-to" / "monitor.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == {rule["alert"] for rule in _alerts()}
    for rule in _alerts():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_links_stay_in_the_tree() -> None:
    links = [path for path in DEPLOY.rglob("*") if path.is_symlink()]
    assert {link.name for link in links} == {"crds", "alerts.yaml", "dashboard.json", "recording-rules.yaml"}
    assert [link for link in links if not link.exists() or ROOT not in link.resolve().parents] == []


def test_the_chart_has_the_package_s_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_the_schema_knows_the_values_and_no_others() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)
    assert list(_unlike(VALUES, SCHEMA, "")) == []


def _unlike(values: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
    """Yield the paths of values whose names and those of the schema differ."""
    known = schema.get("properties")
    if known is None or not isinstance(values, dict) or not values:
        return
    # Helm itself hands `global` to each chart.
    yield from (f"{where}.{name}" for name in set(values) ^ (set(known) - {"global"}))
    assert schema["additionalProperties"] is False
    for name in set(values) & set(known):
        yield from _unlike(values[name], known[name], f"{where}.{name}")


def test_each_value_is_explained() -> None:
    lines = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    silent = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r"\w+: (?!\{enabled)", line) and not before.startswith("#") and before != ""
    ]
    # These are a container's or a pod's own words, listed one after the other.
    own = {"podLabels", "podAnnotations", "nodeSelector", "tolerations", "affinity", "fullnameOverride"}
    assert {line.split(":")[0] for line in silent} <= own


@pytest.mark.parametrize("mistake", [
    pytest.param({"mode": "Apply"}, id="an-unknown-mode"),
    pytest.param({"replica": 2}, id="an-unknown-name"),
    pytest.param({"metrics": {"prometheus": {"adress": "http://x"}}}, id="an-unknown-name-inside"),
    pytest.param({"metrics": {"source": "graphite"}}, id="an-unknown-source"),
    pytest.param({"metrics": {"prometheus": {"url": "prometheus:9090"}}}, id="an-address-without-scheme"),
    pytest.param({"period": 15}, id="a-period-without-unit"),
    pytest.param({"replicas": -1}, id="a-negative-count"),
    pytest.param({"image": {"digest": "sha256:12"}}, id="a-short-digest"),
    pytest.param({"service": {"port": 80}}, id="a-port-that-needs-privileges"),
    pytest.param({"extraArgs": ["actuate=apply"]}, id="an-argument-without-dashes"),
    pytest.param({"rbac": {"customWorkloads": [{"apiGroup": "argoproj.io"}]}}, id="a-kind-without-resource"),
])  # fmt: skip
def test_the_schema_refuses(mistake: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(mistake, SCHEMA)


def _instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", DOCKERFILE)
    lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines]


def test_the_image_runs_as_nobody_and_without_a_shell() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", final, re.MULTILINE) == ["65532:65532"]
    entry = json.loads(re.findall(r"^ENTRYPOINT (.+)$", final, re.MULTILINE)[0])
    assert entry[:2] == ["/usr/local/bin/python", "-I"]
    assert not re.search(r"^(RUN|ADD|SHELL) ", final, re.MULTILINE)


def test_the_image_is_built_from_pinned_packages_only() -> None:
    steps = _instructions()
    assert {name for name, _ in steps} <= {
        "ARG", "FROM", "WORKDIR", "COPY", "RUN", "LABEL", "USER", "EXPOSE", "ENTRYPOINT", "CMD"
    }  # fmt: skip
    bases = [rest for name, rest in steps if name == "ARG" and rest.startswith("BASE=")]
    assert bases
    assert all(re.fullmatch(r"BASE=[\w./-]+:\d[\w.-]*", base) for base in bases)
    installs = [part for name, rest in steps if name == "RUN" for part in rest.split("&&") if "pip install" in part]
    assert len(installs) == 3
    for install in installs:
        assert ("--require-hashes" in install and "-r deploy/requirements-" in install) or "--no-deps" in install
        assert "--no-cache-dir" in install


def test_what_the_image_copies_is_there_and_let_through() -> None:
    through = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for name, rest in _instructions():
        if name != "COPY" or rest.startswith("--from"):
            continue
        for source in rest.split()[:-1]:
            pattern = source.replace("${SET}", "*")
            assert list(ROOT.glob(pattern)), source
            assert any(Path(pattern).match(line.removeprefix("!")) for line in through if line.startswith("!")), source


@pytest.mark.parametrize("size", ["slim", "full", "build"])
def test_the_image_s_packages_are_those_that_are_tested(size: str) -> None:
    pins = re.compile(r"^([a-z0-9.-]+)==([^ ;\\]+)", re.MULTILINE)
    tested = set(pins.findall((ROOT / "requirements.lock").read_text(encoding="utf-8")))
    lock = (DEPLOY / f"requirements-{size}.lock").read_text(encoding="utf-8")
    used = set(pins.findall(lock))
    assert used <= tested, "run `make lock`"
    entries = re.split(r"\n(?=[a-z0-9])", lock)
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)
    assert not re.search(r"https?://|--index|--find-links|file:", lock)
    needs = [] if size == "build" else _lines("options", "install_requires")
    for extra in ("forecast", "backtest", "ui") if size == "full" else ():
        needs += _lines("options.extras_require", extra)
    assert {re.split(r"[<>=!~ ]", need)[0].lower().replace("_", "-") for need in needs} <= {name for name, _ in used}
