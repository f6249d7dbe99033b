"""Where volumes let pods go, as planners see it, against kube-scheduler's own answers."""

from __future__ import annotations

import msgspec

from autoscaler.kube import decode
from autoscaler.model.volumes import Volumes
from autoscaler.scheduling.context import SchedulingContext
from autoscaler.scheduling.requirements import can_use_volumes, label_map
from autoscaler.scheduling.volume_terms import volume_terms
from tests.golden.vectors import Case, check_set

ABOUT_VOLUMES = {"VolumeRestrictions", "VolumeBinding", "VolumeZone", "prefilter"}
"""Who forbids a node for the volumes' sake, attach limits aside; what comes before them is no matter of theirs."""


def test_terms() -> None:
    check_set("scheduler_volumes", _check)


def _check(case: Case) -> str:
    given = case["input"]
    pod = decode.decode_pod(given["pod"])
    existing = [decode.decode_pod(each) for each in given.get("existing_pods", ())]
    volumes = Volumes(
        volumes=tuple(decode.decode_volume(each) for each in given.get("persistent_volumes", ())),
        claims=tuple(decode.decode_claim(each) for each in given.get("persistent_volume_claims", ())),
        classes=tuple(decode.decode_class(each) for each in given.get("storage_classes", ())),
    )
    in_use = {f"{each.namespace}/{name}" for each in existing for name in each.shape.claims}
    terms = volume_terms(pod.shape, SchedulingContext((), volumes=volumes), in_use=in_use)
    shape = msgspec.structs.replace(pod.shape, volume_terms=terms)
    for each in given["nodes"]:
        node = decode.decode_node(each)
        verdict = case["expected"]["nodes"][node.name]
        usable = can_use_volumes(shape, label_map(node.labels))
        judged = verdict["feasible"] or verdict["plugin"] in ABOUT_VOLUMES
        if judged and usable != verdict["feasible"]:
            return f"{node.name}: {usable}, {verdict}, terms {terms}"
    return ""
