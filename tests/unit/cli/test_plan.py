from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest
import yaml

from autoscaler.cli.plan_text import view_of
from autoscaler.model.plan import (
    CordonNode,
    Decision,
    DeleteInstances,
    EvictPod,
    Note,
    Plan,
    ResizePod,
    SetGroupSize,
    SetReplicas,
    SetRequests,
)
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.state import DecisionState
from autoscaler.model.units import MIB
from autoscaler.telemetry.record import encode_snapshot
from autoscaler.testing.builders import NOW
from tests.unit.cli.commands import MINIKUBE, SHOP, run
from tests.unit.planning.decisions import cluster, key, policies

FITS = Reason(Code.PODS_FIT_ELSEWHERE, "its 2 pods fit on other nodes; its removal saves 0.2000 USD an hour")
LOAD = Reason(Code.LOAD_NEEDS_MORE, "3.00 cores of work expected, 0.44 a pod")
SHAPE = Reason(Code.SHAPE_CHEAPER, "350m a pod serves the day's load at 6.90 USD/day")
GONE = Reason(Code.SIGNAL_MISSING, "no usable reading of cpu and requests: held at 3")


def shown(*actions: object, held: tuple[Note, ...] = (), most: int | None = None, **plan: float) -> list[str]:
    snapshot = msgspec.structs.replace(cluster({"api": (6, 3.0), "cart": (3, None), "web": (2, 0.7)}), name="shop-prod")
    whole = Plan(actions=actions, usd_per_hour_now=0.8, **plan)  # type: ignore[arg-type]
    decision = Decision(plan=whole, recommendations=(), state=DecisionState(), held=held)
    return list(view_of(snapshot, decision).lines(shown=most))


def test_a_plan_as_in_the_documented_example() -> None:
    size = ContainerSize(container="app", target=Resources.of(cpu=350, memory=640 * MIB))
    lines = shown(
        SetRequests(workload=key("api"), containers=(size,), reasons=(SHAPE,), usd_per_hour=-0.05),
        SetReplicas(workload=key("api"), replicas=4, expected=6, reasons=(SHAPE,), usd_per_hour=-0.13),
        SetReplicas(workload=key("web"), replicas=5, expected=2, reasons=(LOAD,), usd_per_hour=0.38),
        ResizePod(pod="default/api-0", workload=key("api"), containers=(size,)),
        CordonNode(node="node-3", reasons=(FITS,)),
        EvictPod(pod="default/api-3", uid="u", node="node-3"),
        held=(Note(target=f"workload/{key('cart')}", reasons=(GONE,)),),
    )
    assert lines[0] == "cluster shop-prod  4 nodes  11 pods   now 19.20 USD/day   plan 19.20 USD/day (+0.0%)"
    assert [line[:28].rstrip() for line in lines[1:-1]] == [
        "  ~  deployment default/web",
        "  -  node node-3",
        "  ~  deployment default/api",
        "  !  deployment default/cart",
    ]
    assert [line[28:73].strip() for line in lines[1:-1]] == [
        "scale 2 → 5                      +9.12/day",
        "drain, 1 pod to move             -4.80/day",
        "6 × 500m/384Mi → 4 × 350m/640Mi  -4.32/day",
        "held at 3",
    ]
    assert [line[75:] for line in lines[1:-1]] == [LOAD.message, FITS.message, SHAPE.message, GONE.message]
    assert lines[-1] == "Nothing was changed: this is a dry decision."


def test_nodes_that_grown_workloads_pay_for_are_not_counted_twice() -> None:
    grown = SetReplicas(workload=key("web"), replicas=5, expected=2, reasons=(LOAD,), usd_per_hour=0.15)
    bought = SetGroupSize(group="m.xl-a-on-demand", size=5, expected=4, usd_per_hour=0.2)
    assert "plan 24.00 USD/day (+25.0%)" in shown(grown, bought)[0]
    assert "plan 22.80 USD/day" in shown(grown)[0]
    assert "new nodes within 0.9% of the best possible" in shown(bought, bound_gap=0.0091)[0]


def test_the_rest_is_announced() -> None:
    actions = [DeleteInstances(group="m.xl-a-on-demand", nodes=("node-2", "node-3"), expected=4)]
    lines = shown(*actions, most=1)
    assert [line.split()[:3] for line in lines[1:-2]] == [["-", "node", "node-2"]]
    assert lines[-2] == "1 of 2 changes shown; --all for the rest, --output json for machines."


def test_nothing_to_do_is_said() -> None:
    assert shown()[1] == "  nothing to change"


