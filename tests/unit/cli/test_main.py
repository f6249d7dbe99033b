from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Sequence

import pytest

from autoscaler import __version__
from autoscaler.cli.exits import Exit
from autoscaler.cli.main import COMMANDS, build_parser, main
from autoscaler.cli.output import colour_on, dumps, paint, table


def _run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autoscaler", *arguments], input=stdin, capture_output=True, text=True, check=False
    )


def test_help_imports_none_of_the_commands_and_no_library() -> None:
    code = (
        "import sys; from autoscaler.cli.main import build_parser; build_parser(None).format_help(); "
        "print(*sorted(name for name in sys.modules if '.' not in name or name.startswith('autoscaler.')))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = [name for name in loaded if name.startswith("autoscaler.")]
    assert ours == ["autoscaler.cli", "autoscaler.cli.exits", "autoscaler.cli.main", "autoscaler.errors"]
    assert not {"asyncio", "msgspec", "numpy", "yaml", "aiohttp"} & set(loaded)
    assert len(loaded) < 90


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"autoscaler {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nope"],
        ["policy"],
        ["policy", "check"],
        ["policy", "list", "--output", "x"],
        ["backtest", "tiny", "--seeds", "x"],
        ["backtest", "tiny", "--no-such-option"],
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == Exit.INPUT
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.endswith("--help)\n")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        build_parser(command).parse_args([command, "--help"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: autoscaler {command}")


def test_bad_input_is_one_line_on_standard_error() -> None:
    done = _run("policy", "test", "no-such-folder")
    assert (done.returncode, done.stdout) == (Exit.INPUT, "")
    assert done.stderr.splitlines() == [
        "autoscaler policy: no-such-folder: 'no-such-folder' is not valid; "
        "allowed: a folder of policy packs, each with a policy.yaml"
    ]


def test_a_reader_that_goes_away_is_not_an_error_of_ours() -> None:
    command = f"{sys.executable} -m autoscaler policy schema | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {str(Exit.PIPE.value), "0"}
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_one_line() -> None:
    command = f"{sys.executable} -m autoscaler policy list >/dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == Exit.LATER
    assert done.stderr == "autoscaler policy: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    ("rows", "header", "lines"),
    [
        pytest.param([], (), [""], id="nothing"),
        pytest.param([("a", 1), ("bcd", 22)], ("x", "n"), ["x     n", "a     1", "bcd  22"], id="right"),
        pytest.param([("日本", 1), ("ab", 2)], (), ["日本  1", "ab    2"], id="wide-signs"),
        pytest.param([(paint("ok", "green"), 1), ("abc", 2)], (), ["\x1b[32mok\x1b[0m   1", "abc  2"], id="colours"),
        pytest.param([("a",), ("b", 1)], (), ["a", "b  1"], id="short-rows"),
    ],
)
def test_table(rows: Sequence[Sequence[object]], header: Sequence[str], lines: list[str]) -> None:
    assert table(rows, header=header, right=(1,)).split("\n") == lines


def test_no_colour_where_there_is_no_terminal() -> None:
    assert not colour_on(io.StringIO())
    assert paint("x", "red", on=False) == "x"


def test_dumps() -> None:
    assert dumps({"mode": "Off", "n": 1}, "json") == '{\n  "mode": "Off",\n  "n": 1\n}\n'
    assert dumps({"mode": "Off", "n": 1}, "yaml") == "mode: 'Off'\nn: 1\n"
    with pytest.raises(ValueError, match="json or yaml"):
        dumps({}, "xml")
