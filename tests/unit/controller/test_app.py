"""The controller: turns while it leads and sees, memory across restarts, an orderly end."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Sequence

import msgspec
import pytest

from autoscaler.controller.app import Controller
from autoscaler.controller.loop import Cycle
from autoscaler.controller.triggers import Trigger
from autoscaler.errors import TransientError
from autoscaler.interfaces import MetricsSource, Outcome
from autoscaler.model.plan import Decision
from autoscaler.model.policy import Policies
from autoscaler.model.snapshot import ClusterSnapshot, Prices, WorkloadModel
from autoscaler.model.state import DecisionState
from autoscaler.telemetry.checkpoint import CheckpointFile, encode_checkpoint
from autoscaler.telemetry.logs import configure_logs
from tests.unit.controller.controllers import WEB, Fresh, Kept, Lead, Setting, decide_one_more, running
from tests.unit.controller.waits import eventually


def _turns(controller: Controller, **labels: str) -> float:
    return controller.metrics.registry.get_sample_value("podnode_turns_total", labels) or 0.0


async def test_it_decides_every_period_and_acts() -> None:
    setting = Setting()
    async with running(setting.controller()) as controller:
        await eventually(lambda: setting.replicas >= 5)
    assert controller.last is not None
    assert _turns(controller, trigger="period", result="done") == len(setting.told)
    assert {outcome.result for outcome in setting.told} == {"done"}
    after = setting.replicas
    assert after == 2 + len(setting.told)


async def test_a_turn_for_pending_pods_comes_at_once_and_takes_the_readings_of_the_last_one() -> None:
    setting = Setting(period=600.0)
    async with running(setting.controller()) as controller:
        await eventually(lambda: setting.replicas == 3)
        setting.triggers.poke()
        await eventually(lambda: setting.replicas == 4)
        assert controller.last is not None
        assert len(controller.last.snapshot.readings) == 1
    assert setting.metrics.reads == 1
    assert _turns(controller, trigger="pending", result="done") == 1
    waited = controller.metrics.registry.get_sample_value("podnode_pending_reaction_seconds_sum")
    assert waited is not None
    assert 0.01 <= waited < 5.0


async def test_pods_that_fit_nowhere_do_not_wait_for_metrics() -> None:
    setting = Setting()
    async with running(setting.controller()) as controller:
        await eventually(lambda: _turns(controller, trigger="period", result="done") >= 1)
        setting.metrics.answers.clear()
        reads = setting.metrics.reads
        await eventually(lambda: setting.metrics.reads == reads + 1)
        before, of_period = setting.replicas, _turns(controller, trigger="period", result="done")
        for number in range(3):
            setting.triggers.poke()
            await eventually(lambda: setting.replicas == before + number + 1)  # noqa: B023
        assert controller.last is not None
        assert len(controller.last.snapshot.readings) == 1
        assert _turns(controller, trigger="pending", result="done") == 3
        assert _turns(controller, trigger="period", result="done") == of_period
        setting.metrics.answers.set()
        await eventually(lambda: _turns(controller, trigger="period", result="done") > of_period)


async def test_who_does_not_lead_decides_nothing_and_takes_over_what_the_leader_saved() -> None:
    lead, kept = Lead(leads=False), Kept()
    setting = Setting(lead=lead)
    async with running(setting.controller(checkpoint=kept, identity="second")) as controller:
        await eventually(lambda: controller.health.why_not_ready() == "")
        assert controller.health.why_dead() == ""
        assert setting.metrics.reads == 0
        kept.data = encode_checkpoint(
            CheckpointFile(version=1, identity="first", saved_at=1.0, state=DecisionState(last_scale_up_at=100.0))
        )
        lead.give()
        await eventually(lambda: controller.last is not None)
        assert controller.last is not None
        assert controller.last.before.last_scale_up_at >= 100.0
    assert setting.replicas > 2


async def test_who_loses_the_lead_acts_no_more() -> None:
    lead = Lead()
    setting = Setting(lead=lead)
    async with running(setting.controller()) as controller:
        await eventually(lambda: setting.replicas >= 4)
        lead.leads = False
        await eventually(lambda: controller.metrics.registry.get_sample_value("podnode_leader") == 0)
        left_at = setting.replicas
        lead.give()
        await eventually(lambda: setting.replicas > left_at)


async def test_nothing_is_decided_on_a_stale_view() -> None:
    fresh = Fresh()
    setting = Setting(fresh=fresh)
    async with running(setting.controller()) as controller:
        await eventually(lambda: setting.replicas >= 3)
        fresh.age = 31.0
        await eventually(lambda: _turns(controller, trigger="period", result="held") >= 2)
        held_at = setting.replicas
        assert "31 s ago" in controller.health.why_not_ready()
        fresh.age = 0.0
        await eventually(lambda: setting.replicas > held_at)
        assert controller.health.why_not_ready() == ""


async def test_pods_for_which_a_turn_was_held_are_left_to_the_period() -> None:
    fresh = Fresh()
    setting = Setting(fresh=fresh, period=600.0)
    async with running(setting.controller()) as controller:
        await eventually(lambda: setting.replicas == 3)
        fresh.age = 31.0
        setting.triggers.poke()
        await eventually(lambda: _turns(controller, trigger="pending", result="held") == 1)
        assert setting.triggers.due()[1] is Trigger.PERIOD


async def test_what_it_remembers_outlives_it() -> None:
    kept = Kept()
    first = Setting()
    async with running(first.controller(checkpoint=kept, identity="first")):
        await eventually(lambda: first.replicas >= 4)
    turns = len(first.told)
    second = Setting(period=600.0)
    async with running(second.controller(checkpoint=kept, identity="second")) as controller:
        await eventually(lambda: controller.last is not None)
    assert controller.last is not None
    assert controller.last.before.last_scale_up_at == turns


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(None, id="none"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\x1f\x8b\x08garbage", id="cut-off"),
        pytest.param(b'{"version": 99, "identity": "x", "saved_at": 0}', id="another-version"),
    ],
)
async def test_without_a_checkpoint_that_can_be_read_it_starts_cold(data: bytes | None) -> None:
    setting = Setting()
    async with running(setting.controller(checkpoint=Kept(data))) as controller:
        await eventually(lambda: controller.last is not None)
    assert setting.replicas > 2


async def test_a_turn_that_fails_is_followed_by_the_next() -> None:
    setting = Setting()
    failures = iter([TransientError("not now", retry_after_seconds=1), ValueError("a bug")])

    def decide(snapshot: ClusterSnapshot, policies: Policies, state: DecisionState) -> Decision:
        for failure in failures:
            raise failure
        return decide_one_more(snapshot, policies, state)

    async with running(setting.controller(ports=msgspec.structs.replace(setting.ports, decide=decide))) as controller:
        await eventually(lambda: setting.replicas >= 3)
    assert _turns(controller, trigger="period", result="failed") == 2


async def test_models_are_learned_beside_the_turns() -> None:
    setting = Setting()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def refit(
        snapshot: ClusterSnapshot, policies: Policies, metrics: MetricsSource, *, at: float
    ) -> tuple[tuple[WorkloadModel, ...], Prices]:
        begun.set()
        await go_on.wait()
        return (WorkloadModel(workload=WEB, fitted_at=at),), Prices(usd_per_core_hour=7.0)

    kept = Kept()
    ports = msgspec.structs.replace(setting.ports, refit=refit)
    async with running(setting.controller(ports=ports, checkpoint=kept)) as controller:
        await begun.wait()
        seen = setting.replicas
        await eventually(lambda: setting.replicas > seen + 2)
        go_on.set()
        await eventually(lambda: controller.last and controller.last.snapshot.prices.usd_per_core_hour == 7.0)
    # They are in the checkpoint, and good for the next process.
    begun.clear()
    again = Setting()
    parts = msgspec.structs.replace(again.ports, refit=refit)
    async with running(again.controller(ports=parts, checkpoint=kept)) as controller:
        await eventually(lambda: len(again.told) > 3)
    assert controller.last is not None
    assert controller.last.snapshot.models[0].workload == WEB
    assert not begun.is_set()


async def test_turns_do_not_wait_for_what_is_published() -> None:
    setting = Setting()
    published: list[Cycle] = []
    told: list[Outcome] = []
    go_on = asyncio.Event()

    async def publish(cycle: Cycle, outcomes: Sequence[Outcome]) -> None:
        published.append(cycle)
        told.extend(outcomes)
        await go_on.wait()
        raise TransientError("no", retry_after_seconds=1)

    async with running(setting.controller(publish=publish)) as controller:
        await eventually(lambda: setting.replicas >= 6)
        assert len(published) == 1
        go_on.set()
        await eventually(lambda: len(published) >= 3)
    # No outcome is lost, nor told twice.
    assert told == setting.told[: len(told)]
    assert len(told) > len(published)
    assert controller.metrics.registry.get_sample_value("podnode_publications_total", {"result": "failed"})


async def test_a_stop_holds_what_is_not_begun_and_lets_the_turn_end() -> None:
    setting = Setting(period=600.0)

    def decide(snapshot: ClusterSnapshot, policies: Policies, state: DecisionState) -> Decision:
        controller.stop()
        return decide_one_more(snapshot, policies, state)

    kept = Kept()
    controller = setting.controller(ports=msgspec.structs.replace(setting.ports, decide=decide), checkpoint=kept)
    async with asyncio.timeout(10):
        await controller.run()
    assert [(outcome.result, outcome.message) for outcome in setting.told] == [("held", "shutting down")]
    assert setting.replicas == 2
    assert kept.data is not None


async def test_a_line_is_logged_for_each_cycle() -> None:
    out = io.StringIO()
    configure_logs(level="info", form="json", stream=out)
    setting = Setting()
    async with running(setting.controller()):
        await eventually(lambda: setting.replicas >= 4)
    configure_logs(level="error")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    cycles = [line for line in lines if line["event"] == "cycle"]
    assert len(cycles) == len(setting.told)
    assert {"time", "level", "pods", "nodes", "actions", "failed", "usd_per_hour", "seconds"} <= set(cycles[0])


async def test_it_says_what_its_start_waits_for() -> None:
    class Slow(Fresh):
        """Ready at the second look."""

        looks = 0

        async def wait_ready(self, timeout: float) -> None:
            self.looks += 1
            if self.looks == 1:
                raise TransientError("not listed yet: pods (no route)", retry_after_seconds=1.0)

    out = io.StringIO()
    configure_logs(level="info", form="json", stream=out)
    setting = Setting(fresh=Slow())
    async with running(setting.controller()):
        await eventually(lambda: setting.replicas >= 3)
    configure_logs(level="error")
    (said,) = [line for line in map(json.loads, out.getvalue().splitlines()) if line["level"] == "warning"]
    assert said["reason"] == "not listed yet: pods (no route)"
