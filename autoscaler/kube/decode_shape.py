"""Pod specs, of pods and of templates, to the shapes that pods share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from autoscaler.kube import decode_wire as wire
from autoscaler.kube.decode_placement import affinity_of, spread_of, toleration_of
from autoscaler.kube.decode_read import amounts, amounts_or_none, object_name
from autoscaler.model.placement import HostPort, labels_of
from autoscaler.model.pod import Container, PodShape, ShapeInterner

SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
SAFE_LOCAL_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
DEFAULT_NAMESPACE = "default"


class ShapeReader:
    """
    Gives pods their shared shapes, translating each different spec only once.

    A spec is known again by a digest of what a shape is made from. It forgets
    nothing until it is told which shapes are still in use.
    """

    def __init__(self, interner: ShapeInterner | None = None) -> None:
        self._interner = ShapeInterner() if interner is None else interner
        self._known: dict[bytes, PodShape] = {}

    def __len__(self) -> int:
        return len(self._known)

    def read(self, thing: wire.Pod, *, owner_kind: str) -> PodShape:
        """
        Return the shape of a pod, with its claims and without its node.

        Raises:
            InputError: as `shape_of`.
        """
        spec, meta = thing.spec, thing.metadata
        volumes = [each for each in spec.volumes or () if _matters(each)]
        digest = _digest(spec, meta, volumes=volumes, owner_kind=owner_kind)
        known = self._known.get(digest)
        if known is None:
            known = shape_of(spec, meta, where=object_name(thing), owner_kind=owner_kind)
            claims = claims_of(spec, meta.name)
            known = self.intern(msgspec.structs.replace(known, claims=claims) if claims else known)
            self._known[digest] = known
        return known

    def intern(self, shape: PodShape) -> PodShape:
        """Return the one object for shapes equal to *shape*."""
        return self._interner.intern(shape)

    def forget_all_but(self, used: Iterable[PodShape]) -> None:
        """Drop every shape that is not among the *used*."""
        self._interner = ShapeInterner()
        keep = {id(self._interner.intern(shape)) for shape in used}
        self._known = {digest: shape for digest, shape in self._known.items() if id(shape) in keep}


def shape_of(spec: wire.PodSpec, meta: wire.Metadata, *, where: str, owner_kind: str) -> PodShape:
    """
    Translate a pod spec, of a pod or a template, without claims and node name.

    Raises:
        InputError: a field has a value that the API does not allow.
    """
    resources = spec.resources or wire.ResourceAmounts()
    return PodShape(
        namespace=meta.namespace or DEFAULT_NAMESPACE,
        labels=labels_of(meta.labels or {}),
        containers=tuple(_containers(spec.containers, spec, where, "spec.containers")),
        init_containers=tuple(_containers(spec.init_containers, spec, where, "spec.initContainers")),
        overhead=amounts(spec.overhead, where, "spec.overhead"),
        pod_requests=amounts_or_none(resources.requests, where, "spec.resources.requests"),
        pod_limits=amounts_or_none(resources.limits, where, "spec.resources.limits"),
        node_selector=labels_of(spec.node_selector or {}),
        affinity=affinity_of(spec.affinity),
        tolerations=tuple(toleration_of(each, where) for each in spec.tolerations or ()),
        spread=tuple(map(spread_of, spec.topology_spread_constraints or ())),
        priority=spec.priority or 0,
        preemption_policy=spec.preemption_policy or "PreemptLowerPriority",
        owner_kind=owner_kind,
        local_storage=_has_local_storage(spec, meta.annotations or {}),
        gated=bool(spec.scheduling_gates),
        device_claims=len(spec.resource_claims or ()),
    )


def claims_of(spec: wire.PodSpec, pod_name: str) -> tuple[str, ...]:
    """
    Return the names of the claims that a pod uses, in order.

    An ephemeral volume's claim is named after the pod; a template (no
    *pod_name*) has none yet.
    """
    found = []
    for volume in spec.volumes or ():
        if volume.persistent_volume_claim is not None:
            found.append(volume.persistent_volume_claim.claim_name)
        elif volume.ephemeral is not None and pod_name:
            found.append(f"{pod_name}-{volume.name}")
    return tuple(found)


def _containers(
    containers: list[wire.Container] | None, spec: wire.PodSpec, where: str, path: str
) -> Iterable[Container]:
    for index, each in enumerate(containers or ()):
        resources = each.resources or wire.ResourceAmounts()
        at = f"{path}[{index}].resources"
        yield Container(
            name=each.name,
            requests=amounts(resources.requests, where, f"{at}.requests"),
            limits=amounts(resources.limits, where, f"{at}.limits"),
            ports=tuple(_host_ports(each.ports or (), on_host=bool(spec.host_network))),
            restart_always=each.restart_policy == "Always",
            resize_restarts=tuple(
                policy.resource_name
                for policy in each.resize_policy or ()
                if policy.restart_policy == "RestartContainer"
            ),
        )


def _host_ports(ports: Iterable[wire.Port], *, on_host: bool) -> Iterable[HostPort]:
    """Yield the ports taken on the host: with the host's network that is every container port."""
    for port in ports:
        number = port.host_port or (port.container_port if on_host else 0)
        if number > 0:
            yield HostPort(number, port.protocol or "TCP", port.host_ip or "")


def _has_local_storage(spec: wire.PodSpec, annotations: Mapping[str, str]) -> bool:
    """Tell whether data would be lost with the node, as Cluster Autoscaler sees it (utils/drain)."""
    if annotations.get(SAFE_TO_EVICT) == "true":
        return False
    safe = annotations.get(SAFE_LOCAL_VOLUMES, "").split(",")
    return any(
        volume.name not in safe
        and (volume.host_path is not None or (volume.empty_dir is not None and volume.empty_dir.medium != "Memory"))
        for volume in spec.volumes or ()
    )


def _matters(volume: wire.Volume) -> bool:
    """Tell whether a volume says anything about placement; each pod has a token volume of its own name."""
    return (
        volume.persistent_volume_claim is not None
        or volume.empty_dir is not None
        or volume.host_path is not None
        or volume.ephemeral is not None
    )


def _digest(spec: wire.PodSpec, meta: wire.Metadata, *, volumes: list[wire.Volume], owner_kind: str) -> bytes:
    """Return a digest of all that `shape_of` and `claims_of` read; equal digests mean equal shapes."""
    annotations = meta.annotations or {}
    parts = (
        meta.namespace,
        meta.labels,
        owner_kind,
        annotations.get(SAFE_TO_EVICT),
        annotations.get(SAFE_LOCAL_VOLUMES),
        meta.name if any(each.ephemeral is not None for each in volumes) else "",
        msgspec.structs.replace(spec, node_name=None, volumes=volumes),
    )
    return blake2b(_ENCODER.encode(parts), digest_size=16).digest()


_ENCODER = msgspec.msgpack.Encoder()
