"""The chart and what is rendered from it, by Helm, kubectl and a real API server."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import yaml

from autoscaler.cli.main import build_parser
from autoscaler.controller.webhook import ANSWER_SECONDS, webhook
from autoscaler.settings import read_settings
from autoscaler.telemetry.metrics import Metrics
from tests.cluster.cluster import Cluster
from tests.deploy.chart import CHART, ChartError, Document, documents, helm, lint
from tests.deploy.places import collection_of, is_of_an_operator
from tests.deploy.render import DEPLOY, rendered

OVERLAYS = sorted(path.name for path in (DEPLOY / "kustomize" / "overlays").iterdir())
SETS: dict[str, dict[str, Any]] = {
    "dry-run": {},
    "apply-on-kwok": {"mode": "apply", "provider": "kwok", "replicas": 2, "log": {"format": "text"}},
    "everything": {
        "mode": "apply",
        "replicas": 3,
        "period": "1m30s",
        "image": {"digest": "sha256:" + "0" * 64},
        "imagePullSecrets": ["registry"],
        "metrics": {
            "prometheus": {
                "url": "https://mimir.example/prometheus",
                "headers": {"X-Scope-OrgID": "shop, west"},
                "user": "reader",
                "tokenSecret": {"name": "token"},
                "passwordSecret": {"name": "password", "key": "p"},
                "caSecret": {"name": "authority"},
            }
        },
        "webhook": {
            "enabled": True,
            "certManager": {"enabled": True},
            "namespaceSelector": {
                "matchLabels": {"team": "shop"},
                "matchExpressions": [{"key": "x", "operator": "Exists"}],
            },
        },
        "rbac": {"customWorkloads": [{"apiGroup": "argoproj.io", "resource": "rollouts"}]},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn"}},
        "serviceMonitor": {"enabled": True, "labels": {"release": "stack"}},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
        "networkPolicy": {
            "metricsFrom": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},
            "extraEgress": [{"ports": [{"protocol": "TCP", "port": 4318}]}],
        },
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "podAnnotations": {"a": "b"},
        "extraArgs": ["--policies=/etc/policies"],
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    },
    "validate-without-lease": {
        "mode": "validate",
        "metrics": {"source": "metrics-api"},
        "leaderElection": {"enabled": False},
        "serviceAccount": {"create": False, "name": "given"},
        "networkPolicy": {"enabled": False},
        "priorityClassName": "",
        "webhook": {"enabled": True},
        "rbac": {"aggregate": False},
    },
    "webhook-with-a-given-certificate": {
        "mode": "apply",
        "webhook": {"enabled": True, "tlsSecret": "webhook", "caBundle": "-----BEGIN CERTIFICATE-----"},
    },
}  # fmt: skip


def _one(kind: str, found: list[Document]) -> Document:
    (document,) = [each for each in found if each["kind"] == kind]
    return document


def _arguments(found: list[Document]) -> list[str]:
    (container,) = _one("Deployment", found)["spec"]["template"]["spec"]["containers"]
    return list(container["args"])


@pytest.mark.parametrize("name", SETS)
def test_helm_finds_nothing_wrong(name: str) -> None:
    assert "0 chart(s) failed" in lint(SETS[name])


@pytest.mark.parametrize("name", SETS)
async def test_the_api_server_takes_what_the_chart_renders(cluster: Cluster, namespace: str, name: str) -> None:
    given = documents(SETS[name], namespace=namespace)
    for document in given:
        if is_of_an_operator(document):
            continue
        answer = await cluster.admin.send(
            "POST", collection_of(document), document, params={"dryRun": "All", "fieldValidation": "Strict"}
        )
        assert json.loads(answer)["metadata"]["name"] == document["metadata"]["name"]
    assert any(is_of_an_operator(document) for document in given) == (name == "everything")


@pytest.mark.parametrize("name", SETS)
def test_the_command_takes_the_arguments_that_the_chart_gives(name: str) -> None:
    command, *flags = _arguments(documents(SETS[name]))
    given = vars(build_parser(command).parse_args([command, *flags]))
    settings = read_settings({key: value for key, value in given.items() if value is not None and key != "command"}, {})
    assert settings.actuate == SETS[name].get("mode", "record")
    assert settings.leader_elect == ("leaderElection" not in SETS[name])
    assert settings.checkpoint.startswith("configmap:") == (settings.actuate == "apply")
    assert settings.listen_port == 8080
    assert bool(settings.webhook_port) == (settings.actuate == "apply" and "webhook" in SETS[name])


@pytest.mark.parametrize(("values", "named"), [
    pytest.param({"mode": "Apply"}, "mode", id="an-unknown-mode"),
    pytest.param({"metrics": {"prometheus": {"adress": "http://x"}}}, "adress", id="an-unknown-name"),
    pytest.param({"replicas": 2, "leaderElection": {"enabled": False}}, "leaderElection", id="two-without-a-lease"),
    pytest.param({"mode": "apply", "webhook": {"enabled": True}}, "webhook.caBundle", id="no-certificate"),
    pytest.param({"serviceAccount": {"create": False}}, "serviceAccount.name", id="no-account-to-run-as"),
])  # fmt: skip
def test_helm_names_the_value_that_is_wrong(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ChartError, match=named):
        documents(values)


def test_what_is_mounted_is_where_the_arguments_say() -> None:
    found = documents(SETS["everything"])
    pod = _one("Deployment", found)["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    files = {
        f"{mounts[volume['name']]}/{item['path']}" for volume in pod["volumes"] for item in volume["secret"]["items"]
    }
    named = {argument.partition("=")[2] for argument in _arguments(found) if "-file=" in argument}
    assert named == files


def test_the_api_server_calls_where_the_webhook_answers() -> None:
    async def untouched(_: str) -> Any:
        return {}

    (hook,) = _one("MutatingWebhookConfiguration", documents(SETS["everything"]))["webhooks"]
    routes = {str(route.resource) for route in webhook(untouched, Metrics()).router.routes()}
    assert any(hook["clientConfig"]["service"]["path"] in route for route in routes)
    assert hook["failurePolicy"] == "Ignore"
    assert hook["timeoutSeconds"] > ANSWER_SECONDS


def test_in_dry_run_the_chart_has_no_role_to_act() -> None:
    names = [each["metadata"]["name"] for each in documents({}) if each["kind"].endswith(("Role", "RoleBinding"))]
    assert "autoscaler-observe" in names
    assert [name for name in names if name.endswith(("-act", "-checkpoint"))] == []


def test_the_kustomize_bases_are_rendered_from_the_chart() -> None:
    stale = [name for name, text in rendered().items() if (DEPLOY / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run `make render`"


def _built(cluster: Cluster, overlay: str) -> list[Document]:
    done = subprocess.run(
        [str(cluster.kubectl), "kustomize", str(DEPLOY / "kustomize" / "overlays" / overlay)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_an_overlay_builds_into_objects_that_the_api_server_takes(
    cluster: Cluster, namespace: str, overlay: str
) -> None:
    built = _built(cluster, overlay)
    crds = {each["metadata"]["name"] for each in built if each["kind"] == "CustomResourceDefinition"}
    assert len(crds) == len(list((DEPLOY / "crds").glob("*.yaml")))
    for document in built:
        if document["kind"] in ("CustomResourceDefinition", "Namespace"):
            continue
        if "namespace" in document["metadata"]:
            document["metadata"]["namespace"] = namespace
        await cluster.admin.send(
            "POST", collection_of(document), document, params={"dryRun": "All", "fieldValidation": "Strict"}
        )
    acts = any(each["metadata"]["name"] == "autoscaler-act" for each in built)
    assert acts == (overlay == "apply")
    assert ("--actuate=apply" in _arguments(built)) == acts


def test_the_overlay_that_acts_is_the_chart_s_apply(development_cluster: Cluster) -> None:
    def roles(found: list[Document]) -> dict[str, Any]:
        return {
            f"{each['kind']}/{each['metadata']['name']}": [each.get("rules"), each.get("subjects")]
            for each in found
            if "Role" in each["kind"]
        }

    built, given = _built(development_cluster, "apply"), documents({"mode": "apply"})
    assert roles(built) == roles(given)
    assert set(_arguments(built)) == set(_arguments(given))


def test_helm_packs_the_chart_with_all_that_it_links_to(tmp_path: Any) -> None:
    command = [str(helm()), "package", str(CHART), "--destination", str(tmp_path)]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    (packed,) = tmp_path.iterdir()
    listed = subprocess.run(["tar", "-tzf", str(packed)], capture_output=True, text=True, check=True).stdout.split()
    inside = {name.removeprefix("autoscaler/") for name in listed}
    crds = {f"crds/{path.name}" for path in (DEPLOY / "crds").glob("*.yaml")}
    assert crds | {"files/alerts.yaml", "files/recording-rules.yaml", "files/dashboard.json"} <= inside
