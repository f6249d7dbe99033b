"""`python -m tests.cluster`: start, watch and stop a development cluster by hand."""

from __future__ import annotations

import argparse
import asyncio
import sys

from autoscaler.errors import AutoscalerError
from tests.cluster import commands
from tests.cluster.cluster import COMPONENTS

DEFAULT_NAME = "development"


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    root = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    root.add_argument("--name", default=DEFAULT_NAME, help="of the cluster; several can run at once")
    verbs = root.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="start a cluster in the background; says so if it is up")
    up.add_argument("--foreground", action="store_true", help="stay, and stop it on Ctrl-C")
    verbs.add_parser("down", help="stop the cluster and remove its files")
    verbs.add_parser("status", help="what runs, with memory and CPU time")
    logs = verbs.add_parser("logs", help="print a component's log")
    logs.add_argument("component", choices=[*COMPONENTS, "audit"])
    scenario = verbs.add_parser("scenario", help="create a scenario's workloads and let their load follow its traces")
    scenario.add_argument("file", help="a scenario file, or the name of a bundled one")
    scenario.add_argument("--speed", type=float, default=1.0, help="seconds of the trace in one second (1)")
    scenario.add_argument("--begin", type=float, default=0.0, metavar="SECONDS", help="where in the trace to begin (0)")
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0, or 1 after an error, which is printed."""
    options = parser().parse_args(arguments)
    match options.verb:
        case "up":
            run = commands.serve(options.name) if options.foreground else commands.up(options.name)
        case "down":
            run = commands.down(options.name)
        case "status":
            run = commands.status(options.name)
        case "logs":
            run = commands.logs(options.name, options.component)
        case _:
            run = commands.scenario(options.name, options.file, speed=options.speed, begin_seconds=options.begin)
    try:
        asyncio.run(run)
    except AutoscalerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
