"""Measured accuracy and tokens of whole configurations of workflows (`*.csv`), one row each."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..ir.diagnostics import Diagnostic, InputError, Label, Span, did_you_mean
from ..ir.ops import Attr
from .toml_source import read_text

TOKENS = tuple(f"tokens_{what}_{q}" for what in ("prompt", "output") for q in ("p50", "p90"))
FIGURES = ("accuracy", "n", *TOKENS)
# What a cell says of optional work that was left out; no executor can have this name.
LEFT_OUT = "left out"
_NEEDED = ("workflow", "accuracy", "n", "source")
_LISTED = ("workflow",)


@dataclass(frozen=True, slots=True)
class Choice:
    """How a step is carried out: executor (None: left out) and knobs, each as a cell writes it."""

    executor: str | None
    knobs: tuple[tuple[str, str], ...] = ()  # sorted by name

    @classmethod
    def of(cls, executor: str | None, knobs: Iterable[tuple[str, Attr]]) -> Choice:
        """Return the choice of an executor with knobs set."""
        return cls(executor, tuple(sorted((name, _cell(value)) for name, value in knobs)))


@dataclass(frozen=True, slots=True)
class MeasuredConfiguration:
    """One row: how every step was carried out, the mean score over `n` items, tokens of a request.

    `tokens` are by TOKENS; None is not measured. `places` are where the cells stand, by column.
    """

    workflow: str
    choices: tuple[tuple[str, Choice], ...]  # by step, in the order of the columns
    accuracy: float
    n: int
    tokens: tuple[float | None, ...] = (None,) * len(TOKENS)
    source: str = ""
    places: Mapping[str, Span] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class WorkflowProfiles:
    """Measured configurations of any number of workflows."""

    rows: tuple[MeasuredConfiguration, ...] = ()

    @property
    def digest(self) -> str:
        """Return the SHA-256 of every figure."""
        return hashlib.sha256(repr(self.rows).encode()).hexdigest()

    def of(self, workflow: str) -> tuple[MeasuredConfiguration, ...]:
        """Return the configurations of a workflow."""
        return tuple(row for row in self.rows if row.workflow == workflow)


def is_workflow_profile(header: Sequence[str]) -> bool:
    """Tell by its header whether a profile is of workflows."""
    return "workflow" in header


def load_workflow_profiles(paths: Sequence[Path]) -> WorkflowProfiles:
    """Return the configurations in those of the files that are of workflows.

    Raises InputError with every finding of the first file that has any, and for a configuration
    that stands there twice.
    """
    rows: list[MeasuredConfiguration] = []
    for path in paths:
        rows += _read(read_text(path), str(path), _NEEDED)
    return _without_repeats(rows)


def load_configurations(path: Path) -> WorkflowProfiles:
    """Return the configurations that a file lists, in the columns of a profile; figures may lack.

    Raises InputError with every finding.
    """
    rows = _read(read_text(path), str(path), _LISTED)
    if not rows:
        place = Span(str(path), 1, 1, 1, 2)
        message = f"`{path}` lists no configurations: it has no rows, or no column `workflow`"
        raise InputError(Diagnostic("bad-profile", message, place))
    return _without_repeats(rows)


def _without_repeats(rows: Sequence[MeasuredConfiguration]) -> WorkflowProfiles:
    findings = list(_repeated(rows))
    if findings:
        raise InputError(findings)
    return WorkflowProfiles(tuple(rows))


def workflow_profile_csv(rows: Sequence[MeasuredConfiguration]) -> str:
    """Return the file of rows that have the same steps: CSV, accuracy with six digits."""
    steps = [step for step, _ in rows[0].choices]
    knobs = {
        step: sorted({name for row in rows for name, _ in dict(row.choices)[step].knobs})
        for step in steps
    }
    columns = [f"{step}.{name}" for step in steps for name in ("executor", *knobs[step])]
    text = io.StringIO()
    header = ("workflow", *columns, *FIGURES, "source")
    writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells: dict[str, object] = {"workflow": row.workflow, "n": row.n, "source": row.source}
        for step, choice in row.choices:
            cells[f"{step}.executor"] = choice.executor or LEFT_OUT
            cells |= {f"{step}.{name}": value for name, value in choice.knobs}
        cells["accuracy"] = f"{row.accuracy:.6g}"
        cells |= {
            name: f"{value:.6g}"
            for name, value in zip(TOKENS, row.tokens, strict=True)
            if value is not None
        }
        writer.writerow(cells)
    return text.getvalue()


def _cell(value: Attr | str) -> str:
    """Return a knob's setting as cells hold it: `5`, `0.5`, `true`, a text as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value)


def _normal(cell: str) -> str:
    """Return a cell in the one form of its setting: `5.0` is `5`."""
    try:
        value = float(cell)
    except ValueError:
        return cell
    return _cell(value) if math.isfinite(value) else cell


@dataclass(frozen=True, slots=True)
class _Line:
    places: Mapping[str, Span]
    text: Mapping[str, str]
    knobs: Mapping[str, Mapping[str, str]]  # of each step: by knob, the column

    def finding(self, column: str, message: str, help: str | None = None) -> Diagnostic:
        return Diagnostic("bad-profile", message, self.places[column], help=help)


def _read(text: str, file: str, needed: Sequence[str]) -> list[MeasuredConfiguration]:
    reader = csv.reader(io.StringIO(text))
    try:
        lines = [(reader.line_num, cells) for cells in reader]
    except csv.Error:
        return []  # told by the reader of the other profiles
    header = tuple(name.strip() for name in lines[0][1]) if lines else ()
    if not is_workflow_profile(header):
        return []
    findings = list(_bad_header(header, file, needed))
    if findings:
        raise InputError(findings)
    found = []
    knobs = _knob_columns(header)
    for number, cells in lines[1:]:
        if not cells:
            continue
        line = _line(header, cells, file, number, knobs)
        if len(cells) != len(header):
            message = f"the row has {len(cells)} cells, the header {len(header)}"
            raise InputError(line.finding("workflow", message))
        found.append(line)
    used = _steps_by_workflow(found)
    findings = [finding for line in found for finding in _bad_line(line, used, needed)]
    if findings:
        raise InputError(findings)
    return [_configuration(line, used[line.text["workflow"]]) for line in found]


