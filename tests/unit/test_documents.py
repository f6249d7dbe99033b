from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoscaler.documents import MAX_DEPTH, MAX_VALUES, parse_documents, read_documents
from autoscaler.errors import InputError


def _bomb(levels: int) -> str:
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for level in range(1, levels):
        name, below = chr(97 + level), chr(96 + level)
        lines.append(f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param(
            "a: Off\nb: yes\nc: 1:30\nd: 2026-01-05", [{"a": "Off", "b": "yes", "c": "1:30", "d": "2026-01-05"}]
        ),
        pytest.param(
            "a: 0x1F\nb: .5\nc: 1e3\nd: ~\ne: null\nf: true",
            [{"a": 31, "b": 0.5, "c": 1000.0, "d": None, "e": None, "f": True}],
        ),
        pytest.param('a: "1"\nb: !\n  x', [{"a": "1", "b": "x"}], id="quoted-is-text"),
        pytest.param("8080: x", [{"8080": "x"}], id="a-key-is-text"),
        pytest.param('{"a": [1, {"b": "\\u00e9"}]}', [{"a": [1, {"b": "é"}]}], id="json"),
        pytest.param("a: &x [1]\nb: *x", [{"a": [1], "b": [1]}], id="aliases"),
        pytest.param("a\n---\n---\nb\n...\n", ["a", "b"], id="empty-documents-are-left-out"),
        pytest.param("", [], id="nothing"),
        pytest.param("# only a comment", [], id="comment"),
    ],
)
def test_documents(text: str, values: list[Any]) -> None:
    assert [document.value for document in parse_documents(text, "f")] == values


@pytest.mark.parametrize(
    ("text", "part"),
    [
        pytest.param("a: 1\nb: 2\na: 3", "line 3: 'a' is not valid; allowed: each key once", id="duplicate-key"),
        pytest.param("- !!python/object:os.system x", "values without a tag", id="tag"),
        pytest.param("? [a]\n: b", "text as a key", id="list-as-key"),
        pytest.param("a: &x [*x]", "an alias of a value that ends before it", id="recursive-alias"),
        pytest.param("a: *x", "line 1", id="unknown-alias"),
        pytest.param("[" * (MAX_DEPTH + 1), f"at most {MAX_DEPTH} levels", id="too-deep"),
        pytest.param(_bomb(9), f"at most {MAX_VALUES} values", id="alias-bomb"),
        pytest.param("a: [", "well-formed YAML", id="unfinished"),
        pytest.param("a: \x00", "well-formed YAML", id="control-character"),
        pytest.param("a: \ud800", "Unicode text", id="lone-surrogate"),
        pytest.param("a: " + "x" * (1 << 20), "at most 1048576 bytes", id="too-large"),
    ],
)
def test_refused(text: str, part: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_documents(text, "f.yaml")
    assert part in str(caught.value)
    assert str(caught.value).startswith("f.yaml: ")


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        pytest.param(None, "a file that can be read", id="no-such-file"),
        pytest.param(b"a: \xff", "UTF-8 text (byte 3)", id="not-utf-8"),
    ],
)
def test_unreadable(raw: bytes | None, part: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(InputError, match=r"a\.yaml") as caught:
        read_documents(path)
    assert part in str(caught.value)


def test_a_document_is_named_by_its_number_when_there_are_several() -> None:
    assert [each.where for each in parse_documents("a\n---\nb", "f")] == ["f (document 1)", "f (document 2)"]
