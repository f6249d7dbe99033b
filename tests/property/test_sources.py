from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model.pod import Pod
from autoscaler.model.readings import Missing, MissingReason, Sample, Signal, SignalKind
from autoscaler.sources.answers import Answered, Labels, Point, RangeRow, Row, flaw_of, rows_of, samples_of
from autoscaler.sources.pod_readings import Measured, Moment, read_total
from autoscaler.sources.promql import unbalanced, union
from autoscaler.sources.tables import Members, fresh, pods_by_workload, table_of
from autoscaler.sources.user_queries import LONGEST_WAIT, UserQueries
from autoscaler.testing.builders import NOW, make_pod

WEB = "default/Deployment/web"
amounts = st.lists(st.floats(0, 1e6), min_size=1, max_size=12)
texts = st.one_of(st.floats().map(str), st.sampled_from(["NaN", "+Inf", "-Inf", "", "x", "1e400", "-0"]), st.text())


def moment(pods: Sequence[Pod], *, min_coverage: float = 0.8) -> Moment:
    by_workload = pods_by_workload(pods, {WEB})
    return Moment(at=NOW, window=120.0, resolution=30.0, min_coverage=min_coverage, pods=by_workload)


def total(pods: Sequence[Pod], values: Sequence[float], **options: float) -> Sample | Missing:
    rows = [Row(Labels("default", pod.name), Point(NOW, value)) for pod, value in zip(pods, values, strict=False)]
    table, taken = fresh(table_of(rows), None, at=NOW, stale_after=90.0)
    measured = Measured(table=table, taken=taken, what="cpu")
    reading = read_total(Signal(WEB, SignalKind.CPU), measured, moment(pods, **options))
    assert isinstance(reading, Sample | Missing)
    return reading


def read(written: Sequence[tuple[str, str, str]]) -> tuple[Row, ...]:
    """Return (pod, container, text of the value) as they come out of a server's answer."""
    series = [
        {"metric": {"namespace": "default", "pod": pod, "container": container}, "value": [NOW, text]}
        for pod, container, text in written
    ]
    return rows_of(Answered("vector", msgspec.Raw(msgspec.json.encode(series))))


@given(st.lists(texts, max_size=5))
def test_a_value_is_what_its_text_says_or_has_a_reason(written: list[str]) -> None:
    for text, row in zip(written, read([("web", "", text) for text in written]), strict=True):
        if flaw_of(row.value.number) is None:
            assert float(text) == row.value.number
            assert 0 <= row.value.number < float("inf")
        else:
            assert not 0 <= as_number(text) < float("inf")


def as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


@given(amounts, st.integers(0, 5), st.booleans())
def test_members_are_those_of_the_pods_asked_for(values: list[float], others: int, same: bool) -> None:
    pods = tuple(make_pod(f"web-{number}") for number in range(len(values)))
    members = Members()
    members.of(pods, frozenset({WEB}))
    asked = pods if same else pods[others:]
    assert members.of(asked, frozenset({WEB})) == pods_by_workload(asked, {WEB})
    assert members.of(asked, frozenset()) == {}


@given(amounts, st.integers(0, 12))
def test_a_sample_that_is_lacking_never_lowers_a_total_below_its_share(values: list[float], lacking: int) -> None:
    pods = [make_pod(f"web-{number}") for number in range(len(values) + lacking)]
    reading = total(pods, values)
    if len(values) < 0.8 * len(pods):
        assert isinstance(reading, Missing)
        assert reading.reason is MissingReason.PARTIAL
    else:
        assert isinstance(reading, Sample)
        assert reading.value >= sum(values) * (1 - 1e-9)
        mean = reading.value / len(pods)
        assert min(values) * (1 - 1e-9) <= mean <= max(values) * (1 + 1e-9)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "app"]), texts), max_size=12))
def test_a_pod_has_a_value_or_a_flaw_but_never_both(rows: list[tuple[str, str, str]]) -> None:
    table = table_of(read(rows))
    assert not table.values.keys() & table.flaws.keys()
    assert {f"default/{pod}" for pod, _, _ in rows} == table.values.keys() | table.flaws.keys()
    assert all(0 <= value < float("inf") for entry in table.values.values() for _, value in entry)


@given(st.lists(st.tuples(st.integers(0, 2**31), st.floats(0, 1e12)), max_size=50))
def test_samples_read_back_what_was_written(pairs: list[tuple[int, float]]) -> None:
    written = "[" + ",".join(f'[{time},"{value!r}"]' for time, value in pairs) + "]"
    times, values = samples_of(RangeRow(Labels(), msgspec.Raw(written.encode())))
    assert list(zip(times.tolist(), values.tolist(), strict=True)) == pairs


@given(st.text(alphabet="ab()[]{}\"'`\\#\n "))
def test_a_query_that_passes_cannot_close_what_is_around_it(query: str) -> None:
    if unbalanced(query) is None:
        assert unbalanced(union([query, "up"])) is None


@settings(max_examples=40)
@given(st.integers(1, 80), st.sets(st.integers(0, 79), max_size=6), st.integers(2, 9))
def test_good_queries_are_all_read_in_the_end_whatever_the_bad_ones(count: int, bad: set[int], room: int) -> None:
    queries = [f"q{number}" for number in range(count)]
    wrong = {f"q{number}" for number in bad}
    users, read = UserQueries(), set[str]()
    for cycle in range(60):
        read = _cycle(users, queries, wrong, at=float(cycle), room=room)
        if read == set(queries) - wrong:
            break
    assert read == set(queries) - wrong
    assert _cycle(users, queries, set(), at=60.0 + LONGEST_WAIT, room=99) == set(queries), "they are tried again"


def _cycle(users: UserQueries, queries: Sequence[str], wrong: set[str], *, at: float, room: int) -> set[str]:
    """Send as many groups as there is room for; return the queries that were answered."""
    answered: set[str] = set()
    queue = users.groups(queries, at=at)
    for _ in range(room):
        if not queue:
            break
        group = queue.pop(0)
        if wrong & set(group):
            queue += users.failed(group, "refused", at=at)
        else:
            users.answered(group)
            answered |= set(group)
    return answered
