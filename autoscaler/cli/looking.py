"""Flags of the commands that look at a cluster, recorded in a file or live, and what they see."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from autoscaler.cli.run import add_settings, given_settings

if TYPE_CHECKING:
    from autoscaler.telemetry.record import RecordFile

LOOKING = (
    "kubeconfig",
    "context",
    "cluster_name",
    "provider",
    "aws_region",
    "aws_tag",
    "prometheus_url",
    "prometheus_header",
    "prometheus_token_file",
    "prometheus_user",
    "prometheus_password_file",
    "prometheus_ca_file",
    "prometheus_matcher",
    "prometheus_resolution",
    "prometheus_window",
)
"""Settings of `autoscaler run` that a look at a live cluster takes, too."""


def add_input_arguments(parser: argparse.ArgumentParser, *, about: str) -> None:
    """Add `--snapshot` and `--live`, one of which must be given, and what goes with `--live`."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--snapshot", metavar="FILE", help=about)
    where.add_argument("--live", action="store_true", help="look at a live cluster, and change nothing in it")
    add_settings(parser, LOOKING)


def read_input(args: argparse.Namespace) -> RecordFile:
    """
    Return what `--snapshot` names, or a look at the live cluster.

    Raises:
        InputError: the file, or a setting, is wrong.
        AccessError: there is no way to log in, or a permission is missing.
        TransientError: the cluster does not answer.
    """
    if not args.live:
        from autoscaler.cli.snapshots import read_snapshot

        return read_snapshot(args.snapshot)
    return look(args)


def look(args: argparse.Namespace) -> RecordFile:
    """Return the live cluster that the arguments name; what could not be read goes to standard error."""
    import asyncio

    from autoscaler.controller.once import look_once
    from autoscaler.settings import read_settings
    from autoscaler.telemetry.record import VERSION, RecordFile

    seen = asyncio.run(look_once(read_settings(given_settings(args))))
    for problem in seen.problems:
        print(f"not read: {problem}", file=sys.stderr)
    return RecordFile(
        version=VERSION, shapes=(), pods=(), snapshot=seen.snapshot, policies=seen.policies, state=seen.state
    )
