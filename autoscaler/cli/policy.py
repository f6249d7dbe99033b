"""`autoscaler policy`: check documents, list packs, and test packs on their scenarios."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from autoscaler.cli.exits import Exit
from autoscaler.cli.output import add_output_argument, dumps, table
from autoscaler.cli.runs import workers_for
from autoscaler.errors import InputError, PolicyError

if TYPE_CHECKING:
    from autoscaler.backtest.packs import Verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="say all that is wrong with documents", description=_check.__doc__)
    check.add_argument("files", nargs="+", metavar="FILE", help="a YAML or JSON file, a folder of them, or - ")
    add_output_argument(check)
    test = actions.add_parser("test", help="run the scenarios of policy packs", description=_test.__doc__)
    test.add_argument("folders", nargs="+", metavar="DIR", help="a pack, or a folder of packs")
    test.add_argument("--only", metavar="NAME", default="", help="only scenarios whose file name contains this")
    test.add_argument("--jobs", type=int, default=0, help="processes at once (default: one a core)")
    add_output_argument(test)
    packs = actions.add_parser("list", help="list the packs that are installed", description=_list.__doc__)
    add_output_argument(packs)
    actions.add_parser("schema", help="print the JSON schema of all documents", description=_schema.__doc__)


def run(args: argparse.Namespace) -> int:
    """
    Run one action; return 0, or 1 when a pack missed what its scenarios expect.

    Raises:
        InputError: a document, folder or scenario is wrong.
    """
    return {"check": _check, "test": _test, "list": _list, "schema": _schema}[args.action](args)


def _check(args: argparse.Namespace) -> int:
    """Check policy documents; every problem is one line with file, path, value and what is allowed."""
    from autoscaler.model.policy import Policies
    from autoscaler.policy_files import find_problems, load_policies, parse_policies

    problems: list[PolicyError] = []
    texts: list[tuple[str, str]] = []
    for name in args.files:
        try:
            texts += _texts(name)
        except PolicyError as error:
            problems.append(error)
    problems += [problem for where, text in texts for problem in find_problems(text, where)]
    if not problems:
        # Files are read once more, together: two of them must not name the same object.
        together = load_policies(name for name in args.files if name != "-")
        if together == Policies() and all(parse_policies(text, where) == Policies() for where, text in texts):
            raise PolicyError(", ".join(args.files), "", "no document", "at least one document")
    if args.output == "table":
        for problem in problems:
            print(problem, file=sys.stderr)
        if not problems:
            print("no problems found")
    else:
        rows = [
            {"where": each.where, "path": each.path, "found": repr(each.found), "allowed": each.allowed}
            for each in problems
        ]
        print(dumps(rows, args.output), end="")
    return Exit.INPUT if problems else Exit.DONE


def _texts(name: str) -> list[tuple[str, str]]:
    """Return (where, text) of a file, of the files in a folder, or of standard input."""
    from autoscaler.documents import read_text
    from autoscaler.policy_files.read import policy_files

    if name == "-":
        return [("standard input", sys.stdin.read())]
    return [(str(path), read_text(path, error=PolicyError)) for path in policy_files(Path(name))]


def _test(args: argparse.Namespace) -> int:
    """Run the scenarios of policy packs under the pack's own policy and compare with what they expect."""
    from autoscaler.backtest.packs import run_packs
    from autoscaler.policy_files.packs import find_packs

    workers = workers_for(args.jobs)
    packs = [pack for folder in args.folders for pack in find_packs(Path(folder))]
    for pack in packs:
        pack.policies()
    names = [f"{pack.name}/{path.stem}" for pack in packs for path in pack.scenarios]
    if not any(args.only in path.stem for pack in packs for path in pack.scenarios):
        raise InputError(
            "--only", "", args.only, f"a part of a scenario's name: {', '.join(names) or 'there are none'}"
        )
    verdicts = run_packs(packs, only=args.only, workers=workers, report=_progress)
    if args.output == "table":
        print(_verdict_table(verdicts))
    else:
        print(dumps(verdicts, args.output), end="")
    return Exit.DONE if all(verdict.kept for verdict in verdicts) else Exit.FOUND


def _progress(done: int, total: int, verdict: Verdict) -> None:
    print(f"{done}/{total}  {verdict.pack} {verdict.scenario}", file=sys.stderr, flush=True)


def _verdict_table(verdicts: list[Verdict]) -> str:
    rows = []
    for verdict in verdicts:
        figures = verdict.figures
        cost = f"{figures.usd_per_day:.2f}" if figures else "-"
        missed = f"{figures.slo_violation_share * 100:.2f} %" if figures else "-"
        why = verdict.failure or "; ".join(verdict.missed)
        rows.append((verdict.pack, verdict.scenario, "kept" if verdict.kept else "MISSED", cost, missed, why))
    return table(rows, header=("pack", "scenario", "verdict", "USD/day", "SLO missed", "why"), right=(3, 4))


def _list(args: argparse.Namespace) -> int:
    """List the policy packs that come with the package."""
    from autoscaler.policy_files.packs import find_packs, installed_packs

    packs = find_packs(installed_packs())
    if args.output == "table":
        rows = [(pack.name, len(pack.scenarios), pack.title) for pack in packs]
        print(table(rows, header=("pack", "scenarios", "for"), right=(1,)))
    else:
        rows_out = [
            {"name": pack.name, "title": pack.title, "scenarios": [path.stem for path in pack.scenarios]}
            for pack in packs
        ]
        print(dumps(rows_out, args.output), end="")
    return Exit.DONE


def _schema(_: argparse.Namespace) -> int:
    """Print the JSON schema of the documents, for editors that check while you type."""
    from autoscaler.policy_files import policy_schema

    print(dumps(policy_schema(), "json"), end="")
    return Exit.DONE
