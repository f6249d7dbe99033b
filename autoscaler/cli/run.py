"""`autoscaler run`: the controller on a cluster, until it is told to stop."""

from __future__ import annotations

import argparse
import enum
from collections.abc import Iterable
from typing import Any

DESCRIPTION = """\
Watches a cluster, decides every period, and tells what it would do; with
`--actuate apply` it does it, as far as the mode of each policy allows. Each
flag is also an environment variable: `--prometheus-url` is
PODNODE_PROMETHEUS_URL. Stops in good order on SIGTERM and SIGINT."""
CONNECTION = ("kubeconfig", "context", "cluster_name")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser, names: Iterable[str] = ()) -> None:
    """Add the flags of *names*, of all settings if none are given; those not used leave nothing in the result."""
    import msgspec

    from autoscaler.settings import Settings
    from autoscaler.struct_reference import field_texts

    texts, wanted = field_texts(Settings), set(names)
    for field in msgspec.structs.fields(Settings):
        if not wanted or field.name in wanted:
            _add_flag(parser, field, texts[field.name])


def run(args: argparse.Namespace) -> int:
    import asyncio

    from autoscaler.controller.run import run_controller
    from autoscaler.settings import read_settings
    from autoscaler.telemetry.logs import configure_logs

    settings = read_settings(given_settings(args))
    configure_logs(level=settings.log_level, form=settings.log_format)
    asyncio.run(run_controller(settings))
    return 0


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that flags were given for."""
    import msgspec

    from autoscaler.settings import Settings

    names = {field.name for field in msgspec.structs.fields(Settings)}
    return {name: value for name, value in vars(args).items() if name in names}


def _add_flag(parser: argparse.ArgumentParser, field: Any, text: str) -> None:
    from autoscaler.settings import flag_of

    flag, default = flag_of(field.name), field.default
    # An argument that is not given must not hide the environment variable: SUPPRESS leaves it out.
    common: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS}
    text = text.replace("%", "%%")
    if isinstance(default, bool):
        shown = "yes" if default else "no"
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=f"{text} (default: {shown})", **common)
    elif default == ():
        parser.add_argument(flag, action="append", metavar=_metavar(field.name), help=text, **common)
    else:
        words = [str(word) for word in type(default)] if isinstance(default, enum.Enum) else []
        metavar = "|".join(words) or _metavar(field.name)
        shown = getattr(default, "text", default)
        ending = f" (default: {shown})" if shown not in (None, "") else ""
        parser.add_argument(flag, metavar=metavar, help=text + ending, **common)


def _metavar(name: str) -> str:
    for ending, metavar in (("_file", "FILE"), ("_url", "URL"), ("_port", "PORT"), ("_address", "ADDRESS")):
        if name.endswith(ending):
            return metavar
    return name.rpartition("_")[2].upper()
