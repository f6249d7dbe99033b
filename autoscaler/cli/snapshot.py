"""`autoscaler snapshot`: a live cluster as a file, for `plan`, `explain` and bug reports."""

from __future__ import annotations

import argparse

DESCRIPTION = """\
Looks at a live cluster once and prints its state, with what was measured and
learned, as a snapshot for `autoscaler plan --snapshot`. It holds names, labels
and sizes, and nothing of environment variables, commands or secrets. Nothing
is changed in the cluster."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from autoscaler.cli.looking import LOOKING
    from autoscaler.cli.run import add_settings

    parser.description = DESCRIPTION
    add_settings(parser, (*LOOKING, "policies"))


def run(args: argparse.Namespace) -> int:
    import sys

    from autoscaler.cli.looking import look
    from autoscaler.telemetry.record import encode_snapshot

    file = look(args)
    sys.stdout.buffer.write(encode_snapshot(file.snapshot, file.policies, file.state) + b"\n")
    sys.stdout.buffer.flush()
    return 0
