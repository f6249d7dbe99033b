"""The policies in force: the cluster's own documents, and those of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from autoscaler.kube.policies import PolicyProblem, PolicyReader
from autoscaler.model.policy import NodeGroupPolicy, Policies
from autoscaler.policy_files import load_policies

_Policy = TypeVar("_Policy")


class PoliciesInForce:
    """
    Gives the policies to decide by; the same object while no document changes.

    Where a file and the cluster have a document of one name, the cluster's counts.
    *documents* gives the cluster's objects. `problems` has those that cannot be used.
    """

    def __init__(self, documents: Callable[[], Iterable[Mapping[str, Any]]], *, files: Sequence[str] = ()) -> None:
        """
        Read the *files* at once.

        Raises:
            PolicyError: a file is wrong.
        """
        self.problems: tuple[PolicyProblem, ...] = ()
        self._documents = documents
        self._files = load_policies([Path(name) for name in files]) if files else Policies()
        self._reader = PolicyReader()
        self._live: Policies | None = None
        self._joined = self._files

    def __call__(self) -> Policies:
        live, self.problems = self._reader.read(self._documents())
        if live is not self._live:
            self._live, self._joined = live, _joined(live, self._files)
        return self._joined

    def node_groups(self) -> Sequence[NodeGroupPolicy]:
        """Return the NodeGroup documents in force."""
        return self().node_groups


def _joined(live: Policies, files: Policies) -> Policies:
    if files == Policies():
        return live
    return msgspec.structs.replace(
        live,
        mpas=_all(live.mpas, files.mpas),
        scaling=_all(live.scaling, files.scaling),
        node_groups=_all(live.node_groups, files.node_groups),
        tenants=_all(live.tenants, files.tenants),
    )


def _all(first: tuple[_Policy, ...], second: tuple[_Policy, ...]) -> tuple[_Policy, ...]:
    named = {_name_of(each): each for each in (*second, *first)}
    return tuple(named[name] for name in sorted(named))


def _name_of(policy: Any) -> tuple[str, str]:
    return getattr(policy, "namespace", ""), policy.name
