from __future__ import annotations

from autoscaler.model.recommendation import ContainerSize
from autoscaler.model.resources import Resources
from autoscaler.model.units import MIB
from autoscaler.recommend.goldilocks import QosProposal, qos_proposals


def test_the_target_is_guaranteed_and_the_bounds_are_burstable() -> None:
    size = ContainerSize(
        container="app",
        target=Resources.of(cpu=200, memory=300 * MIB + 1),
        lower=Resources.of(cpu=100, memory=5000),
        upper=Resources.of(cpu=900),
    )
    target = Resources.of(cpu=200, memory=301 * MIB)
    assert qos_proposals(size) == (
        QosProposal(container="app", qos="Guaranteed", requests=target, limits=target),
        QosProposal(
            container="app",
            qos="Burstable",
            requests=Resources.of(cpu=100, memory=5 * 1024),
            limits=Resources.of(cpu=900),
        ),
    )
