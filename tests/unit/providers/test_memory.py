from __future__ import annotations

import pytest

from autoscaler.errors import CapacityError, ConflictError, TransientError
from autoscaler.model.units import HOUR
from autoscaler.providers.memory import CloudRules, MemoryCloud, MemoryProvider
from autoscaler.testing.builders import make_group


def _cloud(size: int = 0, **rules: float) -> MemoryCloud:
    return MemoryCloud([make_group("a", size=size)], rules=CloudRules(**rules), now=0.0)


def test_initial_machines_join_at_the_first_advance_and_do_not_count_as_launches() -> None:
    cloud = _cloud(size=2)
    assert [machine.id for machine in cloud.advance(0.0).joined] == ["i-00000001", "i-00000002"]
    assert cloud.launches == 0


def test_a_machine_joins_after_its_boot() -> None:
    cloud = _cloud()
    cloud.resize("a", 1, expected=0)
    assert not cloud.advance(89.0).joined
    assert len(cloud.advance(90.0).joined) == 1
    assert not cloud.advance(91.0).joined


def test_boot_times_spread() -> None:
    cloud = MemoryCloud([make_group("a", size=0, max_size=50)], boot_spread={"a": 0.5}, seed=3)
    cloud.resize("a", 50, expected=0)
    times = [machine.ready_at for machine in cloud.machines("a")]
    assert len(set(times)) == 50
    assert min(times) < 90 < max(times)


@pytest.mark.parametrize(
    ("lasted", "billed"),
    [
        pytest.param(10.0, 60.0, id="a-minute-at-least"),
        pytest.param(90.5, 90.5, id="then-by-the-second"),
    ],
)
def test_billing(lasted: float, billed: float) -> None:
    cloud = _cloud(size=1)
    cloud.advance(0.0)
    cloud.advance(lasted)
    cloud.delete("a", ["i-00000001"], expected=1)
    cloud.advance(500.0)
    assert cloud.usd == pytest.approx(0.2 * billed / HOUR)


def test_shrinking_takes_the_newest_machines() -> None:
    cloud = _cloud(size=2)
    cloud.advance(0.0)
    cloud.resize("a", 3, expected=2)
    cloud.resize("a", 1, expected=3)
    assert [machine.id for machine in cloud.machines("a")] == ["i-00000001"]
    assert [machine.id for machine in cloud.advance(1.0).deleted] == ["i-00000002"]


def test_an_unknown_machine_spoils_the_whole_call() -> None:
    cloud = _cloud(size=2)
    with pytest.raises(ConflictError, match="i-9"):
        cloud.delete("a", ["i-00000001", "i-9"], expected=2)
    assert len(cloud.machines("a")) == 2


def test_a_stock_out_backs_off_longer_each_time_and_ends_with_a_success() -> None:
    cloud = _cloud()
    cloud.stocked_out = frozenset({"a"})
    waits = []
    for _ in range(6):
        with pytest.raises(CapacityError, match=r"no capacity for m\.xl in a") as caught:
            cloud.resize("a", 1, expected=0)
        waits.append(caught.value.retry_after_seconds)
    assert waits == [180, 360, 720, 1440, 2880, 3600]
    assert cloud.group("a").backoff_until == 3600
    cloud.stocked_out = frozenset()
    cloud.resize("a", 1, expected=0)
    cloud.advance(90.0)
    cloud.stocked_out = frozenset({"a"})
    with pytest.raises(CapacityError) as caught:
        cloud.resize("a", 2, expected=1)
    assert caught.value.retry_after_seconds == 180


def test_losses_are_reported_once() -> None:
    cloud = _cloud(size=3)
    cloud.advance(0.0)
    cloud.lose(lambda group: group.name == "a", 2)
    changes = cloud.advance(1.0)
    assert len(changes.taken) == 2
    assert not cloud.advance(2.0).taken
    assert cloud.group("a").target_size == 1


def test_time_does_not_go_back() -> None:
    cloud = _cloud()
    cloud.advance(10.0)
    with pytest.raises(ValueError, match="back"):
        cloud.advance(9.0)


async def test_api_errors_reach_the_caller_and_change_nothing() -> None:
    cloud = _cloud()
    cloud.error_share = 1.0
    provider = MemoryProvider(cloud)
    with pytest.raises(TransientError):
        await provider.set_target_size("a", 1, expected=0)
    with pytest.raises(TransientError):
        await provider.list_node_groups()
    assert cloud.group("a").target_size == 0


def test_equal_seeds_interrupt_alike() -> None:
    def taken() -> list[str]:
        group = make_group("a", size=9, capacity_type="spot", interruptions_per_hour=2.0)
        cloud = MemoryCloud([group], seed=5)
        return [machine.id for step in range(200) for machine in cloud.advance(step * 30.0).taken]

    assert taken() == taken()
    assert 0 < len(taken()) <= 9
