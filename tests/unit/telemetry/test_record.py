from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest

from autoscaler.errors import InputError
from autoscaler.model.policy import Policies
from autoscaler.model.record import DecisionRecord
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.model.spec import Duration
from autoscaler.model.state import DecisionState, WorkloadMemory
from autoscaler.planning.decide import decide
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.telemetry import record as module
from autoscaler.telemetry.record import (
    RecordFile,
    decode_record,
    digest_of,
    encode_decision,
    encode_record,
    encode_snapshot,
    record_of,
    unpacked,
)
from autoscaler.testing.builders import NOW
from tests.unit.planning.decisions import cluster, mpa, policies

RULES = msgspec.structs.replace(policies(), mpas=(mpa("web", goals={"slo": {"latency": {"target": "250ms"}}}),))


def made() -> DecisionRecord:
    snapshot = cluster({"api": (3, 3.0), "cart": (2, None), "web": (2, 0.7)}, waiting=1)
    state = decide(snapshot, RULES, DecisionState()).state
    decision = decide(snapshot, RULES, state)
    return DecisionRecord(
        version=1,
        snapshot=snapshot,
        policies=RULES,
        state=state,
        decision=decision,
        digest=digest_of(snapshot, RULES, state),
    )


def read(data: bytes) -> RecordFile:
    return decode_record(data, where="file.json", engines=BUILT_IN)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
def test_what_is_written_is_read_back(*, packed: bool) -> None:
    record = made()
    data = encode_record(record)
    assert record_of(read(gzip.compress(data) if packed else data)) == record


def test_equal_records_give_equal_bytes_and_replay_to_them() -> None:
    record = made()
    data = encode_record(record)
    assert encode_record(made()) == data
    again = record_of(read(data))
    assert encode_record(again) == data
    assert encode_decision(decide(again.snapshot, again.policies, again.state)) == encode_decision(record.decision)


def test_siblings_share_one_shape() -> None:
    data = encode_record(made())
    assert len(json.loads(data)["shapes"]) == 3
    snapshot = read(data).snapshot
    web = [pod for pod in snapshot.pods if pod.workload.endswith("/web")]
    assert web[0].shape is web[1].shape
    assert web[0].shape is next(w for w in snapshot.workloads if w.name == "web").template


def test_memories_come_back_as_their_engine_s_own() -> None:
    record = record_of(read(encode_record(made())))
    memories = (*record.state.workloads, *record.decision.state.workloads)
    assert all(isinstance(each.memory, BUILT_IN[each.engine].Memory) for each in memories)


def test_a_memory_of_an_unknown_engine_is_kept_as_it_is() -> None:
    odd = WorkloadMemory(workload="w", engine="plug-in", memory={"a": 1})
    record = msgspec.structs.replace(made(), state=DecisionState(workloads=(odd,)))
    assert read(encode_record(record)).state.workloads == (odd,)


def test_a_snapshot_alone_is_a_record_without_a_decision() -> None:
    snapshot = made().snapshot
    file = read(encode_snapshot(snapshot, RULES))
    assert (file.snapshot, file.policies, file.decision) == (snapshot, RULES, None)
    with pytest.raises(ValueError, match="without a decision"):
        record_of(file)


def test_the_digest_is_of_all_inputs_and_of_nothing_else() -> None:
    record = made()
    digest = digest_of(record.snapshot, record.policies, record.state)
    assert read(encode_record(record)).digest == digest
    others = [
        digest_of(msgspec.structs.replace(record.snapshot, observed_at=NOW + 1), record.policies, record.state),
        digest_of(record.snapshot, Policies(), record.state),
        digest_of(record.snapshot, record.policies, DecisionState()),
    ]
    assert len({digest, *others}) == 4


@pytest.mark.parametrize("text", ["90s", "1h30m15s", "1d2h3m4s", "1.5s", "250ms", "0.123s", "1us", "0"])
def test_durations_of_policies_are_written_exactly(text: str) -> None:
    document = {"slo": {"latency": {"target": text}}}
    rules = Policies(mpas=(mpa("web", goals=document),))
    file = read(encode_snapshot(ClusterSnapshot(observed_at=NOW), rules))
    assert file.policies == rules
    slo = file.policies.mpas[0].spec.goals.slo
    assert slo is not None
    assert slo.latency is not None
    assert slo.latency.target == Duration(text)


def broken(**changes: Any) -> bytes:
    return json.dumps({**json.loads(encode_record(made())), **changes}).encode()


@pytest.mark.parametrize(
    ("data", "path", "allowed"),
    [
        pytest.param(b"", "", "decision record", id="empty"),
        pytest.param(b"{", "", "decision record", id="cut-off"),
        pytest.param(b"[]", "", "decision record", id="a-list"),
        pytest.param(b"\xff\xfe{}", "", "decision record", id="not-text"),
        pytest.param(b"[" * 100_000, "", "decision record", id="too-deep"),
        pytest.param(b'{"version": 1}', "", "decision record", id="fields-are-missing"),
        pytest.param(broken(extra=1), "", "decision record", id="an-unknown-field"),
        pytest.param(broken(version=2), "$.version", "1", id="another-version"),
        pytest.param(broken(version="1"), "$.version", "decision record", id="a-version-of-the-wrong-type"),
        pytest.param(broken(shapes=[]), "$.pods[0].shape", "0 to -1", id="a-shape-that-is-not-there"),
        pytest.param(gzip.compress(b"{}")[:-4], "", "a whole gzip file", id="a-part-of-a-gzip-file"),
        pytest.param(b"\x1f\x8bnonsense", "", "a whole gzip file", id="not-really-gzip"),
        pytest.param(gzip.compress(b"x" * 99)[:20] + b"\x00" * 20, "", "gzip", id="damaged-gzip"),
    ],
)
def test_what_is_no_record_is_refused_by_name(data: bytes, path: str, allowed: str) -> None:
    with pytest.raises(InputError) as caught:
        read(data)
    assert (caught.value.where, caught.value.path) == ("file.json", path)
    assert allowed in caught.value.allowed
    assert "\n" not in str(caught.value)


def test_a_memory_that_does_not_fit_its_engine_is_refused() -> None:
    data = json.loads(encode_record(made()))
    data["state"]["workloads"][0]["memory"]["wanted"] = "many"
    with pytest.raises(InputError, match="state of default/Deployment/api"):
        read(json.dumps(data).encode())


def test_a_small_file_may_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    assert unpacked(gzip.compress(b"x" * 1000), where="f") == b"x" * 1000
    with pytest.raises(InputError, match="1000 bytes when decompressed"):
        unpacked(gzip.compress(b"x" * 1001), where="f")
