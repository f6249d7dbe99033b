"""Writes the kustomize bases that are rendered from the chart: `python -m tests.deploy.render`."""

from __future__ import annotations

import sys

from tests.deploy.chart import CHART, render

DEPLOY = CHART.parents[1]
_HEADER = "# Rendered from the Helm chart by `make render`: change that, not this.\n"
_ACT = ("-act", "-checkpoint")
"""How names of what only `apply` has end."""


def rendered() -> dict[str, str]:
    """Return what each rendered file must hold, by its path under `deploy`."""
    base = render({})
    acting = [part for part in _parts(render({"mode": "apply"})) if _name(part).endswith(_ACT)]
    crds = sorted(path.name for path in (DEPLOY / "crds").glob("*.yaml"))
    return {
        "kustomize/base/rendered.yaml": _HEADER + _owned("---\n".join(_parts(base))),
        "kustomize/components/act/rendered.yaml": _HEADER + _owned("---\n".join(acting)),
        "crds/Kustomization": _HEADER.replace("Rendered from the Helm chart", "Listed")
        + "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n"
        + "".join(f"- {name}\n" for name in crds),
    }


def _parts(manifests: str) -> list[str]:
    """Return the documents of a stream, without Helm's remarks on where they are from."""
    lines = [line for line in manifests.splitlines() if not line.startswith("# Source: ")]
    parts = "\n".join(lines).split("---\n")
    return [part.strip() + "\n" for part in parts if part.strip()]


def _name(part: str) -> str:
    return next(line.split()[-1] for line in part.splitlines() if line.startswith("  name: "))


def _owned(manifests: str) -> str:
    return manifests.replace("managed-by: Helm", "managed-by: kustomize")


def main() -> int:
    """Write the files."""
    for name, text in rendered().items():
        (DEPLOY / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
