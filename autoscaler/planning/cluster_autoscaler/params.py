"""
The flags of Cluster Autoscaler that this engine knows, under their own names, with their defaults.

Source: `config/flags/flags.go` and `config/const.go`, 1.36. Flags that limit
time spent thinking, or that belong to one cloud, have no counterpart here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from autoscaler.model.spec import Count, Duration, decode_hook
from autoscaler.model.units import GIB
from autoscaler.planning.cluster_autoscaler.drainability import DrainRules
from autoscaler.planning.cluster_autoscaler.expanders import chain_problem, priorities_of
from autoscaler.planning.cluster_autoscaler.utilization import UtilizationRules

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_RANGE = re.compile(r"([0-9]{1,12}):([0-9]{1,12})")

Problem = tuple[str, object, str]
"""A parameter's name, what was found there, and what is allowed."""


class ClusterAutoscalerParams(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Set under `nodes.params` where `nodes.engine` is `cluster-autoscaler`."""

    expander: str = "least-waste"
    """Expanders in the order in which they choose, separated by commas."""
    expander_priorities: dict[str, tuple[str, ...]] = {}
    """For `priority`: regular expressions for names of groups, by priority (the peer's ConfigMap)."""
    balance_similar_node_groups: bool = False
    """Spread growth over groups of like machines."""
    balancing_ignore_label: tuple[str, ...] = ()
    """Labels that like groups may differ in, besides host name, zone and region."""
    memory_difference_ratio: Share = 0.015
    """How far the memory of like machines may differ."""
    max_allocatable_difference_ratio: Share = 0.05
    """How far what pods can have on like machines may differ."""
    max_free_difference_ratio: Share = 0.05
    """How far what DaemonSets leave on like machines may differ."""
    max_nodes_total: Count = 0
    """Nodes in the cluster at most; 0 for any number."""
    cores_total: str = "0:320000"
    """Cores in the cluster, `min:max`."""
    memory_total: str = "0:6400000"
    """GiB of memory in the cluster, `min:max`."""
    max_nodes_per_scaleup: Count = 1000
    """Nodes added at once at most."""
    fastpath_binpacking_enabled: bool = False
    """Reckon the largest group of pods instead of placing it pod by pod."""
    enforce_node_group_min_size: bool = False
    """Grow groups that are below their minimum."""
    new_pod_scale_up_delay: Duration = Duration("0s")
    """How old a pod must be to make the cluster grow."""
    expendable_pods_priority_cutoff: int = -10
    """Pods of lower priority neither make the cluster grow nor keep a node."""
    scale_down_enabled: bool = True
    scale_down_unready_enabled: bool = True
    """Whether nodes that are not ready may be removed."""
    scale_down_delay_after_add: Duration = Duration("10m")
    """No removal so soon after growth."""
    scale_down_delay_after_delete: Duration = Duration("0s")
    """No further removal so soon after one."""
    scale_down_delay_after_failure: Duration = Duration("3m")
    """No removal so soon after one was given up."""
    scale_down_unneeded_time: Duration = Duration("10m")
    """How long a node must have been unneeded."""
    scale_down_unready_time: Duration = Duration("20m")
    """The same for a node that is not ready."""
    scale_down_utilization_threshold: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] = 0.5
    """A node requested above this share is needed."""
    scale_down_gpu_utilization_threshold: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] = 0.5
    """The same for accelerators, which alone count where there are any."""
    ignore_daemonsets_utilization: bool = False
    ignore_mirror_pods_utilization: bool = False
    unremovable_node_recheck_timeout: Duration = Duration("5m")
    """When a node that could not be removed is tried again."""
    max_scale_down_parallelism: Count = 10
    """Nodes under removal at once, those drained included."""
    max_drain_parallelism: Count = 1
    """Nodes drained at once."""
    max_graceful_termination_sec: Count = 600
    """How long pods may take to end, in seconds."""
    max_pod_eviction_time: Duration = Duration("2m")
    """How long evictions are tried."""
    max_bulk_soft_taint_count: Count = 10
    """Nodes named for a soft taint at once."""
    max_node_provision_time: Duration = Duration("15m")
    """A node that has not registered by then never will."""
    max_node_startup_time: Duration = Duration("15m")
    """A node that is not ready by then counts as broken."""
    max_total_unready_percentage: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)] = 45.0
    """With more nodes than this not ready, nothing is done."""
    ok_total_unready_count: Count = 3
    """So many nodes may always be not ready."""
    initial_node_group_backoff_duration: Duration = Duration("5m")
    """How long a group whose growth failed is left alone; doubles with each failure."""
    max_node_group_backoff_duration: Duration = Duration("30m")
    node_group_backoff_reset_timeout: Duration = Duration("3h")
    """So long after a failure it is forgotten."""
    skip_nodes_with_system_pods: bool = True
    """Pods of kube-system without a PodDisruptionBudget keep their node."""
    blocking_system_pod_distruption_timeout: Duration = Duration("1h")
    """So long after their creation they do no longer (the peer's spelling)."""
    skip_nodes_with_local_storage: bool = True
    """Pods with local storage keep their node."""
    skip_nodes_with_custom_controller_pods: bool = True
    """Pods of controllers other than the built-in ones, or of none that exists, keep their node."""
    min_replica_count: Count = 0
    """Pods whose controller wants fewer keep their node."""

    @property
    def chain(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.expander.split(","))

    @property
    def drain(self) -> DrainRules:
        return DrainRules(
            skip_nodes_with_system_pods=self.skip_nodes_with_system_pods,
            skip_nodes_with_local_storage=self.skip_nodes_with_local_storage,
            skip_nodes_with_custom_controller_pods=self.skip_nodes_with_custom_controller_pods,
            min_replica_count=self.min_replica_count,
            blocking_system_pod_seconds=self.blocking_system_pod_distruption_timeout.seconds,
        )

    @property
    def counted(self) -> UtilizationRules:
        return UtilizationRules(
            skip_daemons=self.ignore_daemonsets_utilization, skip_mirrors=self.ignore_mirror_pods_utilization
        )

    @property
    def cores(self) -> tuple[int, int]:
        """Cores that the cluster may have, least and most."""
        return _bounds(self.cores_total)

    @property
    def memory_bytes(self) -> tuple[int, int]:
        least, most = _bounds(self.memory_total)
        return least * GIB, most * GIB


def read_params(given: Mapping[str, Any]) -> ClusterAutoscalerParams:
    """
    Return the parameters that a policy gives.

    Raises:
        msgspec.ValidationError: they are not what the engine takes.
    """
    return msgspec.convert(dict(given), ClusterAutoscalerParams, dec_hook=decode_hook) if given else DEFAULTS


def param_problems(params: ClusterAutoscalerParams) -> Iterable[Problem]:
    """Yield what is wrong with parameters of the right types."""
    problem = chain_problem(params.chain)
    if problem:
        yield "expander", params.expander, f"names of expanders, separated by commas: {problem}"
    if params.expander_priorities and not priorities_of(params.expander_priorities):
        yield "expander-priorities", params.expander_priorities, "lists of regular expressions by whole number"
    for name, text in (("cores-total", params.cores_total), ("memory-total", params.memory_total)):
        match = _RANGE.fullmatch(text)
        if match is None or int(match[1]) > int(match[2]):
            yield name, text, "least and most, such as 0:320000"


def _bounds(text: str) -> tuple[int, int]:
    least, _, most = text.partition(":")
    return int(least), int(most)


DEFAULTS = ClusterAutoscalerParams()