def _bad_header(header: tuple[str, ...], file: str, needed: Sequence[str]) -> Iterator[Diagnostic]:
    known, columns = ("workflow", *FIGURES, "source"), frozenset(header)
    for name, span in _places(header, header, file, 1).items():
        step, dot, knob = name.partition(".")
        hint = None
        if name in known or (dot and knob == "executor" and step):
            continue
        if dot and step and knob:
            if f"{step}.executor" in columns:
                continue
            message = f"column `{name}` without a column `{step}.executor`"
        else:
            message = f"unknown column `{name}`"
            hint = did_you_mean(name, known) or "steps have columns `STEP.executor` and `STEP.KNOB`"
        yield Diagnostic("bad-profile", message, span, help=hint)
    start = Span(file, 1, 1, 1, 2)
    for name in needed:
        if name not in header:
            yield Diagnostic("bad-profile", f"no column `{name}`", start)
    for name in sorted(name for name, times in Counter(header).items() if times > 1):
        yield Diagnostic("bad-profile", f"column `{name}` stands there twice", start)


def _places(names: Sequence[str], cells: Sequence[str], file: str, line: int) -> dict[str, Span]:
    found: dict[str, Span] = {}
    at = 1
    for name, cell in zip(names, cells, strict=False):
        found[name] = Span(file, line, at, line, at + max(1, len(cell)))
        at += len(cell) + 1
    return found


def _knob_columns(header: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for column in header:
        step, dot, knob = column.partition(".")
        if dot and knob != "executor":
            found.setdefault(step, {})[knob] = column
    return found


def _line(
    header: tuple[str, ...],
    cells: Sequence[str],
    file: str,
    number: int,
    knobs: Mapping[str, Mapping[str, str]],
) -> _Line:
    places = {name: Span(file, number, 1, number, 2) for name in header}
    text = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
    return _Line(places | _places(header, cells, file, number), text, knobs)


def _steps_by_workflow(lines: Sequence[_Line]) -> dict[str, tuple[str, ...]]:
    """Return, for each workflow, the steps that any of its rows says something of."""
    used: dict[str, dict[str, None]] = {}
    for line in lines:
        steps = used.setdefault(line.text["workflow"], {})
        for column, cell in line.text.items():
            step, dot, _ = column.partition(".")
            if dot and cell:
                steps[step] = None
    return {workflow: tuple(steps) for workflow, steps in used.items()}


def _bad_line(
    line: _Line, used: Mapping[str, tuple[str, ...]], needed: Sequence[str]
) -> Iterator[Diagnostic]:
    for name in needed:
        if not line.text[name]:
            yield line.finding(name, f"`{name}` is empty")
    for step in used[line.text["workflow"]]:
        executor = line.text[f"{step}.executor"]
        if not executor:
            message = f"`{step}.executor` is empty, and other rows have it"
            hint = f"optional work that was left out is `{LEFT_OUT}`"
            yield line.finding(f"{step}.executor", message, hint)
        knobs = line.knobs.get(step, {}) if executor in ("", LEFT_OUT) else {}
        for column in knobs.values():
            if line.text[column]:
                message = f"`{column}` is set, and `{step}` has no executor"
                yield line.finding(column, message)
    for name in FIGURES:
        cell = line.text.get(name, "")
        if cell:
            why = _impossible(name, cell)
            if why is not None:
                yield line.finding(name, f"`{name}` is {cell}; {why}")


def _impossible(name: str, cell: str) -> str | None:
    """Return what a figure has to be, where it is not that."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if name == "accuracy":
        return None if 0.0 <= value <= 1.0 else "it must be from 0 to 1"
    if name == "n":
        fits = value >= 1.0 and value.is_integer()
        return None if fits else "it must be a whole number of at least 1"
    return None if 0.0 <= value < math.inf else "it must be at least 0 and finite"


def _configuration(line: _Line, steps: Sequence[str]) -> MeasuredConfiguration:
    tokens = [line.text.get(name, "") for name in TOKENS]
    return MeasuredConfiguration(
        workflow=line.text["workflow"],
        choices=tuple((step, _choice(line, step)) for step in steps),
        accuracy=float(line.text.get("accuracy") or 0.0),
        n=int(float(line.text.get("n") or 0)),
        tokens=tuple(float(cell) if cell else None for cell in tokens),
        source=line.text.get("source", ""),
        places=line.places,
    )


def _choice(line: _Line, step: str) -> Choice:
    executor = line.text[f"{step}.executor"]
    if executor == LEFT_OUT:
        return Choice(None)
    cells = {knob: line.text[column] for knob, column in line.knobs.get(step, {}).items()}
    knobs = sorted((knob, _normal(cell)) for knob, cell in cells.items() if cell)
    return Choice(executor, tuple(knobs))


def _repeated(rows: Iterable[MeasuredConfiguration]) -> Iterator[Diagnostic]:
    first: dict[object, MeasuredConfiguration] = {}
    for row in rows:
        before = first.setdefault((row.workflow, frozenset(row.choices)), row)
        if before is not row:
            label = Label(before.places["workflow"], "first here")
            message = f"this configuration of `{row.workflow}` stands there twice"
            yield Diagnostic("bad-profile", message, row.places["workflow"], labels=(label,))
