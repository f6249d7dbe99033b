"""What commands print: aligned tables for people, JSON and YAML for machines."""

from __future__ import annotations

import argparse
import os
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

FORMATS = ("table", "json", "yaml")
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def add_output_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", choices=FORMATS, default="table", help="how to print (default: %(default)s)")


def dumps(value: Any, form: str) -> str:
    """
    Return a value (Structs included) as JSON or YAML text that ends in a newline.

    Raises:
        ValueError: *form* is neither `json` nor `yaml`.
    """
    import msgspec

    from autoscaler.model.spec import encode_hook

    plain = msgspec.to_builtins(value, enc_hook=encode_hook, str_keys=True)
    if form == "json":
        import json

        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
    if form == "yaml":
        import yaml

        return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
    raise ValueError(f"form must be json or yaml, got {form!r}")


def table(rows: Iterable[Sequence[object]], *, header: Sequence[str] = (), right: Iterable[int] = ()) -> str:
    """
    Return rows as aligned columns, two spaces apart, without a newline at the end.

    Args:
        rows: cells of each row; they may differ in number.
        header: the first row, if any.
        right: numbers of the columns that are aligned to the right.

    >>> print(table([("web", 3), ("search", 14)], header=("name", "pods"), right=[1]))
    name    pods
    web        3
    search    14
    """
    lines = [[str(cell) for cell in row] for row in rows]
    if header:
        lines.insert(0, list(header))
    count = max((len(line) for line in lines), default=0)
    widths = [max((width_of(line[at]) for line in lines if at < len(line)), default=0) for at in range(count)]
    to_right = frozenset(right)
    shown = (
        "  ".join(_padded(cell, widths[at], right=at in to_right) for at, cell in enumerate(line)).rstrip()
        for line in lines
    )
    return "\n".join(shown)


def width_of(text: str) -> int:
    r"""
    Return how many terminal cells *text* takes; colour codes take none.

    >>> width_of("é"), width_of("日本"), width_of("e\u0301"), width_of(paint("ok", "green"))
    (1, 4, 1, 2)
    """
    width, escaped = 0, False
    for sign in text:
        if sign == "\x1b":
            escaped = True
        elif escaped:
            escaped = sign != "m"
        elif unicodedata.combining(sign) == 0 and unicodedata.category(sign) not in ("Cf", "Mn", "Me"):
            width += 2 if unicodedata.east_asian_width(sign) in "WF" else 1
    return width


def paint(text: str, style: str, *, on: bool = True) -> str:
    """Return *text* in a style of this module, unless *on* is False."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if on else text


def colour_on(stream: TextIO) -> bool:
    """Tell whether colours are wanted: a terminal, and NO_COLOR (no-color.org) and TERM=dumb not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _padded(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - width_of(cell))
    return space + cell if right else cell + space
