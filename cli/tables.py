"""Plain tables: columns as wide as they must be, headings, figures to the right."""

from __future__ import annotations

from collections.abc import Sequence

import click

from .display import width

_GAP = "  "


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return rows under a header; the first `left` columns are texts, the others figures.

    Every row has a text for each column. Cells may hold ANSI styles.
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(_seen(cell) for cell in column) for column in columns]
    lines = [_line([click.style(h, bold=True) for h in header], widths, left)]
    lines += [_line(row, widths, left) for row in rows]
    return "\n".join(lines)


def indent(text: str, by: str = "  ") -> str:
    """Return text with every line that is not empty moved right."""
    return "\n".join(by + line if line else line for line in text.split("\n"))


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    parts = []
    for i, (cell, columns) in enumerate(zip(cells, widths, strict=True)):
        blanks = " " * (columns - _seen(cell))
        parts.append(cell + blanks if i < left else blanks + cell)
    return _GAP.join(parts).rstrip()


def _seen(cell: str) -> int:
    return width(click.unstyle(cell))
