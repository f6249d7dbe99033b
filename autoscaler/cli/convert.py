"""`autoscaler convert`: documents of other autoscalers as documents of ours, and what that leaves out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from autoscaler.cli.exits import Exit
from autoscaler.cli.output import dumps
from autoscaler.errors import InputError

if TYPE_CHECKING:
    from autoscaler.documents import Document
    from autoscaler.kube.convert import Converted, Made

DESCRIPTION = """\
Reads HorizontalPodAutoscaler, VerticalPodAutoscaler, KEDA ScaledObject, GKE
MultidimPodAutoscaler and Karpenter NodePool objects, from files or from a
cluster, and prints documents that say the same in our words. An HPA or
ScaledObject and a VPA on one workload become one document. What has no
equivalent is told on standard error. Nothing is changed anywhere."""
_NEXT = (
    "next: apply them; while an original acts on the same workload nothing is done to it, "
    "until you delete it or set policy.takeOver: true"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="a YAML or JSON file, a folder of them, or - for standard input (repeatable)",
    )
    parser.add_argument("--live", action="store_true", help="read the objects of a cluster")
    parser.add_argument("-n", "--namespace", default="", metavar="NAME", help="with --live: only of this namespace")
    parser.add_argument("--kubeconfig", metavar="FILE", help="with --live: how to log in; else as kubectl does")
    parser.add_argument("--context", metavar="NAME", help="with --live: the context of the kubeconfig")
    parser.add_argument(
        "--engine",
        choices=("same", "joint"),
        default="same",
        help="same: decide as the originals do; joint: replicas and requests as one (default: %(default)s)",
    )
    parser.add_argument("--strict", action="store_true", help="print no document, and exit with 2, if anything is lost")
    parser.add_argument(
        "--output", choices=("yaml", "json"), default="yaml", help="how to print (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """
    Print the documents; notes go to standard error. Return 0, or 2 with `--strict` where something is lost.

    Raises:
        InputError: a file cannot be read, a value in it has the wrong type, or there is nothing to convert.
        AccessError: objects of the cluster may not be listed.
    """
    from autoscaler.kube.convert import convert

    if args.live == bool(args.filename):
        raise InputError("command line", "", "--live and -f" if args.live else "neither", "-f FILE or --live")
    documents = _live(args) if args.live else [each for name in args.filename for each in _read(name)]
    converted = convert(documents, engine="" if args.engine == "same" else args.engine)
    for note in converted.notes:
        print(note, file=sys.stderr)
    if converted.skipped:
        print(f"note: left alone, being of other kinds: {converted.skipped}", file=sys.stderr)
    if not converted.documents and not converted.notes:
        where = "the cluster" if args.live else ", ".join(args.filename)
        raise InputError(where, "", "nothing to convert", "at least one object of an autoscaler")
    if args.strict and converted.lost:
        return Exit.INPUT
    print(_shown(converted, args.output), end="")
    if converted.documents:
        print(_NEXT, file=sys.stderr)
    return Exit.DONE


def _read(name: str) -> list[Document]:
    from autoscaler.documents import parse_documents, read_documents
    from autoscaler.policy_files.read import policy_files

    if name == "-":
        return parse_documents(sys.stdin.read(), "standard input")
    return [document for path in policy_files(Path(name)) for document in read_documents(path)]


def _live(args: argparse.Namespace) -> list[Document]:
    import asyncio

    from autoscaler.kube.client import ApiServer
    from autoscaler.kube.convert_live import live_documents

    async def listed() -> list[Document]:
        api = await ApiServer.connect(kubeconfig=args.kubeconfig, context=args.context)
        try:
            return await live_documents(api, namespace=args.namespace)
        finally:
            await api.aclose()

    return asyncio.run(listed())


def _shown(converted: Converted, form: str) -> str:
    values = [made.value for made in converted.documents]
    if form == "json":
        return dumps({"apiVersion": "v1", "kind": "List", "items": values}, "json")
    return "---\n".join(_commented(made, converted) for made in converted.documents)


def _commented(made: Made, converted: Converted) -> str:
    """Return a document as YAML, with what it was made of, and what that lost, as comments."""
    titles = [source.title for source in made.sources]
    lines = [f"From {' and '.join(f'{each.title} ({each.version})' for each in made.sources)}."]
    lines += [str(note) for note in converted.lost if note.source in titles]
    return "".join(f"# {' '.join(line.split())}\n" for line in lines) + dumps(made.value, "yaml")
