"""Every write, on a real API server: what it changes, when it refuses, how it is undone."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from autoscaler.errors import ConflictError, InputError, TransientError
from autoscaler.kube.client import MERGE, AlreadyExistsError, ApiServer, NotFoundError
from autoscaler.kube.edits import CORDONED_BY, ORIGINAL_REQUESTS, SET_ASIDE, WANTED_REQUESTS
from autoscaler.kube.scale import NODES, PODS, QUOTAS, RIVALS, WORKLOADS, ResourcePath
from autoscaler.kube.write import KubeWriter
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.units import MIB
from tests.cluster.cluster import Cluster
from tests.cluster.waiting import eventually

NAMESPACE = "writing"
WEB = f"{NAMESPACE}/Deployment/web"
NODE = "writing-node"
DEPLOYMENTS = WORKLOADS["Deployment"]
HPAS = RIVALS["HorizontalPodAutoscaler"]
BUDGETS = ResourcePath("policy/v1", "poddisruptionbudgets")
CRDS = ResourcePath("apiextensions.k8s.io/v1", "customresourcedefinitions")
ROLLOUTS = ResourcePath("example.com/v1", "rollouts")
SIZE = ContainerSize(container="app", target=Resources.of(cpu=700))
GUARANTEED = {"cpu": "500m", "memory": "64Mi"}


@pytest.fixture
async def api(cluster: Cluster) -> ApiServer:
    server = cluster.admin
    for path, name in (("/api/v1/namespaces", NAMESPACE), (NODES.to(), NODE)):
        await create(server, path, {"metadata": {"name": name}})
    await cluster.wait_namespace(NAMESPACE)
    room = {"cpu": "8", "memory": "16Gi", "pods": "50"}
    status = {"status": {"capacity": room, "allocatable": room}}
    await server.send("PATCH", NODES.to(NODE, part="status"), status, content_type=MERGE)
    return server


@pytest.fixture
def writer(api: ApiServer) -> KubeWriter:
    return KubeWriter(api)


async def create(api: ApiServer, path: str, document: dict[str, Any]) -> None:
    """Create an object, or leave the one that another test made."""
    try:
        await api.send("POST", path, document)
    except AlreadyExistsError:
        return


async def fresh(api: ApiServer, resource: ResourcePath, document: dict[str, Any]) -> str:
    """Create an object anew and return its path."""
    path = resource.to(document["metadata"]["name"], namespace=NAMESPACE)
    with suppress(NotFoundError):
        await api.send("DELETE", path, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
    await eventually(lambda: is_gone(api, path), what=f"{path} is gone")
    await api.send("POST", resource.to(namespace=NAMESPACE), document)
    return path


async def read(api: ApiServer, path: str) -> Any:
    return json.loads(await api.get(path))


async def is_gone(api: ApiServer, path: str) -> bool:
    try:
        await api.get(path)
    except NotFoundError:
        return True
    return False


def deployment(name: str = "web", *, replicas: int = 0) -> dict[str, Any]:
    containers = [
        {"name": "app", "image": "app:1", "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}},
        {"name": "proxy", "image": "proxy:1", "ports": [{"containerPort": 80}]},
    ]
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


async def running_pod(api: ApiServer, name: str, *, label: str = "alone") -> str:
    """Make a Guaranteed pod that counts as running on a node that takes resizes, and return its path."""
    resources = {"requests": GUARANTEED, "limits": GUARANTEED}
    spec = {"nodeName": NODE, "containers": [{"name": "app", "image": "app:1", "resources": resources}]}
    metadata = {"name": name, "labels": {"app": label}}
    path = await fresh(api, PODS, {"metadata": metadata, "spec": {**spec, "automountServiceAccountToken": False}})
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {
                "name": "app",
                "ready": True,
                "restartCount": 0,
                "image": "app:1",
                "imageID": "app:1",
                "resources": resources,
                "allocatedResources": GUARANTEED,
                "state": {"running": {}},
            }
        ],
    }
    await api.send("PATCH", f"{path}/status", {"status": status}, content_type=MERGE)
    return path


async def budget(api: ApiServer, *, label: str, minimum: int, allowed: int) -> None:
    """Make a PodDisruptionBudget and wait until its controller says what it allows."""
    spec = {"minAvailable": minimum, "selector": {"matchLabels": {"app": label}}}
    path = await fresh(api, BUDGETS, {"metadata": {"name": f"{label}-pdb"}, "spec": spec})

    async def told() -> bool:
        status = (await read(api, path)).get("status", {})
        return bool(status.get("observedGeneration")) and status.get("disruptionsAllowed") == allowed

    await eventually(told, what="the budget's controller has looked")


def hpa(*, highest: int, **spec: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
    }
    return {
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": target, "maxReplicas": highest, "metrics": [metric], **spec},
    }


async def test_a_count_is_set_where_it_is_as_expected(api: ApiServer, writer: KubeWriter) -> None:
    path = await fresh(api, DEPLOYMENTS, deployment())
    await writer.scale(WEB, 3, expected=0)
    await writer.scale(WEB, 3, expected=0)
    assert (await read(api, path))["spec"]["replicas"] == 3
    with pytest.raises(ConflictError, match="replicas is 3, expected 1"):
        await writer.scale(WEB, 0, expected=1)
    await writer.scale(WEB, 0, expected=3)
    assert (await read(api, path))["spec"]["replicas"] == 0


async def test_of_two_that_scale_at_once_one_wins(api: ApiServer, writer: KubeWriter) -> None:
    path = await fresh(api, DEPLOYMENTS, deployment())
    both = await asyncio.gather(
        writer.scale(WEB, 2, expected=0), KubeWriter(api).scale(WEB, 3, expected=0), return_exceptions=True
    )
    (loser,) = [outcome for outcome in both if outcome is not None]
    assert isinstance(loser, ConflictError)
    assert (await read(api, path))["spec"]["replicas"] == (2 if both[0] is None else 3)


async def test_what_is_not_there_is_a_conflict(writer: KubeWriter) -> None:
    with pytest.raises(ConflictError):
        await writer.scale(f"{NAMESPACE}/Deployment/gone", 3, expected=1)
    with pytest.raises(ConflictError):
        await writer.cordon("gone")


async def test_a_pod_that_is_gone_needs_no_eviction(writer: KubeWriter) -> None:
    await writer.evict(f"{NAMESPACE}/gone", uid="x")


async def test_a_value_that_the_api_refuses_is_bad_input(api: ApiServer, writer: KubeWriter) -> None:
    await fresh(api, DEPLOYMENTS, deployment())
    with pytest.raises(InputError, match="replicas"):
        await writer.scale(WEB, -1, expected=0)
    too_much = ContainerSize(container="app", target=Resources.of(cpu=700), limits=Resources.of(cpu=500))
    with pytest.raises(InputError, match="requests"):
        await writer.set_requests(WEB, [too_much])


async def test_a_template_gets_new_sizes_and_its_old_ones_back(api: ApiServer, writer: KubeWriter) -> None:
    path = await fresh(api, DEPLOYMENTS, deployment())
    before = (await read(api, path))["spec"]
    limited = ContainerSize(
        container="proxy", target=Resources.of(memory=32 * MIB), limits=Resources.of(memory=64 * MIB)
    )
    await writer.set_requests(WEB, [SIZE, limited])
    await writer.set_requests(WEB, [SIZE, limited])
    once = await read(api, path)
    assert [container["resources"] for container in once["spec"]["template"]["spec"]["containers"]] == [
        {"requests": {"cpu": "700m", "memory": "64Mi"}},
        {"requests": {"memory": "32Mi"}, "limits": {"memory": "64Mi"}},
    ]
    assert json.loads(once["metadata"]["annotations"][ORIGINAL_REQUESTS])["app"]["was"]["requests"]["cpu"] == "250m"
    await writer.restore_requests(WEB)
    restored = await read(api, path)
    assert restored["spec"] == before
    assert ORIGINAL_REQUESTS not in restored["metadata"].get("annotations", {})


async def test_sizes_can_be_noted_without_a_roll_out(api: ApiServer) -> None:
    path = await fresh(api, DEPLOYMENTS, deployment())
    before = (await read(api, path))["spec"]
    await KubeWriter(api, roll_out=False).set_requests(WEB, [SIZE])
    noted = await read(api, path)
    assert json.loads(noted["metadata"]["annotations"][WANTED_REQUESTS]) == {"app": {"requests": {"cpu": "700m"}}}
    assert noted["spec"] == before


async def test_a_pod_is_resized_in_place(api: ApiServer, writer: KubeWriter) -> None:
    path = await running_pod(api, "sized")
    size = ContainerSize(container="app", target=Resources.of(cpu=300), limits=Resources.of(cpu=300))
    await writer.resize_pod(f"{NAMESPACE}/sized", [size])
    await writer.resize_pod(f"{NAMESPACE}/sized", [size])
    wanted = {"cpu": "300m", "memory": "64Mi"}
    assert (await read(api, path))["spec"]["containers"][0]["resources"] == {"requests": wanted, "limits": wanted}
    with pytest.raises(InputError, match="allocatable"):
        await writer.resize_pod(
            f"{NAMESPACE}/sized",
            [ContainerSize(container="app", target=Resources.of(cpu=9000), limits=Resources.of(cpu=9000))],
        )
    # A resize may not change the quality-of-service class.
    with pytest.raises(InputError, match="QOS"):
        await writer.resize_pod(f"{NAMESPACE}/sized", [ContainerSize(container="app", target=Resources.of(cpu=200))])


async def test_a_pod_is_evicted_once_and_only_the_one_meant(api: ApiServer, writer: KubeWriter) -> None:
    path = await running_pod(api, "leaving")
    uid = (await read(api, path))["metadata"]["uid"]
    with pytest.raises(ConflictError):
        await writer.evict(f"{NAMESPACE}/leaving", uid="another")
    await writer.evict(f"{NAMESPACE}/leaving", uid=uid)
    left = await is_gone(api, path) or "deletionTimestamp" in (await read(api, path))["metadata"]
    assert left


async def test_a_disruption_budget_forbids_an_eviction_and_is_named(api: ApiServer, writer: KubeWriter) -> None:
    path = await running_pod(api, "guarded", label="guarded")
    await budget(api, label="guarded", minimum=1, allowed=0)
    with pytest.raises(TransientError, match="guarded-pdb") as refused:
        await writer.evict(f"{NAMESPACE}/guarded", uid="")
    assert refused.value.retry_after_seconds >= 0
    assert "deletionTimestamp" not in (await read(api, path))["metadata"]


async def test_only_a_node_that_we_closed_is_opened(api: ApiServer, writer: KubeWriter) -> None:
    path = NODES.to(NODE)
    await writer.cordon(NODE)
    await writer.cordon(NODE)
    closed = await read(api, path)
    assert closed["spec"]["unschedulable"]
    assert closed["metadata"]["annotations"][CORDONED_BY] == "podnode-autoscaler"
    await writer.uncordon(NODE)
    await writer.uncordon(NODE)
    opened = await read(api, path)
    assert "unschedulable" not in opened["spec"]
    assert CORDONED_BY not in opened["metadata"].get("annotations", {})
    await api.send("PATCH", path, {"spec": {"unschedulable": True}}, content_type=MERGE)
    await writer.cordon(NODE)
    with pytest.raises(ConflictError, match="cordoned by somebody else"):
        await writer.uncordon(NODE)
    await api.send("PATCH", path, {"spec": {"unschedulable": None}}, content_type=MERGE)


async def test_a_quota_gets_the_limits_that_are_named(api: ApiServer, writer: KubeWriter) -> None:
    quota = {"metadata": {"name": "team"}, "spec": {"hard": {"requests.cpu": "100", "count/jobs.batch": "50"}}}
    path = await fresh(api, QUOTAS, quota)
    await writer.set_quota(NAMESPACE, "team", [("requests.cpu", 80_500), ("requests.memory", 512 * MIB), ("pods", 900)])
    hard = {"requests.cpu": "80500m", "requests.memory": "512Mi", "pods": "900", "count/jobs.batch": "50"}
    assert (await read(api, path))["spec"]["hard"] == hard
    await api.send("DELETE", path)


async def test_a_real_hpa_that_is_set_aside_stands_still_and_acts_again_when_given_back(
    api: ApiServer, writer: KubeWriter
) -> None:
    web = await fresh(api, DEPLOYMENTS, deployment(replicas=2))
    behavior = {"scaleDown": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}]}}
    path = await fresh(api, HPAS, hpa(highest=2, behavior=behavior))
    before = (await read(api, path))["spec"]
    rival = f"{NAMESPACE}/HorizontalPodAutoscaler/web"
    await writer.set_aside(rival)
    await writer.set_aside(rival)
    assert SET_ASIDE in (await read(api, path))["metadata"]["annotations"]
    await writer.scale(WEB, 3, expected=2)

    async def has_looked() -> bool:
        return bool((await read(api, path)).get("status", {}).get("currentReplicas") == 3)

    async def replicas_are(count: int) -> bool:
        return bool((await read(api, web))["spec"]["replicas"] == count)

    await eventually(has_looked, what="the HPA's controller has looked")
    assert await replicas_are(3)
    await writer.give_back(rival)
    await writer.give_back(rival)
    given_back = await read(api, path)
    assert given_back["spec"] == before
    assert SET_ASIDE not in given_back["metadata"].get("annotations", {})
    # Its maximum is in force again.
    await eventually(lambda: replicas_are(2), what="the HPA acts again")
    await api.send("DELETE", path)


async def definition(api: ApiServer, resource: ResourcePath, kind: str, *, scales: bool = False) -> None:
    """Install a kind that takes any fields."""
    group, _, version = resource.api_version.partition("/")
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        **({"subresources": {"scale": paths, "status": {}}} if scales else {}),
    }
    spec = {
        "group": group,
        "scope": "Namespaced",
        "names": {"plural": resource.plural, "kind": kind},
        "versions": [served],
    }
    name = f"{resource.plural}.{group}"
    approval = {"api-approved.kubernetes.io": "unapproved, only for tests"}
    await create(api, CRDS.to(), {"metadata": {"name": name, "annotations": approval}, "spec": spec})

    async def is_served() -> bool:
        try:
            return not await is_gone(api, resource.to(namespace=NAMESPACE))
        except TransientError:  # its storage is being set up
            return False

    await eventually(is_served, what=f"{name} is served")


@pytest.fixture
async def custom_kinds(api: ApiServer) -> None:
    """Install them side by side: each takes the server two seconds."""
    async with asyncio.TaskGroup() as group:
        for kind in ("VerticalPodAutoscaler", "MultidimPodAutoscaler", "ScaledObject"):
            group.create_task(definition(api, RIVALS[kind], kind))
        group.create_task(definition(api, ROLLOUTS, "Rollout", scales=True))


@pytest.mark.parametrize(
    ("kind", "spec", "stopped"),
    [
        pytest.param(
            "VerticalPodAutoscaler", {"updatePolicy": {"updateMode": "Auto", "minReplicas": 2}}, "Off", id="vpa"
        ),
        pytest.param("VerticalPodAutoscaler", {"targetRef": {"name": "web"}}, "Off", id="vpa-without-a-policy"),
        pytest.param("MultidimPodAutoscaler", {"policy": {"updateMode": "Auto"}}, "Off", id="gke-mpa"),
        pytest.param("ScaledObject", {"maxReplicaCount": 9}, "true", id="keda"),
    ],
)
@pytest.mark.usefixtures("custom_kinds")
async def test_other_rivals_are_set_aside_and_given_back(
    api: ApiServer, writer: KubeWriter, kind: str, spec: dict[str, Any], stopped: str
) -> None:
    resource = RIVALS[kind]
    document = {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": "web"}, "spec": spec}
    path = await fresh(api, resource, document)
    await writer.set_aside(f"{NAMESPACE}/{kind}/web")
    aside = await read(api, path)
    assert stopped in json.dumps([aside["spec"], aside["metadata"]["annotations"]])
    await writer.give_back(f"{NAMESPACE}/{kind}/web")
    back = await read(api, path)
    assert (back["spec"], back["metadata"].get("annotations", {})) == (spec, {})


@pytest.mark.usefixtures("custom_kinds")
async def test_a_custom_kind_is_scaled_where_its_resource_is_known(api: ApiServer) -> None:
    document = {"apiVersion": "example.com/v1", "kind": "Rollout", **deployment("custom", replicas=2)}
    path = await fresh(api, ROLLOUTS, document)
    writer = KubeWriter(api, resources={"Rollout": ROLLOUTS}.get)
    await writer.scale(f"{NAMESPACE}/Rollout/custom", 5, expected=2)
    await writer.set_requests(f"{NAMESPACE}/Rollout/custom", [SIZE])
    changed = (await read(api, path))["spec"]
    assert changed["replicas"] == 5
    assert changed["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "700m"
    with pytest.raises(InputError, match="kind"):
        await KubeWriter(api).scale(f"{NAMESPACE}/Rollout/custom", 2, expected=5)


async def test_a_dry_run_is_judged_in_full_and_changes_nothing(api: ApiServer) -> None:
    dry, rival = KubeWriter(api, dry_run=True), f"{NAMESPACE}/HorizontalPodAutoscaler/web"
    paths = [
        await fresh(api, DEPLOYMENTS, deployment()),
        await fresh(api, HPAS, hpa(highest=4)),
        await fresh(api, QUOTAS, {"metadata": {"name": "team"}, "spec": {"hard": {"pods": "50"}}}),
        await running_pod(api, "untouched", label="untouched"),
    ]
    await budget(api, label="untouched", minimum=0, allowed=1)
    paths += [NODES.to(NODE), BUDGETS.to("untouched-pdb", namespace=NAMESPACE)]

    async def state() -> list[Any]:
        found = [await read(api, path) for path in paths]
        return [(each.get("spec"), each["metadata"].get("annotations"), each["metadata"]["uid"]) for each in found]

    before = await state()
    size = ContainerSize(container="app", target=Resources.of(cpu=300), limits=Resources.of(cpu=300))
    await dry.scale(WEB, 3, expected=0)
    await dry.set_requests(WEB, [SIZE])
    await dry.resize_pod(f"{NAMESPACE}/untouched", [size])
    await dry.evict(f"{NAMESPACE}/untouched", uid=before[3][2])
    await dry.cordon(NODE)
    await dry.uncordon(NODE)
    await dry.set_quota(NAMESPACE, "team", [("pods", 900)])
    await dry.set_aside(rival)
    await dry.give_back(rival)
    assert await state() == before
    assert "deletionTimestamp" not in (await read(api, paths[3]))["metadata"]
    allowed = (await read(api, paths[5]))["status"]
    assert (allowed["disruptionsAllowed"], allowed.get("disruptedPods")) == (1, None)
    with pytest.raises(InputError):
        await dry.scale(WEB, -1, expected=0)
    with pytest.raises(ConflictError):
        await dry.evict(f"{NAMESPACE}/untouched", uid="another")
