"""The syntax tree as indented text: what `--emit ast` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from ..ir.diagnostics import Span
from ..ir.types import quote

_INDENT = "  "


def tree(node: Any) -> str:
    """Return a node and all below it, one a line: its class, its plain fields, its place."""
    return "\n".join(_lines("", node, 0)) + "\n"


def _lines(label: str, node: Any, depth: int) -> Iterator[str]:
    lead = _INDENT * depth + (f"{label}: " if label else "")
    if isinstance(node, tuple):
        yield f"{lead}[]" if not node else lead.rstrip(" ")
        for item in node:
            yield from _lines("", item, depth + 1)
        return
    if not is_dataclass(node):
        yield lead + _plain(node)
        return
    parts = [(f.name, getattr(node, f.name)) for f in fields(node)]
    plain = [f"{name}={_plain(value)}" for name, value in parts if _is_plain(value)]
    span = next((f" {v.line}:{v.column}" for _, v in parts if isinstance(v, Span)), "")
    yield " ".join([lead + type(node).__name__, *plain]) + span
    for name, value in parts:
        if not _is_plain(value) and not isinstance(value, Span) and value != ():
            yield from _lines(name, value, depth + 1)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _plain(value: Any) -> str:
    return quote(value) if isinstance(value, str) else str(value)
