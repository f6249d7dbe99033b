"""`autoscaler crds`: print the CustomResourceDefinitions."""

from __future__ import annotations

import argparse

from autoscaler.cli.exits import Exit

DESCRIPTION = """\
Prints the CustomResourceDefinitions of our kinds, to be installed with
`autoscaler crds | kubectl apply --server-side -f -`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.description = DESCRIPTION


def run(_: argparse.Namespace) -> int:
    """Print them."""
    from autoscaler.policy_files.crd import crd_text

    print(crd_text(), end="")
    return Exit.DONE
