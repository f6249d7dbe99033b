"""What the shipped IAM policy allows."""

from __future__ import annotations

import json
from pathlib import Path

POLICY = Path(__file__).parents[2] / "deploy" / "iam" / "aws-policy.json"


def allowed_actions() -> frozenset[str]:
    """Return the actions that the policy grants, all of them by name."""
    document = json.loads(POLICY.read_text(encoding="utf-8"))
    return frozenset(action for statement in document["Statement"] for action in statement["Action"])
