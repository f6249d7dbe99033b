"""
Why: a stable list of machine-readable codes, each with a sentence for people.

Codes never change meaning. Those under "HPA" and "scheduler" are the peers' own.
"""

from __future__ import annotations

import enum

import msgspec


class Code(enum.StrEnum):
    """Reason codes; the text under each is its meaning in the reference."""

    # Replicas
    LOAD_NEEDS_MORE = "LoadNeedsMore"
    """More replicas: the demand expected within the reaction time needs them."""
    LOAD_NEEDS_FEWER = "LoadNeedsFewer"
    """Fewer replicas serve the demand expected within the reaction time."""
    FORECAST_RISE = "ForecastRise"
    """The forecast raised the target over the reactive need."""
    SLO_CORRECTION = "SloCorrection"
    """The closed loop on the objective raised the head-room."""
    AT_MINIMUM = "AtMinimum"
    """The minimum of the policy binds."""
    AT_MAXIMUM = "AtMaximum"
    """The maximum of the policy binds: more would be needed."""
    STABILIZED = "Stabilized"
    """Held: a recent recommendation was higher (or lower)."""
    UNCHANGED = "Unchanged"
    """No change is wanted."""
    # Requests
    SHAPE_CHEAPER = "ShapeCheaperAtPrices"
    """Another replicas x requests mix serves the same load for less at the cluster's shadow prices."""
    USAGE_ABOVE_REQUEST = "UsageAboveRequest"
    """Requests rise: measured use is above them."""
    USAGE_BELOW_REQUEST = "UsageBelowRequest"
    """Requests shrink: measured use is well below them."""
    OOM_KILLED = "OomKilled"
    """Memory rises: a container was killed for want of it."""
    CAPPED_BY_POLICY = "CappedByPolicy"
    """A bound of the policy capped the size."""
    CAPPED_BY_NODE = "CappedByNode"
    """Capped at what the largest node can hold."""
    IN_RANGE = "InRange"
    """The request lies between the lower and the upper bound: left alone."""
    NEEDS_ADMISSION = "NeedsAdmission"
    """Sizes wait: the mode gives them to starting pods only, and the webhook that does so is not served."""
    RESIZE_STUCK = "ResizeStuck"
    """The pod starts anew: its resize in place does not come to an end."""
    # Held
    SIGNAL_MISSING = "SignalMissing"
    """Held or grown only: a metric is missing."""
    HISTORY_TOO_SHORT = "HistoryTooShort"
    """Not enough history to size by."""
    MODE_OFF = "ModeOff"
    """The policy says Off."""
    MODE_RECOMMEND = "ModeRecommend"
    """Told, not done: the policy says Recommend."""
    PAUSED = "Paused"
    """The policy pauses this direction."""
    CONFLICT = "Conflict"
    """Another autoscaler acts on the same workload."""
    POLICY_INVALID = "PolicyInvalid"
    """The policy cannot be used; the message says why."""
    ENGINE_FAILED = "EngineFailed"
    """The engine raised an error; only this workload is held."""
    NOT_SCALABLE = "NotScalable"
    """The target has no scale subresource, or does not exist."""
    # HPA
    HPA = "Hpa"
    """A condition of the HPA algorithm; `detail` has type, status and reason."""
    # Nodes
    PENDING_PODS = "PendingPods"
    """A group grows for pods that fit nowhere."""
    EMPTY_NODE = "EmptyNode"
    """A node holds no pods but DaemonSets'."""
    PODS_FIT_ELSEWHERE = "PodsFitElsewhere"
    """The node's pods fit on the others."""
    CHEAPER_REPACK = "CheaperRepack"
    """Cheaper nodes hold the same pods, moves included."""
    SPOT_INTERRUPTION = "SpotInterruption"
    """The cloud will take the node back."""
    NODE_NOT_READY = "NodeNotReady"
    """The node has not been ready for too long."""
    NO_GROUP_FITS = "NoGroupFits"
    """No node group could hold the pod; `detail` says what each lacks."""
    GROUP_AT_MAXIMUM = "GroupAtMaximum"
    """The group may not grow further."""
    GROUP_BACKING_OFF = "GroupBackingOff"
    """The last launch failed; trying again later."""
    LIMIT_REACHED = "LimitReached"
    """A cluster limit on cores or memory binds."""
    BUDGET_REACHED = "BudgetReached"
    """The money budget binds."""
    NODE_BLOCKED = "NodeBlocked"
    """The node cannot be removed; `detail` names the blocker."""
    NODE_IN_USE = "NodeInUse"
    """The node's pods fit nowhere else."""
    SAVINGS_TOO_SMALL = "SavingsTooSmall"
    """Removing the node would cost more in moves than it saves."""
    COOLING_DOWN = "CoolingDown"
    """Too soon after the last change."""
    # Guard
    GUARD_BOUNDS = "GuardBounds"
    """The guard cut the action to the policy's bounds."""
    GUARD_RATE = "GuardRate"
    """The guard cut the change allowed in one cycle."""
    GUARD_DISRUPTION = "GuardDisruption"
    """The guard dropped the action: the disruption budget is spent."""
    GUARD_PDB = "GuardPdb"
    """The guard dropped the eviction: the PodDisruptionBudget allows none."""
    GUARD_QUOTA = "GuardQuota"
    """The guard cut the action to what the ResourceQuota leaves."""
    GUARD_MISSING = "GuardMissing"
    """The guard dropped a shrinking action that rests on missing data."""
    GUARD_UNREADY = "GuardUnready"
    """The guard dropped removals: too many nodes are not ready."""
    GUARD_BUDGET = "GuardBudget"
    """The guard cut the growth to the money budget."""
    GUARD_LIMIT_RANGE = "GuardLimitRange"
    """The guard dropped sizes: the namespace's LimitRange would refuse the pods."""
    GUARD_RIVAL = "GuardRival"
    """The guard dropped the action: another autoscaler sets the same thing, or may not be touched."""


class Reason(msgspec.Struct, frozen=True, gc=False):
    """A code, a sentence, and the facts in it as sorted (name, text) pairs."""

    code: Code
    message: str
    detail: tuple[tuple[str, str], ...] = ()
