"""
What every implementation of a Protocol has to hold to, for plug-ins as well as for our own.

Each suite is a mapping from a rule's name to a coroutine function that raises
AssertionError, with what was expected, where the rule is broken. With pytest:

    @pytest.mark.parametrize("rule", CLOUD_PROVIDER.values(), ids=CLOUD_PROVIDER)
    async def test_contract(rule: CloudProviderRule) -> None:
        await rule(my_provider())

Give every rule a fresh subject: some change it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from autoscaler.errors import AutoscalerError, ConflictError
from autoscaler.interfaces import Actuator, CloudProvider, MetricsSource
from autoscaler.model.node import NodeGroup
from autoscaler.model.plan import Plan
from autoscaler.model.readings import Missing, PodSamples, Sample, Signal

CloudProviderRule = Callable[[CloudProvider], Awaitable[None]]


class MetricsCase(msgspec.Struct, frozen=True, kw_only=True):
    """A source that has at least one sample of each signal in `present` at `at`, and knows nothing of `absent`."""

    source: MetricsSource
    at: float
    present: tuple[Signal, ...]
    absent: Signal


class ActuatorCase(msgspec.Struct, frozen=True, kw_only=True):
    """
    An actuator and two plans for it; *state* reads, as a comparable value, all that they could change.

    All actions of `good` can be carried out; the first of `mixed` cannot, the
    others can. `writes` is False for an actuator that only records.
    """

    actuator: Actuator
    good: Plan
    mixed: Plan
    state: Callable[[], Awaitable[Any]]
    writes: bool = True


MetricsRule = Callable[[MetricsCase], Awaitable[None]]
ActuatorRule = Callable[[ActuatorCase], Awaitable[None]]


async def _groups_have_unique_names_in_order(provider: CloudProvider) -> None:
    names = [group.name for group in await provider.list_node_groups()]
    assert names, "the provider under test must have at least one group"
    assert names == sorted(set(names)), f"groups must be sorted by unique names, got {names}"


async def _listing_changes_nothing(provider: CloudProvider) -> None:
    assert list(await provider.list_node_groups()) == list(await provider.list_node_groups()), "two looks differ"


async def _groups_say_what_they_are(provider: CloudProvider) -> None:
    for group in await provider.list_node_groups():
        assert 0 <= group.min_size <= group.max_size, f"{group.name}: bounds are {group.min_size}..{group.max_size}"
        assert group.target_size >= 0, f"{group.name}: target size is {group.target_size}"
        assert math.isfinite(group.usd_per_hour), f"{group.name}: price is {group.usd_per_hour}"
        assert group.usd_per_hour >= 0, f"{group.name}: price is {group.usd_per_hour}"
        assert group.template.allocatable.cpu > 0, f"{group.name}: its nodes have no cpu"
        assert group.template.allocatable.memory > 0, f"{group.name}: its nodes have no memory"


async def _each_group_lists_its_instance_type(provider: CloudProvider) -> None:
    for group in await provider.list_node_groups():
        names = [kind.name for kind in await provider.list_instance_types(group.name)]
        assert group.template.instance_type in names, f"{group.name}: {group.template.instance_type} not in {names}"


async def _growing_sets_the_absolute_size(provider: CloudProvider) -> None:
    group = await _with_room(provider)
    await provider.set_target_size(group.name, group.target_size + 1, expected=group.target_size)
    assert await _size(provider, group.name) == group.target_size + 1


async def _a_repeated_call_adds_nothing(provider: CloudProvider) -> None:
    group = await _with_room(provider)
    wanted = group.target_size + 1
    await provider.set_target_size(group.name, wanted, expected=group.target_size)
    await _refused(provider.set_target_size(group.name, wanted, expected=group.target_size), ConflictError)
    assert await _size(provider, group.name) == wanted


async def _an_unexpected_size_is_a_conflict(provider: CloudProvider) -> None:
    group = await _with_room(provider)
    call = provider.set_target_size(group.name, group.target_size + 1, expected=group.target_size + 5)
    await _refused(call, ConflictError)
    assert await _size(provider, group.name) == group.target_size


async def _bounds_are_kept(provider: CloudProvider) -> None:
    group = await _with_room(provider)
    for size in (group.max_size + 1, group.min_size - 1):
        await _refused(provider.set_target_size(group.name, size, expected=group.target_size), AutoscalerError)
    assert await _size(provider, group.name) == group.target_size


async def _an_unknown_group_is_refused(provider: CloudProvider) -> None:
    await _refused(provider.set_target_size("no-such-group", 1, expected=0), AutoscalerError)


async def _an_unknown_instance_is_refused(provider: CloudProvider) -> None:
    group = await _with_room(provider)
    call = provider.delete_instances(group.name, ["no-such-instance"], expected=group.target_size)
    await _refused(call, AutoscalerError)
    assert await _size(provider, group.name) == group.target_size


async def _deleting_nothing_changes_nothing(provider: CloudProvider) -> None:
    group = await _with_room(provider)
    await provider.delete_instances(group.name, [], expected=group.target_size)
    assert await _size(provider, group.name) == group.target_size


async def _closing_twice_is_fine(provider: CloudProvider) -> None:
    await provider.aclose()
    await provider.aclose()


async def _every_signal_is_answered(case: MetricsCase) -> None:
    signals = (*case.present, case.absent)
    readings = await case.source.read(signals, case.at)
    assert set(readings) == set(signals), "each signal asked for, and no other, has a reading"


async def _what_is_there_is_read(case: MetricsCase) -> None:
    readings = await case.source.read(case.present, case.at)
    for signal, reading in readings.items():
        assert not isinstance(reading, Missing), f"{signal} must be present, got {reading}"


async def _what_is_not_there_is_missing(case: MetricsCase) -> None:
    reading = (await case.source.read([case.absent], case.at))[case.absent]
    assert isinstance(reading, Missing), f"{case.absent} must be Missing, got {reading}"


async def _values_are_finite_and_not_negative(case: MetricsCase) -> None:
    for signal, reading in (await case.source.read(case.present, case.at)).items():
        for value in _values(reading):
            assert math.isfinite(value), f"{signal}: {value}"
            assert value >= 0, f"{signal}: {value}"


async def _nothing_comes_from_the_future(case: MetricsCase) -> None:
    for signal, reading in (await case.source.read(case.present, case.at)).items():
        for at in _times(reading):
            assert at <= case.at, f"{signal}: taken at {at}, read at {case.at}"


async def _reading_twice_gives_the_same(case: MetricsCase) -> None:
    first = dict(await case.source.read(case.present, case.at))
    assert dict(await case.source.read(case.present, case.at)) == first


async def _no_signals_give_no_readings(case: MetricsCase) -> None:
    assert not await case.source.read([], case.at)


async def _a_time_without_data_is_missing(case: MetricsCase) -> None:
    for signal, reading in (await case.source.read(case.present, 0.0)).items():
        assert isinstance(reading, Missing), f"{signal} in 1970 must be Missing, got {reading}"


async def _history_is_regular(case: MetricsCase) -> None:
    start, step = case.at - 600.0, 60.0
    for signal in (*case.present, case.absent):
        series = await case.source.history(signal, start, case.at, step)
        assert (series.start, series.step) == (start, step), f"{signal}: {series.start}, {series.step}"
        assert abs(len(series.values) - 10) <= 1, f"{signal}: {len(series.values)} values for ten steps"
        known = series.values[~np.isnan(series.values)]
        assert (np.isfinite(known) & (known >= 0)).all(), f"{signal}: {known}"


async def _history_of_nothing_is_all_gaps(case: MetricsCase) -> None:
    series = await case.source.history(case.absent, case.at - 600.0, case.at, 60.0)
    assert np.isnan(series.values).all()


async def _one_outcome_for_each_action(case: ActuatorCase) -> None:
    outcomes = await case.actuator.apply(case.good)
    assert [outcome.action for outcome in outcomes] == list(case.good.actions)
    wanted = "done" if case.writes else "held"
    assert {outcome.result for outcome in outcomes} == {wanted}, [outcome.message for outcome in outcomes]


async def _an_empty_plan_does_nothing(case: ActuatorCase) -> None:
    before = await case.state()
    assert not await case.actuator.apply(Plan())
    assert await case.state() == before


async def _a_failure_does_not_stop_the_rest(case: ActuatorCase) -> None:
    before = await case.state()
    first, *rest = await case.actuator.apply(case.mixed)
    if not case.writes:
        assert {first.result, *(outcome.result for outcome in rest)} == {"held"}
        return
    assert first.result == "failed"
    assert first.message, "a failure says why"
    assert {outcome.result for outcome in rest} == {"done"}, [outcome.message for outcome in rest]
    assert await case.state() != before


async def _twice_is_once(case: ActuatorCase) -> None:
    before = await case.state()
    await case.actuator.apply(case.good)
    once = await case.state()
    assert (once != before) == case.writes, "only an actuator that writes changes anything"
    await case.actuator.apply(case.good)
    assert await case.state() == once


async def _advice_is_never_carried_out(case: ActuatorCase) -> None:
    before = await case.state()
    assert not await case.actuator.apply(Plan(advised=case.good.actions))
    assert await case.state() == before


def _suite(*rules: Callable[[Any], Awaitable[None]]) -> Mapping[str, Callable[[Any], Awaitable[None]]]:
    return {rule.__name__.strip("_").replace("_", "-"): rule for rule in rules}


CLOUD_PROVIDER: Mapping[str, CloudProviderRule] = _suite(
    _groups_have_unique_names_in_order,
    _listing_changes_nothing,
    _groups_say_what_they_are,
    _each_group_lists_its_instance_type,
    _growing_sets_the_absolute_size,
    _a_repeated_call_adds_nothing,
    _an_unexpected_size_is_a_conflict,
    _bounds_are_kept,
    _an_unknown_group_is_refused,
    _an_unknown_instance_is_refused,
    _deleting_nothing_changes_nothing,
    _closing_twice_is_fine,
)
METRICS_SOURCE: Mapping[str, MetricsRule] = _suite(
    _every_signal_is_answered,
    _what_is_there_is_read,
    _what_is_not_there_is_missing,
    _values_are_finite_and_not_negative,
    _nothing_comes_from_the_future,
    _reading_twice_gives_the_same,
    _no_signals_give_no_readings,
    _a_time_without_data_is_missing,
    _history_is_regular,
    _history_of_nothing_is_all_gaps,
)
ACTUATOR: Mapping[str, ActuatorRule] = _suite(
    _one_outcome_for_each_action,
    _an_empty_plan_does_nothing,
    _a_failure_does_not_stop_the_rest,
    _twice_is_once,
    _advice_is_never_carried_out,
)


async def _with_room(provider: CloudProvider) -> NodeGroup:
    for group in await provider.list_node_groups():
        if group.target_size < group.max_size:
            return group
    raise AssertionError("the provider under test must have a group below its maximum")


async def _size(provider: CloudProvider, name: str) -> int:
    return next(group.target_size for group in await provider.list_node_groups() if group.name == name)


async def _refused(call: Awaitable[None], error: type[AutoscalerError]) -> None:
    try:
        await call
    except error:
        return
    raise AssertionError(f"the call must be refused with {error.__name__}")


def _values(reading: object) -> Sequence[float]:
    if isinstance(reading, Sample):
        return (reading.value,)
    return [sample.value for sample in reading.samples] if isinstance(reading, PodSamples) else ()


def _times(reading: object) -> Sequence[float]:
    if isinstance(reading, Sample):
        return (reading.at,)
    return [sample.at for sample in reading.samples] if isinstance(reading, PodSamples) else ()
