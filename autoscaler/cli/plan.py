"""`autoscaler plan`: one dry decision on a recorded cluster, as a diff with reasons and money."""

from __future__ import annotations

import argparse

from autoscaler.cli.looking import add_input_arguments, read_input
from autoscaler.cli.output import add_output_argument, dumps

SHOWN = 20
DESCRIPTION = """\
Decides once on a cluster's state, recorded or live, and shows what would
change, why, and what it would save. FILE is a decision record or snapshot of
this program (also gzipped), or what `kubectl get pods,nodes,deployments,... -A
-o json` prints. Nothing is ever changed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_input_arguments(parser, about="the recorded state of the cluster")
    parser.add_argument(
        "--policies", action="append", default=[], metavar="PATH", help="policy file or folder (repeatable)"
    )
    parser.add_argument("--all", action="store_true", help=f"show every change, not only the {SHOWN} that matter most")
    parser.add_argument(
        "--respect-mode", action="store_true", help="leave alone what the policies' mode leaves alone (Off, Recommend)"
    )
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    from autoscaler.cli.plan_text import view_of
    from autoscaler.cli.snapshots import policies_for, settled_decision
    from autoscaler.model.policy import UpdateMode
    from autoscaler.planning.effective import in_mode

    file = read_input(args)
    policies = policies_for(file, () if args.live else args.policies)
    wanted = policies if args.respect_mode else in_mode(policies, UpdateMode.AUTO)
    snapshot, decision = settled_decision(file, wanted)
    view = view_of(snapshot, decision)
    if args.output == "table":
        for line in view.lines(shown=None if args.all else SHOWN):
            print(line)
    else:
        print(dumps(view, args.output), end="")
    return 0
