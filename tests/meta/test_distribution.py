"""The distribution says what the tree holds."""

from __future__ import annotations

import configparser
import re

from autoscaler.recommend.engines import BUILT_IN
from tests.meta.sources import PACKAGE, ROOT

CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")


def _lines(section: str, option: str) -> list[str]:
    return [line for line in CONFIG[section][option].splitlines() if line]


def test_all_packages_are_listed() -> None:
    folders = {path.parent for path in PACKAGE.rglob("__init__.py")}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(_lines("options", "packages")) == found | {"autoscaler.policies"}


def test_the_engines_are_entry_points() -> None:
    given = dict(line.split(" = ") for line in _lines("options.entry_points", "autoscaler.recommenders"))
    assert given == {name: f"{type(each).__module__}:{type(each).__name__}" for name, each in BUILT_IN.items()}


def test_all_is_all_extras_for_users() -> None:
    extras = dict(CONFIG["options.extras_require"])
    everything = set(_lines("options.extras_require", "all"))
    assert everything == {
        need for name in extras if name not in ("all", "dev") for need in _lines("options.extras_require", name)
    }


def test_the_lock_pins_each_need_with_hashes_and_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {name.lower().replace("_", "-") for name in re.findall(r"^([A-Za-z0-9_.-]+)==", lock, re.MULTILINE)}
    needs = _lines("options", "install_requires")
    for extra in ("aws", "forecast", "backtest", "ui", "dev"):
        needs += _lines("options.extras_require", extra)
    wanted = {re.split(r"[<>=!~ []", need)[0].lower().replace("_", "-") for need in needs}
    assert wanted <= locked
    assert "highspy==1.16.0" not in lock
    assert not re.search(r"https?://|--index|--find-links|file:", lock)
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock)
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)


def test_make_targets_are_one_line_each() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line.startswith("\t") or line.endswith("\\")]
    targets = {line.split(":")[0] for line in lines if re.match(r"[a-z]+:", line)}
    assert {"demo", "check", "test", "bench"} <= targets


def test_the_readme_shows_two_set_up_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Set up")[1].split("##")[0]
    assert re.findall(r"^    (make \w+)", section, re.MULTILINE) == ["make demo", "make test"]
