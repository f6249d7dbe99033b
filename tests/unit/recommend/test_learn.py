from __future__ import annotations

import numpy as np
import pytest

from autoscaler.model.arrays import Floats
from autoscaler.model.readings import Series
from autoscaler.model.snapshot import DemandModel
from autoscaler.model.units import DAY
from autoscaler.recommend.learn import History, learn, work_series
from autoscaler.testing.builders import NOW

STEPS = 4 * 1440


def history(**values: Floats | float) -> History:
    """Return series of four days, a value a minute; what is not named is all gaps."""
    series = {
        name: Series(NOW - 4 * DAY, 60.0, np.broadcast_to(np.asarray(values.get(name, np.nan), float), STEPS).copy())
        for name in ("cpu", "ready", "requests", "memory")
    }
    return History(**series)


def test_a_workload_is_learned_whole() -> None:
    at = np.arange(STEPS) * 60.0
    load = 100 + 80 * np.sin(2 * np.pi * at / DAY)
    pods = np.random.default_rng(0).integers(3, 9, STEPS)
    found = learn(
        "shop/Deployment/web",
        history(cpu=0.02 * load + 0.1 * pods, ready=pods.astype(float), requests=load, memory=2e8),
        at=NOW,
        horizons=(165.0, 255.0),
        parallelism=2.0,
    )
    assert found.workload == "shop/Deployment/web"
    assert found.fitted_at == NOW
    assert found.demand.cores_per_request == pytest.approx(0.02, rel=0.01)
    assert found.demand.parallelism == 2.0
    assert found.season.trusted
    assert found.season.history_max == pytest.approx(3.6, rel=0.01)
    assert found.shape is None


def test_work_is_what_was_asked_for_where_its_cost_is_known() -> None:
    costed = DemandModel(cores_per_request=0.02, idle_cores=0.1)
    work = work_series(history(cpu=1.0, ready=2.0, requests=200.0), costed)
    assert work == pytest.approx(np.full(STEPS, 4.0))


def test_work_is_cpu_less_idling_where_requests_are_not_known() -> None:
    work = work_series(history(cpu=1.0, ready=2.0), DemandModel(cores_per_request=0.02, idle_cores=0.1))
    assert work == pytest.approx(np.full(STEPS, 0.8))
    assert (work_series(history(cpu=0.1, ready=2.0), DemandModel(idle_cores=0.1)) == 0).all()


def test_nothing_known_stays_a_gap() -> None:
    assert np.isnan(work_series(history(), DemandModel())).all()
    found = learn("w", history(), at=NOW, horizons=(60.0,))
    assert found.demand.samples == 0
    assert found.season.peak == b""
