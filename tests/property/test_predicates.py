"""Decoding, requests, filters and scores on arbitrary clusters and on nonsense."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import InputError
from autoscaler.kube import decode
from autoscaler.model.node import Node
from autoscaler.model.placement import (
    Affinity,
    Effect,
    HostPort,
    LabelSelector,
    NodeSelectorTerm,
    Operator,
    PodTerm,
    PreferredNodeTerm,
    PreferredPodTerm,
    Requirement,
    Taint,
    Toleration,
    TopologySpread,
    labels_of,
)
from autoscaler.model.pod import Container, ContainerStatus, Pod, PodShape, Resize
from autoscaler.model.resources import NOTHING, Resources
from autoscaler.model.volumes import AttachLimits, PersistentVolume, StorageClass, VolumeClaim, Volumes
from autoscaler.model.workload import Namespace
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.predicates import filter_nodes, shortfalls
from autoscaler.scheduling.requests import (
    effective_limits,
    effective_requests,
    nonzero_requests,
    placed_requests,
    scoring_requests,
)
from autoscaler.scheduling.scores import rank_nodes

FEW = settings(max_examples=25, deadline=None)
KEYS = st.sampled_from(["app", "zone", "kubernetes.io/hostname", "topology.kubernetes.io/zone", "-", ""])
VALUES = st.sampled_from(["", "a", "b", "7", "-1", "9" * 30, "٣"])
NAMES = st.sampled_from(["n1", "n2", "n3"])
LABELS = st.dictionaries(KEYS, VALUES, max_size=3).map(labels_of)
AMOUNTS = st.one_of(st.integers(0, 5000), st.sampled_from([0, 1, 1 << 62, (1 << 63) - 1]))
RESOURCES = st.dictionaries(
    st.sampled_from(["cpu", "memory", "pods", "nvidia.com/gpu", "hugepages-2Mi"]), AMOUNTS, max_size=4
).map(Resources.of)
REQUIREMENTS = st.builds(Requirement, KEYS, st.sampled_from(list(Operator)), st.lists(VALUES, max_size=2).map(tuple))
SELECTORS = st.none() | st.builds(LabelSelector, LABELS, st.lists(REQUIREMENTS, max_size=2).map(tuple))
FIELDS = st.builds(Requirement, st.just("metadata.name"), st.just(Operator.IN), st.lists(NAMES, max_size=2).map(tuple))
NODE_TERMS = st.builds(
    NodeSelectorTerm, st.lists(REQUIREMENTS, max_size=2).map(tuple), st.lists(FIELDS, max_size=1).map(tuple)
)
POD_TERMS = st.builds(
    PodTerm,
    KEYS,
    SELECTORS,
    st.lists(st.sampled_from(["shop", "lost"]), max_size=1).map(tuple),
    SELECTORS,
    st.lists(KEYS, max_size=1).map(tuple),
    st.lists(KEYS, max_size=1).map(tuple),
)
WEIGHTED = st.builds(PreferredPodTerm, st.integers(1, 100), POD_TERMS)
AFFINITY = st.builds(
    Affinity,
    node_required=st.none() | st.lists(NODE_TERMS, max_size=2).map(tuple),
    node_preferred=st.lists(st.builds(PreferredNodeTerm, st.integers(1, 100), NODE_TERMS), max_size=1).map(tuple),
    pod_required=st.lists(POD_TERMS, max_size=1).map(tuple),
    pod_preferred=st.lists(WEIGHTED, max_size=1).map(tuple),
    pod_anti_required=st.lists(POD_TERMS, max_size=1).map(tuple),
    pod_anti_preferred=st.lists(WEIGHTED, max_size=1).map(tuple),
)
SPREAD = st.builds(
    TopologySpread,
    max_skew=st.integers(-1, 3),
    topology_key=KEYS,
    when_unsatisfiable=st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
    selector=SELECTORS,
    min_domains=st.none() | st.integers(-1, 4),
    node_affinity_policy=st.sampled_from(["Honor", "Ignore"]),
    node_taints_policy=st.sampled_from(["Honor", "Ignore"]),
    match_label_keys=st.lists(KEYS, max_size=1).map(tuple),
)
EFFECTS = st.sampled_from(list(Effect))
TAINTS = st.lists(st.builds(Taint, st.sampled_from(["gpu", "slow"]), EFFECTS, VALUES), max_size=2).map(tuple)
TOLERATIONS = st.builds(
    Toleration,
    st.sampled_from(["", "gpu"]),
    st.sampled_from(["", "Equal", "Exists", "Gt"]),
    VALUES,
    st.none() | EFFECTS,
)
CONTAINERS = st.builds(
    Container,
    name=st.sampled_from(["a", "b"]),
    requests=RESOURCES,
    limits=RESOURCES,
    ports=st.lists(st.builds(HostPort, st.sampled_from([-1, 0, 80])), max_size=1).map(tuple),
    restart_always=st.booleans(),
)
SHAPES = st.builds(
    PodShape,
    namespace=st.sampled_from(["shop", "lost"]),
    labels=LABELS,
    containers=st.lists(CONTAINERS, max_size=2).map(tuple),
    init_containers=st.lists(CONTAINERS, max_size=2).map(tuple),
    overhead=st.just(NOTHING) | RESOURCES,
    pod_requests=st.none() | RESOURCES,
    pod_limits=st.none() | RESOURCES,
    node_selector=st.just(()) | LABELS,
    affinity=st.just(Affinity()) | AFFINITY,
    tolerations=st.lists(TOLERATIONS, max_size=2).map(tuple),
    spread=st.lists(SPREAD, max_size=2).map(tuple),
    node_name=st.just("") | NAMES,
    claims=st.just(()) | st.lists(st.sampled_from(["c1", "c2", "none"]), max_size=2).map(tuple),
)
STATUSES = st.builds(
    ContainerStatus,
    name=st.sampled_from(["a", "b", "x"]),
    allocated=st.none() | RESOURCES,
    actual=st.none() | RESOURCES,
)
RESIZES = st.builds(
    Resize,
    state=st.sampled_from(["", "Deferred", "InProgress", "Infeasible"]),
    containers=st.lists(STATUSES, max_size=2).map(tuple),
    pod_allocated=st.none() | RESOURCES,
    pod_actual=st.none() | RESOURCES,
)
PODS = st.builds(
    Pod,
    name=st.uuids().map(str),
    shape=SHAPES,
    node=NAMES | st.just(""),
    deleted_at=st.none() | st.just(1.0),
    resize=st.none() | RESIZES,
)
CLAIMS = st.builds(
    VolumeClaim,
    namespace=st.just("shop"),
    name=st.just("c1"),
    volume=st.sampled_from(["", "v1", "none"]),
    bound=st.booleans(),
    storage_class=st.sampled_from(["", "late", "none"]),
    requested=AMOUNTS,
    access_modes=st.sampled_from([(), ("ReadWriteOncePod",)]),
    selected_node=st.just("") | NAMES,
)
VOLUMES = st.builds(
    PersistentVolume,
    name=st.just("v1"),
    capacity=AMOUNTS,
    storage_class=st.just("late"),
    phase=st.sampled_from(["Available", "Bound"]),
    labels=LABELS,
    node_required=st.none() | st.lists(NODE_TERMS, max_size=1).map(tuple),
    csi_driver=st.just("d"),
    csi_handle=st.just("h"),
)
STORAGE = st.builds(
    Volumes,
    volumes=st.lists(VOLUMES, max_size=1).map(tuple),
    claims=st.lists(CLAIMS, max_size=1).map(tuple),
    classes=st.just((StorageClass(name="late", provisioner="d", waits_for_consumer=True),)),
    attach_limits=st.just((AttachLimits(node="n1", limits=(("d", 0),)),)),
)


@st.composite
def nodes(draw: st.DrawFn) -> list[Node]:
    return [
        Node(name=name, allocatable=draw(RESOURCES), labels=draw(LABELS), taints=draw(TAINTS))
        for name in ("n1", "n2", "n3")[: draw(st.integers(0, 3))]
    ]


def in_a_cluster(nodes: list[Node], pods: list[Pod], storage: Volumes) -> SchedulingContext:
    return SchedulingContext(nodes, pods, volumes=storage, namespaces=[Namespace("shop", (("team", "a"),))])


CLUSTERS = {"nodes": nodes(), "pods": st.lists(PODS, max_size=5), "storage": STORAGE}


@FEW
@given(shape=SHAPES, **CLUSTERS)
def test_a_node_is_feasible_exactly_when_no_filter_alone_rejects_it(
    shape: PodShape, nodes: list[Node], pods: list[Pod], storage: Volumes
) -> None:
    context = in_a_cluster(nodes, pods, storage)
    verdicts = filter_nodes(shape, context, every=True)
    assert set(verdicts) == {node.name for node in nodes}
    if shape.node_name and any(term.match_fields for term in shape.affinity.node_required or ()):
        # Two lists of names can exclude together what neither excludes alone.
        return
    for verdict in verdicts.values():
        assert verdict.feasible == (not verdict.rejected_by)


@FEW
@given(shape=SHAPES, **CLUSTERS)
def test_the_order_of_nodes_and_pods_does_not_matter(
    shape: PodShape, nodes: list[Node], pods: list[Pod], storage: Volumes
) -> None:
    one = in_a_cluster(nodes, pods, storage)
    other = in_a_cluster(nodes[::-1], pods[::-1], storage)
    assert filter_nodes(shape, one, every=True) == filter_nodes(shape, other, every=True)
    assert rank_nodes(shape, one) == rank_nodes(shape, other)


@FEW
@given(shape=SHAPES, **CLUSTERS)
def test_scores_stay_in_range_and_sum_up(shape: PodShape, nodes: list[Node], pods: list[Pod], storage: Volumes) -> None:
    context = in_a_cluster(nodes, pods, storage)
    ranking = rank_nodes(shape, context, nodes=[node.name for node in nodes])
    totals = [score.total for score in ranking.nodes]
    assert totals == sorted(totals, reverse=True)
    for score in ranking.nodes:
        assert score.total == sum(each.weighted for each in score.plugins)
        for each in score.plugins:
            assert 0 <= each.normalized <= 100 or each.plugin == "PodTopologySpread"


@FEW
@given(shape=SHAPES, fewer=st.integers(0, 4), **CLUSTERS)
def test_fewer_pods_never_leave_less_room(
    shape: PodShape, fewer: int, nodes: list[Node], pods: list[Pod], storage: Volumes
) -> None:
    full = in_a_cluster(nodes, pods, storage)
    light = in_a_cluster(nodes, pods[:fewer], storage)
    for name in full.nodes:
        lacking = {each.resource: each.missing for each in shortfalls(shape, full.nodes[name])}
        for each in shortfalls(shape, light.nodes[name]):
            assert each.missing <= lacking[each.resource]


@FEW
@given(shape=SHAPES, resize=RESIZES, more=CONTAINERS)
def test_missing_statuses_and_more_containers_never_lower_requests(
    shape: PodShape, resize: Resize, more: Container
) -> None:
    spec = effective_requests(shape)
    pod = Pod(name="p", shape=shape, resize=resize)
    if resize.state != "Infeasible" and not shape.pod_requests:
        placed = placed_requests(pod)
        assert all(placed.get(name) >= amount for name, amount in spec.items())
    # A pod of which no status is known counts in full.
    assert placed_requests(Pod(name="p", shape=shape)) == spec
    longer = msgspec.structs.replace(shape, init_containers=(*shape.init_containers, more))
    larger = effective_requests(longer)
    assert all(larger.get(name) >= amount for name, amount in spec.items())
    assert all(amount >= 0 for _, amount in (nonzero_requests(pod) + effective_limits(pod)).items())
    assert all(amount >= 0 for _, amount in scoring_requests(shape).items())


@FEW
@given(shape=SHAPES)
def test_api_defaults_are_idempotent_and_never_lower(shape: PodShape) -> None:
    once = decode.with_api_defaults(shape)
    assert decode.with_api_defaults(once) == once
    before, after = effective_requests(shape), effective_requests(once)
    assert all(after.get(name) >= amount for name, amount in before.items())
    whole = decode.with_pod_level_defaults(once)
    assert decode.with_pod_level_defaults(whole) == whole


FIELD_NAMES = st.sampled_from(
    [
        *("name", "spec", "status", "metadata", "labels", "containers", "resources", "requests", "cpu", "taints"),
        *("affinity", "conditions", "type", "template", "capacity", "allocatable", "selector", "creationTimestamp"),
    ]
)
ODD_TEXTS = st.sampled_from(["", "1", "-1Gi", "1e999", "NaN", "In", "Pod", "2026-01-01T00:00:00Z", "0001-13-01", "\0"])
ODD_NUMBERS = st.integers() | st.sampled_from([math.nan, math.inf, -1.5, 1e300])
NONSENSE = st.recursive(
    st.none() | st.booleans() | ODD_NUMBERS | ODD_TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(FIELD_NAMES, inner, max_size=4),
    max_leaves=8,
)
KINDS = st.sampled_from(["Pod", "Node", "Deployment", "Job", "PodDisruptionBudget", "PersistentVolume", "CSINode"])


@settings(max_examples=100, deadline=None)
@given(kind=KINDS, spec=NONSENSE, status=NONSENSE, meta=NONSENSE)
def test_nonsense_decodes_or_is_refused(kind: str, spec: Any, status: Any, meta: Any) -> None:
    metadata = {**meta, "name": "x"} if isinstance(meta, dict) else {"name": "x"}
    document = {"kind": kind, "metadata": metadata, "spec": spec, "status": status}
    with contextlib.suppress(InputError):
        decode.decode_list({"items": [document]}, observed_at=0.0)


@FEW
@given(text=st.binary(max_size=40) | st.just(b"[" * 100_000))
def test_any_bytes_decode_or_are_refused(text: bytes) -> None:
    with contextlib.suppress(InputError):
        decode.decode_pod(text)
    with contextlib.suppress(InputError):
        decode.decode_list(text, observed_at=0.0)
