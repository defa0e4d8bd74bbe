"""Measured figures as rows of a profile (`targets/profiles.py`), and files of such rows."""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ...ir.diagnostics import Diagnostic, InputError
from ...targets.profiles import (
    ITEM_COLUMNS,
    NOISE,
    START_COLUMNS,
    TOKEN_COLUMNS,
    load_profiles,
)
from .figures import LoadPoint, Percentiles
from .lengths import Lengths
from .subject import Subject

# Every column of the three kinds of rows, in an order that suits all.
COLUMNS = (*TOKEN_COLUMNS[:-4], *ITEM_COLUMNS[4:-4], *START_COLUMNS[4:7], *TOKEN_COLUMNS[-4:])
KINDS = {
    "load_tokens_per_s": TOKEN_COLUMNS,
    "load_items_per_s": ITEM_COLUMNS,
    "start_s": START_COLUMNS,
}
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """Points that a profile holds, and those it cannot: it must not get faster under more load."""

    points: tuple[LoadPoint, ...]
    left_out: tuple[LoadPoint, ...]


def consistent(points: Iterable[LoadPoint]) -> Kept:
    """Choose as many points as can stand in one profile, by ascending rate.

    A point is left out that gives no more tokens than one of less load, as beyond saturation, and
    one of two that contradict each other: time per token falls although the rate rises, by more
    than measurements repeat.
    """
    ordered = sorted(points, key=lambda p: (p.tokens_per_s.value, p.in_flight))
    best: list[list[LoadPoint]] = []  # the longest choice that ends in each point
    for i, point in enumerate(ordered):
        before = [best[j] for j in range(i) if _goes_before(ordered[j], point)]
        best.append([*max(before, key=_worth, default=[]), point])
    chosen = max(best, key=_worth, default=[])
    return Kept(tuple(chosen), tuple(p for p in ordered if p not in chosen))


def _worth(points: Sequence[LoadPoint]) -> tuple[int, float]:
    return len(points), points[-1].tokens_per_s.value


def _goes_before(low: LoadPoint, high: LoadPoint) -> bool:
    # a thousandth, so that they differ when they are rounded
    if high.tokens_per_s.value < 1.001 * low.tokens_per_s.value or high.in_flight <= low.in_flight:
        return False
    times = [(a["p50"].value, b["p50"].value) for a, b in [(low.tpot_s, high.tpot_s)] if a and b]
    return all(b >= a * (1.0 - NOISE / 2.0) for a, b in times)  # half: rounding has its share


def token_rows(subject: Subject, points: Iterable[LoadPoint], lengths: Lengths) -> list[Row]:
    """Return a row for each load point, and one for the start of a server that was started."""
    head = {
        "model": subject.model,
        "precision": subject.precision,
        "device": subject.device,
        "tp": str(subject.tp),
        "engine": subject.engine,
        "engine_version": subject.engine_version,
    }
    rows: list[Row] = [
        {
            **head,
            "isl_tok": number(point.isl_tok),
            "osl_tok": number(point.osl_tok),
            "load_tokens_per_s": number(point.tokens_per_s.value),
            "in_flight": number(point.in_flight),
            **_times("ttft_{}_s", point.ttft_s),
            **_times("tpot_{}_ms", point.tpot_s, 1e3),
            "power_w": "" if point.power_w is None else number(point.power_w),
            "source": f"{measured_here()}: {point.load}, {point.requests} requests, {lengths}",
        }
        for point in points
    ]
    if subject.start_s is not None:
        source = f"{measured_here()}: 1 start"
        rows.append({**head, "start_s": number(subject.start_s), "source": source})
    return rows


def measured_here() -> str:
    """Return when and where something was measured, for the source of a row."""
    return f"mkb profile, {date.today().isoformat()}, {platform.node() or 'this machine'}"


def _times(column: str, values: Percentiles, factor: float = 1.0) -> dict[str, str]:
    return {column.format(name): number(m.value * factor) for name, m in values.items()}


def number(value: float) -> str:
    """Return a figure as rows hold it: four digits."""
    return f"{value:.4g}" if value < 1000.0 else f"{value:.0f}"


def kind_of(row: Row) -> str:
    """Return the column that tells what a row is about."""
    return next(key for key in KINDS if row.get(key))


def profile_csv(rows: Sequence[Row]) -> str:
    """Return a profile; it has the columns of the kinds that are in it."""
    kinds = {kind_of(row) for row in rows} or {"load_tokens_per_s"}
    known = {column for kind in kinds for column in KINDS[kind]}
    text = io.StringIO()
    columns = [column for column in COLUMNS if column in known]
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def merged(path: Path, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a profile with these in the place of those of the same kind and key.

    A file that is not there has none. Raises `InputError` where it is no profile.
    """
    if not path.exists():
        return list(rows)
    load_profiles([path], shipped=False)
    with path.open(encoding="utf-8-sig", newline="") as file:
        there = [{k: v.strip() for k, v in row.items()} for row in csv.DictReader(file)]
    if any("workflow" in row for row in there):
        message = f"`{path}` is a profile of a workflow"
        raise InputError(Diagnostic("bad-profile", message, help="write to another file"))
    new = {_key(row) for row in rows}
    return [*(row for row in there if _key(row) not in new), *rows]


def _key(row: Row) -> tuple[str, str, str, str]:
    return kind_of(row), row["model"], row["device"], row["tp"]
