from __future__ import annotations

from pathlib import Path

from autoscaler.sources.reference import query_reference, rules_file

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_lists_what_is_sent() -> None:
    assert (ROOT / "docs/reference/queries.md").read_text(encoding="utf-8") == query_reference()


def test_the_shipped_rules_are_the_programs() -> None:
    assert (ROOT / "deploy/observability/recording-rules.yaml").read_text(encoding="utf-8") == rules_file()
