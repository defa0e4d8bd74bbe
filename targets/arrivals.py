"""Arrival traces (`*.csv`): how many requests came in each period of a day."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from .csv_file import csv_rows, line_span
from .toml_source import read_text

TIME = "start_s"
MAX_PERIODS = 600_000  # a year of minutes has 527,040
Gaps = Literal["refuse", "interpolate"]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Requests in each of a trace's periods, one after the other; `filled` were interpolated."""

    period_s: float
    requests: tuple[float, ...]
    filled: int = 0


def load_arrivals(path: Path, column: str, gaps: Gaps = "refuse") -> Arrivals:
    """Return a column of a trace.

    The column `start_s` says when a row's period begins; the shortest distance of two rows is the
    period of all. An empty cell, or a row that lacks, is a gap: an error, or filled linearly
    between its neighbours. Raises InputError with every finding, with file and line.
    """
    lines = csv_rows(read_text(path), str(path), "bad-trace")
    header = [name.strip() for name in lines[0][1]] if lines else []
    if TIME not in header or column not in header:
        missing = TIME if TIME not in header else column
        others = [name for name in header if name != TIME]
        known = ", ".join(f"`{name}`" for name in others) or "none"
        hint = did_you_mean(missing, others) or f"there are {known}"
        raise InputError(_finding(path, 1, f"no column `{missing}`", hint))
    at, wanted = header.index(TIME), header.index(column)
    findings: list[Diagnostic] = []
    rows: list[tuple[int, float, float | None]] = []
    for line, cells in lines[1:]:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            message = f"the row has {len(cells)} cells, the header {len(header)}"
            findings.append(_finding(path, line, message))
            continue
        start_s = _number(cells[at])
        requests = None if not cells[wanted].strip() else _number(cells[wanted])
        for name, value, cell in ((TIME, start_s, cells[at]), (column, requests, cells[wanted])):
            if value is not None and not 0 <= value < math.inf:
                message = f"`{name}` is `{cell.strip()}`; it must be a number of at least 0"
                findings.append(_finding(path, line, message))
        rows.append((line, start_s, requests))
    findings = findings or list(_unordered(path, rows))
    if not findings and sum(requests is not None for _, _, requests in rows) < 2:
        findings.append(_finding(path, 1, f"`{column}` has fewer than two periods with requests"))
    if findings:
        raise InputError(findings)
    return _filled(path, column, rows, gaps)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _unordered(path: Path, rows: list[tuple[int, float, float | None]]) -> Iterator[Diagnostic]:
    for (_, before_s, _), (line, start_s, _) in pairwise(rows):
        if start_s <= before_s:
            yield _finding(path, line, f"`{TIME}` is not above that of the row before")


def _filled(
    path: Path, column: str, rows: list[tuple[int, float, float | None]], gaps: Gaps
) -> Arrivals:
    period_s = min(b[1] - a[1] for a, b in pairwise(rows))
    whole = (rows[-1][1] - rows[0][1]) / period_s  # may be infinite
    if whole >= MAX_PERIODS:
        message = f"it has {whole:g} periods of {period_s:g} s; at most {MAX_PERIODS} are read"
        raise InputError(_finding(path, 1, message, "leave out the part that is not planned for"))
    known: dict[int, float] = {}
    for line, start_s, requests in rows:
        number = (start_s - rows[0][1]) / period_s
        if abs(number - round(number)) > 1e-6:
            message = f"`{TIME}` is no whole number of periods of {period_s:g} s after the first"
            raise InputError(_finding(path, line, message))
        if requests is not None:
            known[round(number)] = requests
    count = round(whole) + 1
    missing = [number for number in range(count) if number not in known]
    if missing and gaps == "refuse":
        first_s = rows[0][1] + missing[0] * period_s
        message = (
            f"`{column}` has no requests for {len(missing)} of {count} periods, the first at "
            f"{first_s:g} s"
        )
        hint = 'fill the gaps, or say `gaps = "interpolate"`'
        raise InputError(_finding(path, 1, message, hint))
    marks = sorted(known)
    filled = tuple(_at(number, marks, known) for number in range(count))
    return Arrivals(period_s, filled, len(missing))


def _at(number: int, marks: list[int], known: dict[int, float]) -> float:
    """Return the requests of a period: known, on the line between neighbours, or as the nearest."""
    if number in known:
        return known[number]
    i = bisect_left(marks, number)
    if i in (0, len(marks)):
        return known[marks[0 if i == 0 else -1]]
    low, high = marks[i - 1], marks[i]
    part = (number - low) / (high - low)
    return known[low] * (1 - part) + known[high] * part


def _finding(path: Path, line: int, message: str, hint: str | None = None) -> Diagnostic:
    return Diagnostic("bad-trace", message, line_span(str(path), line), help=hint)
