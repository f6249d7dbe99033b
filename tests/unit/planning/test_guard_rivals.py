from __future__ import annotations

import msgspec
import pytest

from autoscaler.model.plan import AnyAction, EvictPod, GiveBack, ResizePod, SetAside, SetReplicas, SetRequests
from autoscaler.model.policy import Policies
from autoscaler.model.reasons import Code
from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.workload import Rival
from autoscaler.planning.effective import effective_policies
from autoscaler.planning.guard import Guarded, GuardLimits, guard
from autoscaler.planning.index import SnapshotIndex
from autoscaler.testing.builders import make_rival
from tests.unit.planning.decisions import cluster, key, mpa, policies

WEB = key("web")
HPA = make_rival()
VPA = make_rival(kind="VerticalPodAutoscaler")
STOPPED = msgspec.structs.replace(HPA, set_aside=True)
SIZES = (ContainerSize(container="app", target=Resources.of(cpu=600)),)
SCALE = SetReplicas(workload=WEB, replicas=5, expected=4)
TEMPLATE = SetRequests(workload=WEB, containers=SIZES)
RESIZE = ResizePod(pod="default/web-0", workload=WEB, containers=SIZES)
RESTART = EvictPod(pod="default/web-0", uid="web-0", workload=WEB)
DRAIN = EvictPod(pod="default/web-0", uid="web-0", workload=WEB, node="node-0")
ASIDE, BACK = SetAside(rival=HPA.key, workload=WEB), GiveBack(rival=HPA.key, workload=WEB)


def rules(*, mode: str = "Auto", take_over: bool = True) -> Policies:
    document = mpa(policy={"updateMode": mode, "takeOver": take_over})
    return msgspec.structs.replace(policies(), mpas=(document,))


def checked(*actions: AnyAction, rivals: tuple[Rival, ...], documents: Policies | None = None) -> Guarded:
    snapshot = cluster({"web": (4, 2.0)}, rivals=rivals)
    governed = effective_policies(snapshot, rules() if documents is None else documents)
    return guard(actions, SnapshotIndex(snapshot), governed, held=frozenset(), limits=GuardLimits())


@pytest.mark.parametrize(
    ("action", "rival", "allowed"),
    [
        pytest.param(SCALE, HPA, False, id="replicas-that-an-hpa-sets"),
        pytest.param(SCALE, VPA, True, id="replicas-beside-a-vpa"),
        pytest.param(SCALE, STOPPED, True, id="replicas-once-the-hpa-is-set-aside"),
        pytest.param(TEMPLATE, VPA, False, id="requests-that-a-vpa-sets"),
        pytest.param(TEMPLATE, HPA, True, id="requests-beside-an-hpa"),
        pytest.param(RESIZE, VPA, False, id="a-resize-that-a-vpa-undoes"),
        pytest.param(RESTART, VPA, False, id="a-restart-for-new-sizes"),
        pytest.param(DRAIN, VPA, True, id="a-drain-changes-no-size"),
    ],
)
def test_nothing_is_done_where_another_acts(action: AnyAction, rival: Rival, allowed: bool) -> None:
    found = checked(action, rivals=(rival,))
    assert found.actions == ((action,) if allowed else ())
    assert [reason.code for note in found.notes for reason in note.reasons] == ([] if allowed else [Code.GUARD_RIVAL])


@pytest.mark.parametrize(
    ("action", "rivals", "documents", "allowed"),
    [
        pytest.param(ASIDE, (HPA,), rules(), True, id="taken-over"),
        pytest.param(ASIDE, (HPA,), rules(take_over=False), False, id="nobody-asked"),
        pytest.param(ASIDE, (HPA,), rules(mode="Recommend"), False, id="in-recommend"),
        pytest.param(ASIDE, (HPA,), Policies(), False, id="without-a-document"),
        pytest.param(ASIDE, (STOPPED,), rules(), False, id="set-aside-already"),
        pytest.param(ASIDE, (), rules(), False, id="not-there"),
        pytest.param(ASIDE, (make_rival(workload=key("api")),), rules(), False, id="of-another-workload"),
        pytest.param(ASIDE, (make_rival(owner="Fleet/x"),), rules(), False, id="controlled-by-something-else"),
        pytest.param(BACK, (STOPPED,), Policies(), True, id="given-back"),
        pytest.param(BACK, (HPA,), rules(), False, id="was-not-set-aside"),
    ],
)
def test_a_rival_is_touched_only_where_that_is_in_force(
    action: AnyAction, rivals: tuple[Rival, ...], documents: Policies, allowed: bool
) -> None:
    assert bool(checked(action, rivals=rivals, documents=documents).actions) == allowed


def test_one_that_is_given_back_acts_from_then_on() -> None:
    assert checked(BACK, SCALE, rivals=(STOPPED,)).actions == (BACK,)
