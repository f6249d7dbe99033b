"""`autoscaler replay`: decide again on a record and compare, byte for byte."""

from __future__ import annotations

import argparse

from autoscaler.cli.output import add_output_argument, dumps
from autoscaler.errors import InputError

DESCRIPTION = """\
Reads a decision record, decides again on the same inputs and compares the two
decisions byte for byte. Exit code 0 when they are equal, 1 when they differ."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("record", metavar="RECORD", help="a decision record (also gzipped)")
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    from autoscaler.cli.snapshot_checks import check_snapshot
    from autoscaler.cli.snapshots import read_bytes
    from autoscaler.planning.decide import decide
    from autoscaler.plugins import Installed
    from autoscaler.telemetry.record import decode_record, digest_of, encode_decision

    engines = Installed()
    file = decode_record(read_bytes(args.record), where=args.record, engines=engines)
    check_snapshot(file.snapshot, args.record)
    if file.decision is None:
        raise InputError(args.record, "$.decision", "a snapshot without a decision", "a record with a decision")
    again = decide(file.snapshot, file.policies, file.state, engines=engines)
    same_inputs = digest_of(file.snapshot, file.policies, file.state) == file.digest
    before, after = encode_decision(file.decision), encode_decision(again)
    result = {
        "record": args.record,
        "digest": file.digest,
        "inputs_match_digest": same_inputs,
        "equal": before == after,
        "actions": len(again.plan.actions),
        "first_difference": "" if before == after else _first_difference(before, after),
    }
    _print(result, args.output)
    return 0 if before == after and same_inputs else 1


def _first_difference(before: bytes, after: bytes) -> str:
    position = next(
        (i for i, (one, other) in enumerate(zip(before, after, strict=False)) if one != other),
        min(len(before), len(after)),
    )
    window = slice(max(0, position - 40), position + 40)
    recorded, replayed = (text[window].decode("utf-8", "replace") for text in (before, after))
    return f"byte {position}: recorded ...{recorded}... replayed ...{replayed}..."


def _print(result: dict[str, object], output: str) -> None:
    if output != "table":
        print(dumps(result, output), end="")
    else:
        verdict = "equal" if result["equal"] else "different"
        print(f"{result['record']}: {verdict}, {result['actions']} actions, inputs {str(result['digest'])[:12]}")
        if not result["inputs_match_digest"]:
            print("  the inputs do not match the digest: the file was changed")
        if not result["equal"]:
            print(f"  {result['first_difference']}")
