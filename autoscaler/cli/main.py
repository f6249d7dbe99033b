"""
The command `autoscaler`: picks the subcommand and turns errors into exit codes.

A subcommand is a module `autoscaler.cli.<name>` with `add_arguments(parser)`
and `run(args) -> int`; only the one that is called is imported, which keeps
`--help` fast.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from autoscaler import __version__
from autoscaler.cli.exits import Exit
from autoscaler.errors import AccessError, AutoscalerError, InputError, TransientError

COMMANDS = {
    "run": "watch a cluster, decide, and tell or do it",
    "simulate": "run one engine on a scenario, with a live view",
    "backtest": "run engines on scenarios and compare cost and service",
    "plan": "make one dry decision on a cluster and show it with its reasons",
    "explain": "say why a pod, node or workload is as it is",
    "snapshot": "write a live cluster to a file, for plan, explain and bug reports",
    "replay": "decide again on a decision record and compare",
    "policy": "check policy documents and test policy packs",
    "convert": "turn documents of other autoscalers into ours, and say what is lost",
    "restore": "put back what the controller changed: requests, other autoscalers, cordons",
    "crds": "print the CustomResourceDefinitions of our kinds",
}


class OneLineParser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, as all other errors are said."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(Exit.INPUT)


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """Return the parser, with the arguments of *command* only; the others are named, not imported."""
    parser = OneLineParser(
        prog="autoscaler",
        description="A pod and node autoscaler for Kubernetes: replicas, requests and nodes as one decision.",
        epilog="`autoscaler COMMAND --help` says more about each.",
    )
    parser.add_argument("--version", action="version", version=f"autoscaler {__version__}")
    parser.add_argument("--no-color", action="store_true", help="print without colours (as does NO_COLOR=1)")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, about in COMMANDS.items():
        sub = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        sub.add_argument("--no-color", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if name == command:
            import_module(f"autoscaler.cli.{name}").add_arguments(sub)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code, one of `Exit`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in given if word in COMMANDS), None)
    args = build_parser(command).parse_args(given)
    if args.no_color:
        os.environ["NO_COLOR"] = "1"
    try:
        code = int(import_module(f"autoscaler.cli.{args.command}").run(args))
        print(end="", flush=True)
    except AutoscalerError as error:
        print(f"autoscaler {args.command}: {error}", file=sys.stderr)
        return _code_of(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except OSError as error:
        # Python must not complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return Exit.PIPE
        print(f"autoscaler {args.command}: {error}", file=sys.stderr)
        return Exit.LATER
    return code


def _code_of(error: AutoscalerError) -> Exit:
    if isinstance(error, InputError):
        return Exit.INPUT
    if isinstance(error, AccessError):
        return Exit.ACCESS
    return Exit.LATER if isinstance(error, TransientError) else Exit.FOUND
