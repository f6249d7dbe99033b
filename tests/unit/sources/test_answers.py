from __future__ import annotations

import msgspec
import numpy as np
import pytest

from autoscaler.sources.answers import (
    BadAnswerError,
    Labels,
    RangeRow,
    decode_answer,
    error_text,
    rows_of,
    samples_of,
    series_of,
)

EMPTY = b'{"status":"success","data":{"resultType":"vector","result":[]}}'


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b'{"status":"error","error":"no"}', id="an-error-with-200"),
        pytest.param(b"\xff", id="no-text"),
        pytest.param(EMPTY[:-3], id="cut-off"),
    ],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(BadAnswerError):
        decode_answer(body)


def test_a_native_histogram_has_no_value() -> None:
    body = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"a"},"histogram":[1,{}]}]}}'
    (row,) = rows_of(decode_answer(body))
    assert np.isnan(row.value.number)


@pytest.mark.parametrize("kind", ["string", "matrix", ""])
def test_only_numbers_are_rows(kind: str) -> None:
    body = msgspec.json.encode({"status": "success", "data": {"resultType": kind, "result": []}})
    with pytest.raises(BadAnswerError):
        rows_of(decode_answer(body))


def test_a_vector_is_no_history() -> None:
    with pytest.raises(BadAnswerError):
        series_of(decode_answer(EMPTY))


def test_samples_with_spaces_are_read() -> None:
    times, values = samples_of(RangeRow(Labels(), msgspec.Raw(b'[[1.5, "2"], [2.5, "+Inf"]]')))
    assert times.tolist() == [1.5, 2.5]
    assert values[0] == 2.0
    assert np.isnan(values[1])


@pytest.mark.parametrize("raw", [b'[[1,"x"]]', b'[[1,"2"],[3]]'])
def test_a_damaged_sample_is_refused(raw: bytes) -> None:
    with pytest.raises(BadAnswerError):
        samples_of(RangeRow(Labels(), msgspec.Raw(raw)))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(b'{"status":"error","errorType":"bad_data","error":"no"}', "bad_data: no", id="the-apis-error"),
        pytest.param(b"<html>\nmuch", "<html>", id="the-first-line-of-a-page"),
        pytest.param(b"", "", id="nothing"),
    ],
)
def test_error_text(body: bytes, text: str) -> None:
    assert error_text(body) == text
