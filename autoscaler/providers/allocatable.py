"""
What a new machine leaves for pods, from the clouds' published reservation rules.

Allocatable is capacity less what kubelet and system keep and less the hard
eviction threshold (Kubernetes documentation, "Reserve Compute Resources for
System Daemons"). DaemonSets are not taken off.
"""

from __future__ import annotations

from autoscaler.model.resources import Resources
from autoscaler.model.units import GIB, MIB

GPU = "nvidia.com/gpu"
EVICTION_MEMORY = 100 * MIB
KARPENTER_MEMORY_OVERHEAD = 0.075
"""Share of the nominal memory that a virtual machine never shows (Karpenter's `vm-memory-overhead-percent`)."""

_CPU_TIERS = ((1, 60.0), (2, 10.0), (4, 5.0))
_CPU_REST = 2.5
_GKE_MEMORY_BANDS = ((4 * GIB, 0.25), (8 * GIB, 0.20), (16 * GIB, 0.10), (128 * GIB, 0.06))
_GKE_MEMORY_REST = 0.02
_GKE_SHARED_CORE_CPU = 1060
_GKE_TINY_MEMORY = 255 * MIB


def reserved_cpu(cores: int) -> int:
    """
    Return the millicores that EKS and GKE keep for the kubelet on *cores* whole cores.

    The first core gives 60 m, the second 10 m, the next two 5 m each, the rest 2.5 m each
    (awslabs/amazon-eks-ami, nodeadm kubelet config; GKE documentation, "Plan node sizes").

    >>> reserved_cpu(1), reserved_cpu(4), reserved_cpu(96)
    (60, 80, 310)
    """
    reserved, counted = 0.0, 0
    for up_to, each in _CPU_TIERS:
        reserved += max(0, min(cores, up_to) - counted) * each
        counted = up_to
    return int(reserved + max(0, cores - counted) * _CPU_REST)


def eks_allocatable(
    *, cores: int, memory_bytes: int, max_pods: int, gpus: int = 0, memory_overhead: float = KARPENTER_MEMORY_OVERHEAD
) -> Resources:
    """
    Return what pods can use on an EKS node (awslabs/amazon-eks-ami, nodeadm).

    Kubelet keeps 255 MiB and 11 MiB for each possible pod. *memory_overhead* is
    the share of the nominal memory that the hypervisor keeps, 0 to 1.

    Raises:
        ValueError: an amount is negative or the share lies outside 0 to 1.

    >>> eks_allocatable(cores=2, memory_bytes=8 << 30, max_pods=29, memory_overhead=0.0)
    Resources(cpu=1930m, memory=7518Mi, pods=29)
    """
    _check_machine(cores, memory_bytes, max_pods, gpus)
    if not 0.0 <= memory_overhead <= 1.0:
        raise ValueError(f"memory_overhead must lie between 0 and 1, got {memory_overhead}")
    visible = memory_bytes - int(memory_bytes * memory_overhead)
    kept = (255 + 11 * max_pods) * MIB + EVICTION_MEMORY
    return _resources(cores * 1000 - reserved_cpu(cores), visible - kept, max_pods, gpus)


def gke_allocatable(
    *, cores: int, memory_bytes: int, max_pods: int = 110, gpus: int = 0, shared_core: bool = False
) -> Resources:
    """
    Return what pods can use on a GKE node (GKE documentation, "Plan node sizes").

    Raises:
        ValueError: an amount is negative.

    >>> gke_allocatable(cores=4, memory_bytes=16 << 30)
    Resources(cpu=3920m, memory=14283282842, pods=110)
    """
    _check_machine(cores, memory_bytes, max_pods, gpus)
    kept_cpu = _GKE_SHARED_CORE_CPU if shared_core else reserved_cpu(cores)
    kept = _gke_reserved_memory(memory_bytes) + EVICTION_MEMORY
    return _resources(cores * 1000 - kept_cpu, memory_bytes - kept, max_pods, gpus)


def _gke_reserved_memory(memory_bytes: int) -> int:
    if memory_bytes <= GIB:
        return _GKE_TINY_MEMORY
    kept, counted = 0.0, 0
    for up_to, share in _GKE_MEMORY_BANDS:
        kept += max(0, min(memory_bytes, up_to) - counted) * share
        counted = up_to
    return int(kept + max(0, memory_bytes - counted) * _GKE_MEMORY_REST)


def _check_machine(cores: int, memory_bytes: int, max_pods: int, gpus: int) -> None:
    for name, amount in (("cores", cores), ("memory_bytes", memory_bytes), ("max_pods", max_pods), ("gpus", gpus)):
        if amount < 0:
            raise ValueError(f"{name} must be at least 0, got {amount}")


def _resources(millicores: int, memory_bytes: int, max_pods: int, gpus: int) -> Resources:
    extra = {GPU: gpus} if gpus else {}
    return Resources.of(extra, cpu=max(0, millicores), memory=max(0, memory_bytes), pods=max_pods)
