"""`autoscaler explain`: why a pod is pending, a node is still there, a workload has its size."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from heapq import nsmallest
from typing import TYPE_CHECKING

from autoscaler.cli.looking import add_input_arguments, read_input
from autoscaler.cli.output import add_output_argument, dumps
from autoscaler.errors import InputError

if TYPE_CHECKING:
    from autoscaler.model.plan import Decision
    from autoscaler.model.snapshot import ClusterSnapshot
    from autoscaler.planning.explain import Explanation

DESCRIPTION = """\
Explains one thing in a cluster, recorded or live: `pod shop/web-1`, `node ip-10-0-3-7`,
or a workload by its kind, `deployment shop/web`. The parts may also be joined
by a slash: `pod/shop/web-1`."""
FORM = "pod NAMESPACE/NAME, node NAME or KIND NAMESPACE/NAME (deployment, statefulset, ...)"
_SHOWN_PLACES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("subject", nargs="+", metavar="SUBJECT", help=FORM)
    add_input_arguments(parser, about="a record, a snapshot, or kubectl's output")
    parser.add_argument(
        "--policies", action="append", default=[], metavar="PATH", help="policy file or folder (repeatable)"
    )
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    from autoscaler.cli.snapshots import policies_for, settled_decision

    kind, _, name = "/".join(args.subject).partition("/")
    if not name:
        raise InputError("SUBJECT", "", " ".join(args.subject), FORM)
    file = read_input(args)
    policies = policies_for(file, () if args.live else args.policies)
    if file.decision is not None and not args.policies:
        snapshot, decision = file.snapshot, file.decision
    else:
        snapshot, decision = settled_decision(file, policies)
    explanation = _explain(kind.lower(), name, snapshot, decision)
    if args.output == "table":
        print("\n".join(lines_of(explanation)))
    else:
        print(dumps(explanation, args.output), end="")
    return 0


def _explain(kind: str, name: str, snapshot: ClusterSnapshot, decision: Decision) -> Explanation:
    from autoscaler.planning.explain import explain_node, explain_pod, explain_workload

    if kind in ("pod", "pods", "po"):
        pod = next((pod for pod in snapshot.pods if pod.key == name), None)
        if pod is None:
            raise InputError("SUBJECT", "pod", name, _some((pod.key for pod in snapshot.pods), name))
        return explain_pod(snapshot, pod)
    if kind in ("node", "nodes", "no"):
        node = next((node for node in snapshot.nodes if node.name == name), None)
        if node is None:
            raise InputError("SUBJECT", "node", name, _some((node.name for node in snapshot.nodes), name))
        return explain_node(snapshot, node, decision)
    for workload in snapshot.workloads:
        if f"{workload.namespace}/{workload.name}" == name and workload.kind.lower() == kind.rstrip("s"):
            return explain_workload(snapshot, workload.key, decision)
    known = (f"{w.kind.lower()} {w.namespace}/{w.name}" for w in snapshot.workloads)
    raise InputError("SUBJECT", kind, name, _some(known, name))


def _some(names: Iterable[str], like: str) -> str:
    """Name a few that exist, those of the same namespace first."""
    namespace = like.partition("/")[0] + "/"
    some = nsmallest(5, names, key=lambda name: (not name.split(" ")[-1].startswith(namespace), name))
    return f"one in the snapshot, such as {', '.join(some)}" if some else "the snapshot has none"


def lines_of(explanation: Explanation) -> list[str]:
    """Return an explanation as lines of text."""
    lines = [f"{explanation.subject}: {explanation.summary}"]
    for obstacle in explanation.obstacles:
        kind = obstacle.where[0].split(" ", 1)[0]
        names = [place.split(" ", 1)[1] for place in obstacle.where]
        where = f"{len(names)} {kind}s" if len(names) > _SHOWN_PLACES else f"{kind} {', '.join(names)}"
        lines.append(f"  {where}: {obstacle.why}")
    if explanation.fixes:
        lines.append("What would help, cheapest first:")
        lines.extend(f"  {fix.what} ({fix.usd_per_hour * 24:+.2f} USD/day)" for fix in explanation.fixes)
    lines.extend(f"  {reason.code.value}: {reason.message}" for reason in explanation.reasons)
    return lines
