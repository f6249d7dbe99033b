"""`autoscaler restore`: the undo of all that the controller left on objects of a cluster."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoscaler.controller.restore import Restored
    from autoscaler.kube.scale import ResourcePath

DESCRIPTION = """\
Finds what the controller changed and puts it back: requests and limits in the
templates of workloads (their pods are rolled out anew), autoscalers that were
set aside, nodes that it cordoned. What a person has changed since stays as it
is; replicas and nodes stay, too. Only shows what it would do unless --do is
given. Stop the controller first: it would change it all again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from autoscaler.cli.run import add_settings

    parser.description = DESCRIPTION
    parser.add_argument("--do", action="store_true", help="put it back; without it nothing is changed")
    parser.add_argument(
        "-n", "--namespace", default="", metavar="NAME", help="only what is in this namespace, and so no nodes"
    )
    parser.add_argument(
        "--custom",
        action="append",
        default=[],
        metavar="KIND=VERSION/PLURAL",
        help="workloads of a custom kind, too: Rollout=argoproj.io/v1alpha1/rollouts (repeatable)",
    )
    add_settings(parser, ("kubeconfig", "context", "lease_name", "lease_namespace"))


def run(args: argparse.Namespace) -> int:
    """
    Tell each object and what became of it, a line each; 1 if any could not be put back.

    Raises:
        InputError: a flag is wrong.
        ConflictError: a controller runs.
        AccessError, TransientError: the cluster could not be read.
    """
    import asyncio

    custom = dict(_custom(text) for text in args.custom)
    found, failed = asyncio.run(_restore(args, custom))
    if not found:
        print("nothing to put back")
    elif not args.do:
        print(f"{found} to put back, nothing changed; --do does it")
    return 1 if failed else 0


async def _restore(args: argparse.Namespace, custom: dict[str, ResourcePath]) -> tuple[int, int]:
    from autoscaler.cli.run import given_settings
    from autoscaler.clock import SystemClock
    from autoscaler.controller.restore import restore
    from autoscaler.kube.client import ApiServer
    from autoscaler.settings import read_settings

    settings = read_settings(given_settings(args))
    found = 0

    def told(restored: Restored) -> None:
        nonlocal found
        found += 1
        _tell(restored, done=args.do)

    api = await ApiServer.connect(kubeconfig=settings.kubeconfig, context=settings.context)
    try:
        failed = await restore(
            api,
            told=told,
            do=args.do,
            namespace=args.namespace,
            custom=custom,
            lease=(settings.lease_namespace, settings.lease_name),
            now=SystemClock().now(),
        )
    finally:
        await api.aclose()
    return found, failed


def _tell(restored: Restored, *, done: bool) -> None:
    trace = restored.trace
    if restored.error:
        print(f"{trace.target} {trace.key}: {trace.left}: not put back: {restored.error}", file=sys.stderr)
    else:
        print(f"{trace.target} {trace.key}: {trace.left}{': put back' if done else ''}", flush=True)


def _custom(text: str) -> tuple[str, ResourcePath]:
    from autoscaler.errors import InputError
    from autoscaler.kube.scale import ResourcePath

    kind, _, place = text.partition("=")
    version, _, plural = place.rpartition("/")
    if not kind or not version or not plural:
        raise InputError("command line", "--custom", text, "KIND=VERSION/PLURAL")
    return kind, ResourcePath(version, plural)
