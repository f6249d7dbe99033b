"""
Other autoscalers on the same workload: who stands aside, and what is held until one does.

Two that act on the same thing undo each other's work: an HPA and an engine
that both set replicas, a VPA and an engine that both set requests. So nothing
is done to such a workload until the other is deleted, or `takeOver` lets us
set it aside. Level-based: setting aside is one cycle's plan, acting is that of
a later cycle, which sees that the other has stopped.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from autoscaler.model.plan import GiveBack, Note, SetAside
from autoscaler.model.policy import Policies, UpdateMode
from autoscaler.model.reasons import Code, Reason
from autoscaler.model.resources import CPU, MEMORY
from autoscaler.model.workload import Rival, Workload
from autoscaler.planning.effective import Effective
from autoscaler.planning.index import SnapshotIndex
from autoscaler.planning.workload_actions import WorkloadActions

REPLICAS, REQUESTS = "replicas", "requests"
BOTH = frozenset({REPLICAS, REQUESTS})
_ONE_SIDED = {"hpa": frozenset({REPLICAS}), "vpa": frozenset({REQUESTS})}
"""Engines that leave one side alone whatever the document says."""
_ACTING = (UpdateMode.INITIAL, UpdateMode.AUTO)


class RivalPlan(msgspec.Struct, frozen=True, kw_only=True):
    """
    What to do about other autoscalers, what of it only to tell, and by key of
    the workloads on which nothing else may be done, why.
    """

    actions: tuple[SetAside | GiveBack, ...] = ()
    advised: tuple[SetAside, ...] = ()
    held: Mapping[str, tuple[Reason, ...]] = {}
    notes: tuple[Note, ...] = ()


def acts_on(effective: Effective) -> frozenset[str]:
    """
    Return what the workload's engine would change in its mode: `replicas`, `requests`, both or neither.

    Initial changes the template alone. Off and Recommend are taken as Auto: what would be changed.
    """
    acted = _ONE_SIDED.get(effective.engine, BOTH)
    named = effective.spec.constraints.container_controlled_resources
    if named is not None and not {CPU, MEMORY} & set(named):
        acted -= {REQUESTS}
    return acted & {REQUESTS} if effective.mode is UpdateMode.INITIAL else acted


def plan_rivals(
    index: SnapshotIndex, governed: Mapping[str, Effective], policies: Policies, *, ready: Collection[str]
) -> RivalPlan:
    """
    Return what follows from the snapshot's rivals, in the order of their keys.

    A rival is set aside only for a workload that is *ready*: its engine has an
    answer that rests on data. It is given back as soon as its workload is not
    taken over any more: its document gone, `takeOver` false, or the mode not
    one that acts. That is done in mode Recommend, too: the workload would be
    left with no autoscaler at all. A document that cannot be used changes nothing.
    """
    actions: list[SetAside | GiveBack] = []
    advised: list[SetAside] = []
    held: dict[str, list[Reason]] = {}
    notes: list[Note] = []
    for rival in index.rivals:
        effective = governed.get(rival.workload)
        if effective is not None and effective.problem:
            continue
        acting = effective is not None and effective.mode in _ACTING
        contested = effective is not None and bool(acts_on(effective) & set(rival.acts_on))
        wanted = contested and effective is not None and effective.spec.policy.take_over
        if rival.set_aside and not (wanted and acting):
            actions.append(GiveBack(rival=rival.key, workload=rival.workload, reasons=(_given_back(rival),)))
        if effective is None or not contested or (wanted and rival.set_aside):
            continue
        reason = _conflict(rival, take_over=wanted, ready=rival.workload in ready)
        if wanted and rival.workload in ready and not rival.owner:
            step = SetAside(rival=rival.key, workload=rival.workload, reasons=(reason,))
            (actions if acting else advised).append(step)
        if acting:
            held.setdefault(rival.workload, []).append(reason)
        elif effective.mode is UpdateMode.RECOMMEND:
            notes.append(Note(target=f"workload/{rival.workload}", reasons=(reason,)))
    return RivalPlan(
        actions=tuple(actions),
        advised=tuple(advised),
        held={key: tuple(reasons) for key, reasons in held.items()},
        notes=(*notes, *_outranked(policies)),
    )


def left_alone(part: WorkloadActions, workload: Workload) -> WorkloadActions:
    """Return *part* with nothing to do: what would be done is advice, and pods stay as they are."""
    return msgspec.structs.replace(
        part,
        actions=(),
        advised=(*part.actions, *part.advised),
        shape=workload.template,
        replicas=workload.replicas,
    )


def _conflict(rival: Rival, *, take_over: bool, ready: bool) -> Reason:
    """Say which object is in the way and the ways out."""
    also = f"{rival.kind} {rival.namespace}/{rival.name} also sets the {' and '.join(rival.acts_on)}"
    if not take_over:
        message = f"{also}: delete it, or set policy.takeOver: true"
    elif rival.owner:
        message = f"{also} and belongs to {rival.owner}, which would undo what is done to it: delete that"
    elif not ready:
        message = f"{also}: it goes on until there is a recommendation that rests on data"
    else:
        message = f"{also}: it is set aside first, as policy.takeOver asks"
    return Reason(Code.CONFLICT, message, (("rival", rival.key),))


def _given_back(rival: Rival) -> Reason:
    message = f"{rival.kind} {rival.namespace}/{rival.name} acts again: its workload is not taken over any more"
    return Reason(Code.CONFLICT, message, (("rival", rival.key),))


def _outranked(policies: Policies) -> Sequence[Note]:
    """Tell each mpa whose workload another one, first by name, governs (see `effective_policies`)."""
    targets = [(mpa.namespace, mpa.name, mpa.spec.scale_target_ref) for mpa in policies.mpas]
    targets += [
        (each.namespace, each.name, each.target)
        for each in policies.invalid
        if each.kind == "MultidimPodAutoscaler" and each.target is not None
    ]
    first: dict[tuple[str, str, str], str] = {}
    notes = []
    for namespace, name, target in sorted(targets, key=lambda each: each[:2]):
        winner = first.setdefault((namespace, target.kind, target.name), name)
        if winner != name:
            message = (
                f"{target.kind} {namespace}/{target.name} is governed by MultidimPodAutoscaler {winner}, "
                "the first by name: delete one of them"
            )
            notes.append(Note(target=f"mpa/{namespace}/{name}", reasons=(Reason(Code.CONFLICT, message),)))
    return notes