def test_a_recorded_cluster_is_planned() -> None:
    ran = run("plan", "--snapshot", SHOP)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith("cluster shop-prod  5 nodes  27 pods   now 48.00 USD/day   plan ")
    assert any(line.startswith("  ~  deployment shop/web ") for line in lines)
    assert any(line.startswith("  !  deployment shop/cart ") for line in lines)
    assert lines[-1] == "Nothing was changed: this is a dry decision."
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_machines_get_the_same(form: str) -> None:
    ran = run("plan", "--snapshot", SHOP, "--output", form)
    data = ran.data if form == "json" else yaml.safe_load(ran.out)
    assert ran.err == ""
    assert (data["cluster"], data["nodes"], data["pods"]) == ("shop-prod", 5, 27)
    assert {"sign", "subject", "what", "usd_per_day", "why", "code"} == set(data["changes"][0])


def test_the_mode_of_the_policies_is_respected_when_asked_for() -> None:
    ran = run("plan", "--snapshot", SHOP, "--respect-mode", "--output", "json")
    assert [change["sign"] for change in ran.data["changes"]] == ["!"]


def test_policies_from_files_replace_the_recorded_ones(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "apiVersion: podnode.io/v1alpha1\nkind: ScalingPolicy\nmetadata: {name: few}\n"
        "spec: {workloads: {namespaceSelector: {}}, defaults: {constraints: {global: {maxReplicas: 13}}}}\n"
    )
    ran = run("plan", "--snapshot", SHOP, "--policies", str(path), "--output", "json")
    assert "scale 12 → 13" in {change["what"] for change in ran.data["changes"]}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
def test_what_kubectl_prints_is_read(tmp_path: Path, *, packed: bool) -> None:
    name = MINIKUBE
    if packed:
        name = str(tmp_path / "all.json.gz")
        Path(name).write_bytes(gzip.compress(Path(MINIKUBE).read_bytes()))
    ran = run("plan", "--snapshot", name)
    assert ran.code == 0
    assert "1 node  7 pods" in ran.out


def test_manifests_in_yaml_are_read() -> None:
    manifest = str(Path(MINIKUBE).parents[1] / "manifests" / "workloads__spread-zone.yaml")
    ran = run("plan", "--snapshot", manifest)
    assert ran.code == 0
    assert ran.out.startswith("cluster workloads__spread-zone  0 nodes")


def test_a_small_snapshot_is_told_from_a_kubernetes_object(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    path.write_bytes(encode_snapshot(cluster({"web": (2, 0.7)}, at=NOW), policies()))
    assert run("plan", "--snapshot", str(path)).code == 0


def test_a_drain_is_shown_with_why_it_was_begun(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    path.write_bytes(encode_snapshot(cluster({"web": (2, 0.8)}, nodes=2, at=NOW), policies()))
    (line,) = [line for line in run("plan", "--snapshot", str(path)).out.splitlines() if "drain" in line]
    assert "drain, 1 pod to move" in line
    assert "its pod fits on another node" in line


def test_readings_do_not_grow_stale_while_a_plan_settles(tmp_path: Path) -> None:
    """It looks again five and ten minutes later, as if the same had been measured then."""
    path = tmp_path / "snapshot.json"
    path.write_bytes(encode_snapshot(cluster({"web": (2, 7.0)}, at=NOW), policies()))
    shown = run("plan", "--snapshot", str(path), "--all").out
    assert "scale 2 → " in shown
    assert "held at" not in shown


@pytest.mark.parametrize(
    ("content", "allowed"),
    [
        pytest.param(b"", "a decision record, or Kubernetes objects", id="empty"),
        pytest.param(b"[1, 2]", "a decision record, or Kubernetes objects", id="a-list"),
        pytest.param(b"name: x\n", "a decision record, or Kubernetes objects", id="no-kind"),
        pytest.param(b"\xff\xfe\x00", "a decision record, or Kubernetes objects", id="not-text"),
        pytest.param(b'{"version": 7}', "a decision record", id="no-record"),
        pytest.param(b'{"kind": "List", "items": 3}', "", id="a-list-of-nothing"),
        pytest.param(b'{"kind": "Pod", "metadata": {}}', "", id="a-pod-without-a-name"),
        pytest.param(b"a: [1\n", "well-formed YAML", id="broken-yaml"),
        pytest.param(b"\x1f\x8b", "a whole gzip file", id="broken-gzip"),
    ],
)
def test_a_wrong_file_is_one_line_and_exit_code_2(tmp_path: Path, content: bytes, allowed: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    ran = run("plan", "--snapshot", str(path))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"autoscaler plan: {path}")
    assert ran.err.count("\n") == 1
    assert allowed in ran.err


@pytest.mark.parametrize("name", ["no-such-file", "."], ids=["absent", "a-folder"])
def test_a_file_that_cannot_be_read(name: str) -> None:
    ran = run("plan", "--snapshot", name)
    assert (ran.code, ran.out) == (2, "")
    assert "a file that can be read" in ran.err
