"""Policy packs: folders with a policy, what it is for, and the scenarios that hold it to that."""

from __future__ import annotations

from pathlib import Path

import msgspec

from autoscaler.errors import PolicyError
from autoscaler.model.policy import Policies
from autoscaler.policy_files.read import load_policies

POLICY, README, SCENARIOS = "policy.yaml", "README.md", "scenarios"


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """One pack. `title` is the first heading of its README, without the name; `scenarios` are files, by name."""

    name: str
    title: str
    folder: Path
    scenarios: tuple[Path, ...]

    def policies(self) -> Policies:
        """
        Return the pack's documents.

        Raises:
            PolicyError: one of them is wrong.
        """
        return load_policies([self.folder / POLICY])


def installed_packs() -> Path:
    """Return the folder of the packs that come with the package, or with the checkout it runs from."""
    package = Path(__file__).resolve().parents[1]
    beside = package.parent / "policies"
    return package / "policies" if (package / "policies").is_dir() else beside


def find_packs(folder: Path) -> tuple[Pack, ...]:
    """
    Return the packs in *folder*, by name; *folder* may be one itself.

    Raises:
        PolicyError: there are none.
    """
    places = [folder] if (folder / POLICY).is_file() else sorted(path.parent for path in folder.glob(f"*/{POLICY}"))
    if not places:
        raise PolicyError(str(folder), "", str(folder), f"a folder of policy packs, each with a {POLICY}")
    return tuple(_pack(place) for place in places)


def _pack(folder: Path) -> Pack:
    readme = folder / README
    lines = readme.read_text(encoding="utf-8").splitlines() if readme.is_file() else []
    heading = next((line.lstrip("# ") for line in lines if line.startswith("#")), "")
    name = folder.resolve().name
    scenarios = tuple(sorted((folder / SCENARIOS).glob("*.yaml")))
    return Pack(name=name, title=heading.removeprefix(f"{name}: "), folder=folder, scenarios=scenarios)
