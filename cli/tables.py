"""Plain tables: headings, figures to the right, and texts broken where the terminal is narrow."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from itertools import zip_longest

import click

from .display import width

_GAP = "  "
_INDENT = "  "
# where a text may be broken: between words, and behind hyphens where that is not enough
_PIECES = (re.compile(r"\S+"), re.compile(r"[^\s-]+-?|-"))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return rows under a header; the first `left` columns are texts, the others figures.

    Every row has a text for each column. Cells may hold ANSI styles. A table for a terminal is no
    wider than that: texts, but for the first, continue on the next line.
    """
    lines = [list(header), *map(list, rows)]
    room = _room()
    for pieces in _PIECES:
        widths = _widths(lines, left, room, pieces)
        if _total(widths) <= room:
            break
    shown = []
    for number, line in enumerate(lines):
        cells = [
            _broken(cell, columns, pieces) if 0 < i < left else [cell]
            for i, (cell, columns) in enumerate(zip(line, widths, strict=True))
        ]
        for parts in zip_longest(*cells, fillvalue=""):
            styled = [click.style(p, bold=True) for p in parts] if number == 0 else parts
            shown.append(_line(styled, widths, left))
    return "\n".join(shown)


def indent(text: str, by: str = _INDENT) -> str:
    """Return text with every line that is not empty moved right."""
    return "\n".join(by + line if line else line for line in text.split("\n"))


def _room() -> int:
    """Return the columns a table may take: all it needs where no person is looking."""
    if not sys.stdout.isatty():
        return sys.maxsize
    return shutil.get_terminal_size().columns - len(_INDENT)


def _widths(
    lines: Sequence[Sequence[str]], left: int, room: int, pieces: re.Pattern[str]
) -> list[int]:
    """Return a width for each column, the widest texts made narrower until the table fits."""
    columns = list(zip(*lines, strict=True))
    widths = [max(map(_seen, column)) for column in columns]
    least = [
        max((_seen(p) for cell in columns[i] for p in pieces.findall(cell)), default=0)
        for i in range(left)
    ]
    while _total(widths) > room:
        wide = [i for i in range(1, left) if widths[i] > least[i]]
        if not wide:
            break
        widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _broken(cell: str, columns: int, pieces: re.Pattern[str]) -> list[str]:
    """Return a text as lines of at most so many columns, broken between its pieces."""
    if _seen(cell) <= columns:
        return [cell]
    parts: list[str] = []
    start = end = 0
    for piece in pieces.finditer(cell):
        if end > start and _seen(cell[start : piece.end()]) > columns:
            parts.append(cell[start:end])
            start = piece.start()
        end = piece.end()
    return [*parts, cell[start:end]]


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    parts = []
    for i, (cell, columns) in enumerate(zip(cells, widths, strict=True)):
        blanks = " " * (columns - _seen(cell))
        parts.append(cell + blanks if i < left else blanks + cell)
    return _GAP.join(parts).rstrip()


def _seen(cell: str) -> int:
    return width(click.unstyle(cell))
