"""Questions to the performance model in bulk, and what both forms of `mkb predict` share."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import Diagnostic, InputError, Span, did_you_mean
from ..targets.csv_file import csv_rows
from .output import Output, read_input

if TYPE_CHECKING:
    from ..targets.forecast import Forecast
    from ..targets.hardware_names import Names
    from ..targets.perfmodel import Query
    from ..targets.prediction import Anchors

# a column of the file, and the flag that stands for it in every row without a value
COLUMNS = {
    "model": "model",
    "gpu": "gpu",
    "tp": "tp",
    "batch": "batch",
    "isl_tok": "isl",
    "osl_tok": "osl",
    "precision": "precision",
    "engine": "engine",
    "engine_version": "engine_version",
}
ANSWERS = (
    *("ttft_ms", "itl_ms", "tpot_ms", "throughput_tok_s", "power_w", "energy_j_per_output_tok"),
    *("memory_gb", "fits", "error_band_pct", "source"),
)
LEAST = {"tp": 1.0, "batch": 1.0, "isl_tok": 0.0, "osl_tok": 1.0}


@cache
def catalogue(files: tuple[Path, ...] = ()) -> Names:
    """Return the shipped catalogue and the user's files, under all their spellings."""
    from ..targets.catalog import load_catalog
    from ..targets.hardware_names import Names

    return Names(load_catalog(files))


def anchors_of(
    output: Output, files: Sequence[Path], names: Names, queries: Sequence[Query]
) -> Anchors | None:
    """Return the load points of the user's files, and warn where they are of another version.

    InputError with every row that contradicts another.
    """
    from ..targets.prediction import Anchors, other_versions
    from ..targets.profiles import load_profiles

    if not files:
        return None
    anchors = Anchors.of(load_profiles(files, shipped=False), names)
    output.report(other_versions(anchors, queries))
    return anchors


def in_bulk(
    output: Output,
    table: str,
    to: str | None,
    given: Mapping[str, Any],
    files: Sequence[Path],
    source: str,
    catalogs: tuple[Path, ...],
) -> int:
    """Answer a file of questions; return the exit code.

    Rows that cannot be answered keep their questions, with empty figures; each is reported.
    """
    from ..targets.forecast import forecasts, unfit
    from .failures import INPUT_WRONG

    text = read_input(table, output)
    header, rows = _read(text, "<stdin>" if table == "-" else table)
    names = catalogue(catalogs)
    asked: list[Query | None] = []
    findings: list[Diagnostic] = []
    resolved = _Resolver(names, given)
    for row in rows:
        query, wrong = resolved.query(row)
        findings += wrong
        asked.append(query)
    known = [query for query in asked if query is not None]
    found = iter(forecasts(known, anchors_of(output, files, names, known), source=source))
    answered: list[Forecast | None] = []
    told: set[tuple[object, ...]] = set()
    for row, query in zip(rows, asked, strict=True):
        answer = None if query is None else next(found)
        answered.append(answer)
        if query is None or answer is None or answer.fits:
            continue
        key = (query.model.name, query.device.type, query.tp, query.precision)
        if key not in told:  # a grid of loads asks the same of each
            told.add(key)
            findings.append(replace(unfit(query), span=row.span("model"), severity="warning"))
    output.report(sorted(findings, key=lambda finding: finding.sort_key))
    output.product("csv", _written(header, rows, answered), to)
    return INPUT_WRONG if any(finding.severity == "error" for finding in findings) else 0


@dataclass(frozen=True, slots=True)
class _Row:
    file: str
    line: int
    header: tuple[str, ...]
    cells: tuple[str, ...]

    def text(self, column: str) -> str:
        """Return a cell, empty where the file has no such column."""
        return self.cells[self.header.index(column)].strip() if column in self.header else ""

    def span(self, column: str) -> Span:
        """Return where a cell stands, or the row."""
        at = self.header.index(column) if column in self.header else 0
        start = 1 + sum(len(cell) + 1 for cell in self.cells[:at])
        end = start + max(1, len(self.cells[at]))
        return Span(self.file, self.line, start, self.line, end)


def _read(text: str, file: str) -> tuple[tuple[str, ...], list[_Row]]:
    (_, named), *rows = csv_rows(text, file, "bad-value") or [(1, [])]
    header = tuple(cell.strip() for cell in named)
    lines = [(line, cells) for line, cells in rows if any(c.strip() for c in cells)]
    findings = list(_bad_shape(header, lines, file))
    if findings:
        raise InputError(findings)
    return header, [_Row(file, line, header, tuple(cells)) for line, cells in lines]


