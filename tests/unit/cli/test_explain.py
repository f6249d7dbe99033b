from __future__ import annotations

import pytest
import yaml

from tests.unit.cli.commands import MINIKUBE, SHOP, run

PENDING = [
    "pod ml/train-7: pending for 6m; it fits nowhere",
    "  5 nodes: cpu short by 5.1–6.1",
    "  4 groups: cpu short by 1.1–5.1",
    "What would help, cheapest first:",
    "  ask for 7.9 cpu instead of 9: fits m.2xl (+9.60 USD/day)",
]


@pytest.mark.parametrize(
    "subject",
    [("pod", "ml/train-7"), ("pod/ml/train-7",), ("po", "ml", "train-7"), ("Pods", "ml/train-7")],
    ids=" ".join,
)
def test_why_a_pod_is_pending(subject: tuple[str, ...]) -> None:
    ran = run("explain", *subject, "--snapshot", SHOP)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == PENDING


def test_where_a_pod_runs() -> None:
    pod = "kube-system/etcd-datagen-1-34"
    assert run("explain", "pod", pod, "--snapshot", MINIKUBE).out == f"pod {pod}: runs on node datagen-1-34\n"


def test_what_is_on_a_node() -> None:
    ran = run("explain", "node", "m.2xl-a-on-demand-00001", "--snapshot", SHOP)
    assert ran.out.startswith("node m.2xl-a-on-demand-00001: m.2xl in a, 9.60 USD/day, 5 pods, ")


@pytest.mark.parametrize("kind", ["deployment", "Deployment", "deployments"])
def test_why_a_workload_has_its_size(kind: str) -> None:
    ran = run("explain", kind, "shop/web", "--snapshot", SHOP)
    assert ran.out.startswith("deployment shop/web: 12 replicas, ")
    assert "  ModeRecommend: mode Recommend: told, not done\n" in ran.out


def test_a_workload_that_is_held() -> None:
    ran = run("explain", "deployment", "shop/cart", "--snapshot", SHOP)
    assert "SignalMissing: no usable reading of cpu and requests: held at 3" in ran.out


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_machines_get_the_same(form: str) -> None:
    ran = run("explain", "pod", "ml/train-7", "--snapshot", SHOP, "--output", form)
    data = ran.data if form == "json" else yaml.safe_load(ran.out)
    assert data["subject"] == "pod ml/train-7"
    assert len(data["obstacles"][0]["where"]) == 5
    assert data["fixes"] == [{"what": PENDING[-1].split(" (+")[0].strip(), "usd_per_hour": 0.4}]


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        pytest.param(("pod", "ml/gone"), "such as ml/train-7", id="no-such-pod"),
        pytest.param(("node", "gone"), "such as m.2xl-a-on-demand-00001", id="no-such-node"),
        pytest.param(("deployment", "shop/gone"), "such as deployment shop/cart", id="no-such-workload"),
        pytest.param(("statefulset", "shop/web"), "such as deployment shop/cart", id="another-kind"),
        pytest.param(("pod",), "KIND NAMESPACE/NAME", id="no-name"),
    ],
)
def test_what_is_not_there_is_one_line_and_exit_code_2(subject: tuple[str, ...], says: str) -> None:
    ran = run("explain", *subject, "--snapshot", SHOP)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("autoscaler explain: SUBJECT")
    assert ran.err.count("\n") == 1
    assert says in ran.err
