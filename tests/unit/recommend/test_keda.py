"""The expected replicas follow the rules of KEDA 2.21 (docs/reference/peers/keda.md) by hand."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.interfaces import CountsPods, Recommender
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Sample, Signal, SignalKind
from autoscaler.model.reasons import Code
from autoscaler.recommend.keda import KedaMemory
from autoscaler.recommend.keda_params import KedaParams
from tests.unit.recommend.hpa_views import CPU_70, KEY, NOW, QUEUE_10, cpu
from tests.unit.recommend.keda_views import ENGINE, FAILED, Played, params, spec, trigger

ABSENT = Missing(MissingReason.ABSENT)
SALE = {"name": "sale", "schedule": "0 8 * * *", "duration": "2h", "minReplicas": 6}
WORKERS = {"name": "workers", "selector": {"matchLabels": {"app": "worker"}}, "value": 5}


def test_it_is_a_recommender_that_counts_pods() -> None:
    assert isinstance(ENGINE, Recommender)
    assert isinstance(ENGINE, CountsPods)
    assert ENGINE.Params() == KedaParams()
    assert ENGINE.Memory() == KedaMemory()


def test_activation_wins_over_scaling() -> None:
    # KEDA's documentation: threshold 10, activation 50, value 40: nothing runs, though the HPA would ask for 4.
    played = Played(spec(trigger(activation="50")))
    assert played.turn(queue=40) == 0
    assert played.condition("Active") == ("False", "ScalerNotActive")
    assert played.turn(queue=50) == 0
    assert played.turn(queue=51) == 1


def test_from_nothing_to_one_and_then_as_the_hpa_says() -> None:
    played = Played(spec(trigger()))
    # 1, then double or 4, then 5.
    assert played.turns(4, queue=45) == [1, 4, 5, 5]
    assert played.condition("Active") == ("True", "ScalerActive")
    assert played.condition("ScalingActive") == ("True", "ValidMetricFound")


def test_a_minimum_is_woken_to_at_once() -> None:
    played = Played(spec(trigger(), minReplicas=3))
    assert played.turn(queue=1) == 3


def test_a_minimum_of_one_or_more_never_rests() -> None:
    played = Played(spec(trigger(), minReplicas=2), replicas=5)
    assert played.turns(25, queue=0)[-1] == 2


def test_inactive_below_the_minimum_goes_up_to_it() -> None:
    played = Played(spec(trigger(), minReplicas=3), replicas=1)
    assert played.turn(queue=0) == 3


def test_the_last_pods_go_after_the_cooldown() -> None:
    played = Played(spec(trigger()), params(cooldown_seconds=120))
    played.turns(3, queue=30)
    # Active at 0, 30 and 60 s; more than 120 s after that: at 210 s.
    assert [replicas > 0 for replicas in played.turns(5, queue=0)] == [True, True, True, True, False]
    assert played.condition("Active") == ("False", "ScalerNotActive")


def test_the_cooldown_starts_anew_with_each_activity() -> None:
    played = Played(spec(trigger()), params(cooldown_seconds=60))
    played.turn(queue=5)
    for _ in range(3):
        assert played.turns(2, queue=0) == [1, 1]
        assert played.condition("Active") == ("False", "ScalerCooldown")
        assert played.turn(queue=5) == 1


def test_what_never_was_active_goes_after_the_initial_cooldown() -> None:
    played = Played(spec(trigger()), params(initial_cooldown_seconds=60), replicas=2)
    assert played.turns(4, queue=0) == [2, 2, 2, 0]


def test_without_an_initial_cooldown_it_goes_at_the_next_look() -> None:
    assert Played(spec(trigger()), replicas=2).turns(2, queue=0) == [2, 0]


def test_idle_replicas() -> None:
    played = Played(spec(trigger()), params(active_replicas=3, cooldown_seconds=30))
    assert played.turn(queue=1) == 3
    assert played.turns(2, queue=0) == [3, 0]


def test_active_replicas_that_are_no_more_than_the_minimum_change_nothing() -> None:
    played = Played(spec(trigger(), minReplicas=3), params(active_replicas=2))
    assert played.turn(queue=1) == 3


def test_triggers_are_looked_at_once_a_poll() -> None:
    played = Played(spec(trigger()), params(polling_seconds=90))
    assert played.turns(3, queue=0) == [0, 0, 0]
    played = Played(spec(trigger()), params(polling_seconds=90))
    played.turn(queue=0)
    assert played.turns(3, queue=5) == [0, 0, 1]


def test_several_triggers_need_one_that_is_active() -> None:
    played = Played(spec(trigger("a", activation="100"), trigger("b")))
    assert played.turn(a=60, b=0) == 0
    assert played.turn(a=60, b=1) == 1
    # The HPA takes the largest.
    assert played.turns(2, a=60, b=1) == [4, 6]


class TestFailures:
    def test_without_a_fallback_a_failure_holds(self) -> None:
        played = Played(spec(trigger()), params(cooldown_seconds=30))
        played.turns(3, queue=35)
        assert played.turns(30, queue=FAILED) == [4] * 30
        assert played.advice is not None
        assert played.advice.held
        assert any(
            "trigger queue" in reason.message or "server down" in reason.message for reason in played.advice.reasons
        )

    def test_at_rest_a_failure_is_told(self) -> None:
        played = Played(spec(trigger()))
        assert played.turn(queue=FAILED) == 0
        assert played.advice is not None
        assert played.advice.held
        assert played.advice.reasons[0].code is Code.SIGNAL_MISSING

    def test_a_failure_beside_an_active_trigger_does_not_stop_growth(self) -> None:
        played = Played(spec(trigger("a"), trigger("b")))
        assert played.turns(3, a=50, b=FAILED) == [1, 4, 5]
        # Down is another matter: the failed one might ask for more.
        assert played.turns(20, a=10, b=FAILED)[-1] == 5

    def test_an_absent_query_is_a_failure_unless_the_document_calls_it_zero(self) -> None:
        held = Played(spec(trigger()), params(cooldown_seconds=30), replicas=2)
        assert held.turns(20, queue=ABSENT)[-1] == 2
        zero = Played(spec(trigger(absent="Zero")), params(cooldown_seconds=30), replicas=2)
        assert zero.turns(2, queue=ABSENT)[-1] == 0

    @pytest.mark.parametrize(
        ("behavior", "fallback", "replicas"),
        [
            pytest.param("static", 6, 6, id="static"),
            pytest.param("currentReplicas", 6, 3, id="current"),
            pytest.param("currentReplicasIfHigher", 6, 6, id="the-fallback-is-higher"),
            pytest.param("currentReplicasIfHigher", 2, 3, id="current-is-higher"),
            pytest.param("currentReplicasIfLower", 6, 3, id="current-is-lower"),
        ],
    )
    def test_fallback(self, behavior: str, fallback: int, replicas: int) -> None:
        settings = params(fallback={"failure_threshold": 3, "replicas": fallback, "behavior": behavior})
        played = Played(spec(trigger()), settings)
        played.turns(3, queue=30)
        assert played.replicas == 3
        # KEDA's look and the HPA's count one each; the fallback is there with the fourth.
        assert played.turn(queue=FAILED) == 3
        assert played.turns(20, queue=FAILED)[-1] == replicas
        assert played.condition("Fallback") == ("True", "FallbackExists")
        assert played.condition("Active") == ("True", "ScalerActive")
        assert played.turn(queue=30) > 0
        assert played.condition("Fallback") == ("False", "NoFallbackFound")

    def test_a_lower_fallback_lowers_as_slowly_as_the_hpa_does(self) -> None:
        settings = params(fallback={"failure_threshold": 1, "replicas": 1, "behavior": "currentReplicasIfLower"})
        played = Played(spec(trigger()), settings)
        played.turns(3, queue=40)
        held = played.turns(10, queue=FAILED)
        assert held == [4] * 10
        assert played.turns(3, queue=FAILED)[-1] == 1

    def test_a_fallback_wakes_from_rest(self) -> None:
        played = Played(spec(trigger()), params(fallback={"failure_threshold": 2, "replicas": 4}))
        assert played.turns(5, queue=FAILED) == [0, 0, 1, 4, 4]

    def test_a_fallback_to_nothing_does_not_rest_before_its_threshold(self) -> None:
        settings = params(fallback={"failure_threshold": 100, "replicas": 0}, cooldown_seconds=0)
        played = Played(spec(trigger()), settings, replicas=2)
        assert played.turns(5, queue=FAILED) == [2] * 5

    def test_a_value_target_is_shared_by_the_ready_pods(self) -> None:
        settings = params(fallback={"failure_threshold": 0, "replicas": 6})
        played = Played(spec(trigger(threshold="10", kind="Value")), settings, replicas=3)
        assert played.turns(2, queue=FAILED)[-1] == 6


class TestModifiers:
    FORMULA: dict[str, Any] = {"formula": "(a + b) / 2", "target": 10}

    def test_one_number_takes_the_place_of_all(self) -> None:
        played = Played(spec(trigger("a"), trigger("b")), params(modifiers=self.FORMULA))
        # The mean of 90 and 10 is 50: five of 10 each, not the nine of trigger a alone.
        assert played.turns(4, a=90, b=10) == [1, 4, 5, 5]

    def test_it_has_an_activation_of_its_own(self) -> None:
        settings = params(modifiers={**self.FORMULA, "activation_target": 50})
        played = Played(spec(trigger("a"), trigger("b")), settings)
        assert played.turn(a=90, b=10) == 0
        assert played.turn(a=90, b=11) == 1

    def test_resource_metrics_stay_beside_it(self) -> None:
        settings = params(modifiers={"formula": "a", "target": 10})
        played = Played(spec(CPU_70, trigger("a")), settings, replicas=2)
        assert played.turn(also=cpu(1400, 1400), a=1) == 4

    def test_a_failed_trigger_fails_the_whole(self) -> None:
        played = Played(spec(trigger("a"), trigger("b")), params(modifiers=self.FORMULA), replicas=2)
        assert played.turns(20, a=90, b=FAILED) == [2] * 20

    def test_a_failed_trigger_is_nil_after_the_threshold(self) -> None:
        settings = params(
            modifiers={"formula": "a ?? b", "target": 10},
            fallback={"failure_threshold": 3, "replicas": 7, "behavior": "scalingModifiers"},
        )
        played = Played(spec(trigger("a"), trigger("b")), settings, replicas=1)
        assert played.turns(3, a=FAILED, b=30) == [1, 3, 3]
        # Nothing is left: the fallback's replicas.
        assert played.turns(5, a=FAILED, b=FAILED)[-1] == 7

    def test_another_fallback_is_that_of_the_composite(self) -> None:
        settings = params(modifiers=self.FORMULA, fallback={"failure_threshold": 1, "replicas": 5})
        played = Played(spec(trigger("a"), trigger("b")), settings, replicas=2)
        assert played.turns(5, a=FAILED, b=10)[-1] == 5

    def test_a_fallback_needs_a_whole_target(self) -> None:
        settings = params(modifiers={**self.FORMULA, "target": 2.5}, fallback={"failure_threshold": 0, "replicas": 5})
        played = Played(spec(trigger("a"), trigger("b")), settings, replicas=2)
        assert played.turns(5, a=FAILED, b=10) == [2] * 5

    def test_a_formula_that_cannot_be_evaluated_holds(self) -> None:
        played = Played(spec(trigger("a")), params(modifiers={"formula": "a / 0", "target": 1}), replicas=2)
        assert played.turns(20, a=1) == [2] * 20
        assert played.advice is not None
        assert played.advice.held

    def test_nil_without_a_fallback_holds(self) -> None:
        played = Played(spec(trigger("a")), params(modifiers={"formula": "nil", "target": 1}), replicas=2)
        assert played.turns(20, a=1) == [2] * 20

    def test_a_number_below_zero_asks_for_the_minimum(self) -> None:
        played = Played(
            spec(trigger("a"), minReplicas=1), params(modifiers={"formula": "0 - a", "target": 1}), replicas=4
        )
        assert played.turns(15, a=5)[-1] == 1

    def test_a_total_is_for_all_pods_together(self) -> None:
        settings = params(modifiers={"formula": "a", "target": 10, "metric_type": "Value"})
        played = Played(spec(trigger("a")), settings, replicas=2)
        assert played.turn(a=20) == 4


class TestPauses:
    def test_paused_stays_as_it_is(self) -> None:
        played = Played(spec(trigger()), params(paused=True), replicas=3)
        assert played.turns(3, queue=500) == [3, 3, 3]
        assert played.condition("Paused") == ("True", "ScaledObjectPaused")

    def test_paused_replicas_are_gone_to(self) -> None:
        assert Played(spec(trigger()), params(paused_replicas=0), replicas=3).turn(queue=500) == 0

    def test_pause_in_keeps_the_last_pod_and_all_others(self) -> None:
        played = Played(spec(trigger()), params(pause_in=True, cooldown_seconds=0), replicas=3)
        assert played.turns(20, queue=0) == [3] * 20
        assert played.turn(queue=50) == 5

    def test_pause_out_keeps_asleep_and_as_few(self) -> None:
        played = Played(spec(trigger()), params(pause_out=True))
        assert played.turns(3, queue=500) == [0, 0, 0]
        awake = Played(spec(trigger()), params(pause_out=True), replicas=3)
        assert awake.turns(3, queue=500) == [3, 3, 3]
        assert awake.turns(15, queue=10)[-1] == 1

    def test_a_pause_leaves_the_other_direction_as_written(self) -> None:
        behavior = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}}
        played = Played(spec(trigger(), behavior=behavior), params(pause_in=True), replicas=3)
        assert played.turns(2, queue=100) == [4, 5]

    def test_forced_activation_wakes_and_never_rests(self) -> None:
        played = Played(spec(trigger()), params(force_activation=True, cooldown_seconds=0))
        assert played.turns(20, queue=0) == [1] * 20


class TestTriggers:
    def test_cpu_alone_is_always_active(self) -> None:
        played = Played(spec(CPU_70, minReplicas=1), replicas=2)
        assert played.turn(also=cpu(1400, 1400)) == 4

    def test_without_any_trigger_the_default_of_the_hpa_holds(self) -> None:
        rules = spec(minReplicas=1)
        assert [each.kind for each in ENGINE.signals(Played(rules).shown({}).workload, rules, KedaParams())] == [
            SignalKind.POD_CPU
        ]
        assert Played(rules, replicas=2).turn(also=cpu(1600, 1600)) == 4

    def test_cron_asks_for_its_replicas_while_it_is_open(self) -> None:
        played = Played(spec(trigger(), schedules=[SALE]), params(cooldown_seconds=30))
        assert played.turn(queue=0) == 0
        assert played.turns(3, open_schedules=("sale",), queue=0) == [1, 4, 6]
        # Beside it the larger counts.
        assert played.turn(open_schedules=("sale",), queue=90) == 9
        assert played.turns(2, queue=0)[-1] == 0

    def test_cron_alone_rests_when_it_is_closed(self) -> None:
        rules = spec(schedules=[SALE])
        assert ENGINE.signals(Played(rules).shown({}).workload, rules, KedaParams()) == ()
        played = Played(rules, params(cooldown_seconds=30))
        assert played.turns(2, open_schedules=("sale",)) == [1, 4]
        assert played.turns(3)[-1] == 0

    def test_a_schedule_of_a_maximum_is_no_trigger(self) -> None:
        night = {"name": "night", "schedule": "0 22 * * *", "duration": "8h", "maxReplicas": 6}
        played = Played(spec(CPU_70, schedules=[night], minReplicas=1), replicas=2)
        assert played.turn(also=cpu(1400, 1400), open_schedules=("night",)) == 4

    def test_pods_of_a_selector(self) -> None:
        settings = params(workloads=[WORKERS])
        played = Played(spec(), settings)
        (count,) = ENGINE.counts(played.shown({}).workload, played.rules, settings)
        assert count.signal == Signal(KEY, SignalKind.POD_COUNT, "app=worker")
        assert played.turns(2, also={count.signal: Sample(17.0, NOW)}) == [1, 4]
        assert played.turns(13, also={count.signal: Sample(2.0, NOW)})[-1] == 1

    def test_nodes_of_pods_are_another_count(self) -> None:
        settings = params(workloads=[WORKERS, {**WORKERS, "name": "nodes", "group_by_node": True}])
        one, two = ENGINE.counts(Played(spec()).shown({}).workload, spec(), settings)
        assert (one.by_node, two.by_node) == (False, True)
        assert one.signal != two.signal

    def test_pods_that_were_not_counted_are_a_failure(self) -> None:
        played = Played(spec(), params(workloads=[WORKERS], cooldown_seconds=0), replicas=3)
        assert played.turns(20) == [3] * 20

    def test_an_external_metric_has_its_activation_in_the_parameters(self) -> None:
        played = Played(spec(QUEUE_10), params(activations={"queue": 5}))
        signal = Signal(KEY, SignalKind.EXTERNAL_METRIC, "queue")
        assert played.turn(also={signal: PodSamples((PodSample("", 5000, NOW),))}) == 0
        assert played.turns(2, also={signal: PodSamples((PodSample("", 35_000, NOW),))}) == [1, 4]

    def test_a_query_may_name_the_workload(self) -> None:
        rules = spec(trigger(query='lag{namespace="$namespace", app="$workload"}'))
        (signal,) = ENGINE.signals(Played(rules).shown({}).workload, rules, KedaParams())
        assert signal.name == 'lag{namespace="shop", app="web"}'
        assert Played(rules).turns(2, also={signal: Sample(20.0, NOW)}) == [1, 2]

    def test_two_triggers_of_one_name_are_refused(self) -> None:
        with pytest.raises(ValueError, match="two triggers are called 'queue'"):
            Played(spec(trigger(), QUEUE_10)).turn(queue=1)

    def test_a_selector_with_a_foreign_operator_is_refused(self) -> None:
        expressions = {"matchExpressions": [{"key": "app", "operator": "Like", "values": ["w"]}]}
        with pytest.raises(ValueError, match="'Like' is not valid; allowed: In, NotIn, Exists, DoesNotExist"):
            Played(spec(), params(workloads=[{**WORKERS, "selector": expressions}])).turn()


def test_equal_input_gives_equal_output() -> None:
    one, two = Played(spec(trigger())), Played(spec(trigger()))
    loads = [0, 5, 80, 80, 3, 0, 0, 40]
    assert [one.turn(queue=load) for load in loads] == [two.turn(queue=load) for load in loads]
    assert one.memory == two.memory