def _bad_shape(
    header: tuple[str, ...], lines: Sequence[tuple[int, list[str]]], file: str
) -> Iterator[Diagnostic]:
    column, times = 1, Counter(header)
    for name in header:
        span = Span(file, 1, column, 1, column + max(1, len(name)))
        if name in ANSWERS:
            message = f"`{name}` is a column of the answers"
            yield Diagnostic("bad-value", message, span, help="leave it out")
        elif times[name] > 1:
            yield Diagnostic("bad-value", f"the column `{name}` is there twice", span)
        elif name not in COLUMNS and (hint := did_you_mean(name, COLUMNS)):
            message = f"no column `{name}` is read"
            yield Diagnostic("bad-value", message, span, severity="error", help=hint)
        column += len(name) + 1
    for line, cells in lines:
        if len(cells) != len(header):
            message = f"the row has {len(cells)} cells, the header {len(header)}"
            yield Diagnostic("bad-value", message, Span(file, line, 1, line, 2))


class _Resolver:
    """Turns rows into queries; what rows have in common is looked up once."""

    def __init__(self, names: Names, given: Mapping[str, Any]) -> None:
        self._names = names
        self._given = {column: given[flag] for column, flag in COLUMNS.items() if flag in given}
        self._known: dict[tuple[str, ...], Query | tuple[Diagnostic, ...]] = {}

    def query(self, row: _Row) -> tuple[Query | None, list[Diagnostic]]:
        """Return a row's query, or what is wrong with its cells."""
        from ..targets.prediction import bad_degree, spread_of

        wrong: list[Diagnostic] = []
        numbers = {column: self._number(row, column, wrong) for column in LEAST}
        texts = tuple(
            row.text(column) or str(self._given.get(column, ""))
            for column in ("model", "gpu", "precision", "engine", "engine_version")
        )
        for column, value in zip(("model", "gpu"), texts, strict=False):
            if not value:
                message = f"`{column}` is empty"
                wrong.append(Diagnostic("bad-value", message, row.span(column)))
        if wrong:
            return None, wrong
        base = self._known.get(texts)
        if base is None:
            base = self._known[texts] = self._named(texts)
        if isinstance(base, tuple):
            return None, [self._placed(finding, row) for finding in base]
        query = replace(
            base,
            tp=int(numbers["tp"]),
            batch=numbers["batch"],
            isl=numbers["isl_tok"],
            osl=numbers["osl_tok"],
            spread=spread_of(numbers["osl_tok"]),
        )
        bad = bad_degree(query)
        return (query, []) if bad is None else (None, [replace(bad, span=row.span("tp"))])

    def _named(self, texts: tuple[str, ...]) -> Query | tuple[Diagnostic, ...]:
        from ..targets.prediction import Question, query_of

        model, gpu, precision, engine, version = texts
        try:
            return query_of(
                Question(model, gpu, precision=precision, engine=engine, engine_version=version),
                self._names,
            )
        except InputError as error:
            return error.diagnostics

    @staticmethod
    def _placed(finding: Diagnostic, row: _Row) -> Diagnostic:
        """Return a finding about a name, where the name stands."""
        places = {"unknown-gpu": "gpu", "unknown-model": "model"}
        column = places.get(finding.id, "model")
        if finding.id == "bad-value":
            column = "engine" if finding.message.startswith("no engine") else "precision"
        return replace(finding, span=row.span(column))

    def _number(self, row: _Row, column: str, wrong: list[Diagnostic]) -> float:
        from ..targets.prediction import Question

        cell = row.text(column)
        if not cell:
            return float(self._given.get(column, getattr(Question("", ""), COLUMNS[column])))
        try:
            value = float(cell)
        except ValueError:
            wrong.append(Diagnostic("bad-value", f"`{cell}` is not a number", row.span(column)))
            return LEAST[column]
        if not LEAST[column] <= value < math.inf or (column == "tp" and value != int(value)):
            kind = "a whole number" if column == "tp" else "a number"
            message = f"`{column}` is {cell}; it is {kind} from {LEAST[column]:g} up"
            wrong.append(Diagnostic("bad-value", message, row.span(column)))
            return LEAST[column]
        return value


def _written(
    header: tuple[str, ...], rows: Sequence[_Row], answered: Sequence[Forecast | None]
) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*header, *ANSWERS))
    for row, answer in zip(rows, answered, strict=True):
        figures = [""] * len(ANSWERS)
        if answer is not None:
            figures = [_cell(getattr(answer, name)) for name in ANSWERS]
        writer.writerow((*row.cells, *figures))
    return text.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
