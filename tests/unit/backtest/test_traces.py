import gzip
from pathlib import Path

import numpy as np
import pytest

from autoscaler.backtest.schema import Gaps, SeriesLoad
from autoscaler.backtest.traces import Field, Grid, data_folders, find_file, read_columns, resample, series_on_grid
from autoscaler.errors import ScenarioError
from autoscaler.model.spec import Duration

FIELD = Field("s.yaml", "workloads[0].load.series")
GRID = Grid(start=1_767_571_200.0, step=30.0, history=4, length=8)


def write(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        pytest.param(30.0, [1, 1, 3, 3], id="shorter-steps-hold"),
        pytest.param(60.0, [1, 3], id="equal-steps-copy"),
        pytest.param(120.0, [2], id="longer-steps-average"),
    ],
)
def test_resample_keeps_the_integral(step: float, expected: list[float]) -> None:
    edges = np.arange(0, 120 + step, step)
    result = resample(np.array([0.0, 60.0]), np.array([1.0, 3.0]), edges, repeat=False)
    assert result.tolist() == expected


def test_resample_repeats_a_trace() -> None:
    edges = np.arange(-120.0, 181.0, 60.0)
    result = resample(np.array([0.0, 60.0]), np.array([1.0, 3.0]), edges, repeat=True)
    assert result.tolist() == [1, 3, 1, 3, 1]


def rows(values: list[str], interval: int = 60) -> str:
    return "ts,value\n" + "".join(f"{i * interval},{value}\n" for i, value in enumerate(values))


@pytest.mark.parametrize(
    ("gaps", "filled"),
    [
        pytest.param(Gaps.HOLD, 60.0, id="hold"),
        pytest.param(Gaps.ZERO, 0.0, id="zero"),
        pytest.param(Gaps.LINEAR, 90.0, id="linear"),
    ],
)
def test_a_missing_or_unusable_row_is_a_gap(tmp_path: Path, gaps: Gaps, filled: float) -> None:
    path = write(tmp_path, rows(["60", "60", "60", "nan", "120", "-5"]), "trace.csv.gz")
    load = SeriesLoad(file="trace.csv.gz", gaps=gaps, per=Duration("1m"))
    result = series_on_grid(load, path, GRID, FIELD)
    assert result[:6].tolist() == [1, 1, 1, 1, 1, 1]
    assert result[6] == filled / 60


def test_rows_of_one_time_add_up(tmp_path: Path) -> None:
    path = write(tmp_path, "second,value\n0,1\n0,2\n360,4\n720,4\n")
    result = series_on_grid(SeriesLoad(file="trace.csv"), path, GRID, FIELD)
    assert result[0] == 3


def test_peak_scales_the_top(tmp_path: Path) -> None:
    path = write(tmp_path, rows([str(i) for i in range(10)]))
    result = series_on_grid(SeriesLoad(file="trace.csv", peak=100.0), path, GRID, FIELD)
    assert np.quantile(result, 0.999) == pytest.approx(100.0)


def test_at_names_the_time_of_the_start(tmp_path: Path) -> None:
    text = "when,value\n" + "".join(f"2020-01-01 00:{m:02d}:00,{m}\n" for m in range(30))
    path = write(tmp_path, text)
    by_date = series_on_grid(SeriesLoad(file="trace.csv", at="2020-01-01T00:10:00"), path, GRID, FIELD)
    by_offset = series_on_grid(SeriesLoad(file="trace.csv", at="10m"), path, GRID, FIELD)
    assert by_date[GRID.history] == 10
    assert by_date.tolist() == by_offset.tolist()


@pytest.mark.parametrize(
    ("text", "load", "path", "allowed"),
    [
        pytest.param(rows(["1"] * 3), SeriesLoad(file="f"), ".at", "covers", id="too-short"),
        pytest.param(rows(["1"] * 9), SeriesLoad(file="f", column="nope"), ".column", "ts, value", id="no-such-column"),
        pytest.param(rows(["x"] * 9), SeriesLoad(file="f"), "", "values of at least 0", id="no-numbers"),
        pytest.param("ts,value\n", SeriesLoad(file="f"), "", "at least one row", id="no-rows"),
        pytest.param("a,a\n1,2\n", SeriesLoad(file="f"), "", "each once", id="a-column-twice"),
        pytest.param("ts,value\n1,2,3\n", SeriesLoad(file="f"), "", "cells a row", id="a-cell-too-many"),
        pytest.param(rows(["1"] * 9), SeriesLoad(file="f", at="noon"), ".at", "ISO 8601", id="not-a-time"),
        pytest.param("ts,value\n0,1\n1,1\n2,1\n9e9,1\n", SeriesLoad(file="f"), ".time", "gap", id="an-endless-gap"),
    ],
)
def test_unusable_traces_name_the_field(tmp_path: Path, text: str, load: SeriesLoad, path: str, allowed: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ScenarioError) as error:
        series_on_grid(load, file, GRID, FIELD)
    assert error.value.path == FIELD.path + path
    assert allowed in error.value.allowed


def test_a_broken_archive_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(b"ts,value\n" + b"1,1\n" * 1000)[:-20])
    with pytest.raises(ScenarioError, match="readable CSV"):
        read_columns(path, FIELD)


@pytest.mark.parametrize("name", ["/etc/passwd", "../trace.csv", "nowhere.csv", "a\0b"])
def test_files_are_found_in_the_folders_only(tmp_path: Path, name: str) -> None:
    write(tmp_path, rows(["1"]))
    with pytest.raises(ScenarioError):
        find_file(name, (tmp_path / "below", tmp_path), FIELD)


def test_the_scenario_folder_comes_first(tmp_path: Path) -> None:
    folders = data_folders(tmp_path, {"AUTOSCALER_DATA": str(tmp_path / "data")})
    assert folders[:2] == (tmp_path, tmp_path / "data")
    here = write(tmp_path, rows(["1"]), "nyc_taxi_2014-07-07_to_07-20.csv.gz")
    assert find_file(here.name, folders, FIELD) == here
