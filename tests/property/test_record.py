"""What is written is read back, whatever it says; what is damaged is refused by name."""

from __future__ import annotations

import gzip
from contextlib import suppress

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import InputError
from autoscaler.model.node import Node, NodeGroup, NodeTemplate
from autoscaler.model.pod import Phase, Pod, PodShape, ReadyCondition, Resize, Termination
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Sample, Signal, SignalKind
from autoscaler.model.record import DecisionRecord
from autoscaler.model.resources import Resources
from autoscaler.model.snapshot import ClusterSnapshot, SeasonalModel, WorkloadModel
from autoscaler.model.state import DecisionState, NodeMemory
from autoscaler.model.workload import Workload
from autoscaler.planning.decide import decide
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.telemetry.record import decode_record, encode_record, encode_snapshot, record_of, unpacked
from tests.unit.planning.decisions import policies

RULES = policies()
texts = st.text(st.characters(codec="utf-8"), max_size=6)
numbers = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-(2**63), 2**64)
resources = st.dictionaries(st.sampled_from(["cpu", "memory", "x/y"]), whole, max_size=3).map(Resources.of)
shapes = st.builds(PodShape, namespace=texts, labels=st.just((("app", "ä"),)), overhead=resources, priority=whole)
pods = st.builds(
    Pod,
    name=texts,
    shape=shapes,
    phase=st.sampled_from(Phase),
    ready=st.one_of(st.none(), st.builds(ReadyCondition, texts, numbers)),
    resize=st.one_of(st.none(), st.builds(Resize, state=texts, since=numbers)),
    terminations=st.lists(
        st.builds(Termination, container=texts, reason=texts, started_at=numbers, finished_at=numbers), max_size=2
    ).map(tuple),
    deleted_at=st.one_of(st.none(), numbers),
)
samples = st.lists(st.builds(PodSample, texts, whole, numbers), max_size=2).map(lambda each: PodSamples(tuple(each)))
readings = st.tuples(
    st.builds(Signal, texts, st.sampled_from(SignalKind), texts),
    st.one_of(st.builds(Sample, numbers, numbers), st.builds(Missing, st.sampled_from(MissingReason)), samples),
)
templates = st.builds(NodeTemplate, instance_type=texts, allocatable=resources)
models = st.builds(
    WorkloadModel,
    workload=texts,
    fitted_at=numbers,
    season=st.builds(SeasonalModel, peak=st.binary(max_size=9), quantiles=st.just(((1.0, 0.5, -0.1),))),
)
snapshots = st.builds(
    ClusterSnapshot,
    observed_at=numbers,
    pods=st.lists(pods, max_size=4).map(tuple),
    nodes=st.lists(st.builds(Node, name=texts, allocatable=resources), max_size=2).map(tuple),
    node_groups=st.lists(
        st.builds(NodeGroup, name=texts, template=templates, target_size=whole, usd_per_hour=numbers), max_size=2
    ).map(tuple),
    workloads=st.lists(
        st.builds(Workload, namespace=texts, kind=texts, name=texts, replicas=whole, template=shapes), max_size=2
    ).map(tuple),
    readings=st.lists(readings, max_size=3).map(tuple),
    models=st.lists(models, max_size=2).map(tuple),
)
states = st.builds(DecisionState, nodes=st.lists(st.builds(NodeMemory, node=texts), max_size=2).map(tuple))


@settings(max_examples=120, deadline=None)
@given(snapshots, states, st.booleans())
def test_what_is_written_is_read_back(snapshot: ClusterSnapshot, state: DecisionState, packed: bool) -> None:
    decision = decide(ClusterSnapshot(observed_at=0.0), RULES, state)
    record = DecisionRecord(version=1, snapshot=snapshot, policies=RULES, state=state, decision=decision)
    data = encode_record(record)
    read = record_of(decode_record(gzip.compress(data) if packed else data, where="f", engines=BUILT_IN))
    assert msgspec.structs.replace(read, digest="") == record
    assert encode_record(read) == data


@settings(max_examples=150, deadline=None)
@given(snapshots, st.data())
def test_damaged_bytes_are_refused_or_read(snapshot: ClusterSnapshot, draw: st.DataObject) -> None:
    data = encode_snapshot(snapshot, RULES)
    data = gzip.compress(data, mtime=0) if draw.draw(st.booleans()) else data
    at = draw.draw(st.integers(0, len(data)))
    damaged = data[:at] + draw.draw(st.binary(max_size=3)) + data[at + draw.draw(st.integers(0, 3)) :]
    with suppress(InputError):
        decode_record(damaged, where="f", engines=BUILT_IN)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_unpack_or_are_refused(data: bytes) -> None:
    for given_bytes in (data, b"\x1f\x8b" + data):
        with suppress(InputError):
            unpacked(given_bytes, where="f")
