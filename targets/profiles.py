"""Measured load points and start-up times of models and tools (`*.csv`), and curves."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

from ..ir.diagnostics import Diagnostic, InputError, Span, did_you_mean
from .csv_file import csv_rows
from .toml_source import read_text
from .workflow_profiles import is_workflow_profile

Origin = Literal["measured", "shipped"]
PERCENTILES = ("p50", "p90", "p95", "p99")
_HEAD = ("model", "precision", "device", "tp")
_TAIL = ("power_w", "engine", "engine_version", "source")
_TTFT = tuple(f"ttft_{p}_s" for p in PERCENTILES)
_TPOT = tuple(f"tpot_{p}_ms" for p in PERCENTILES)
_LATENCY = tuple(f"latency_{p}_s" for p in PERCENTILES)
_LOAD = ("isl_tok", "osl_tok", "load_tokens_per_s", "in_flight")
TOKEN_COLUMNS = (*_HEAD, *_LOAD, *_TTFT, *_TPOT, *_TAIL)
ITEM_COLUMNS = (*_HEAD, "load_items_per_s", *_LATENCY, *_TAIL)
START_COLUMNS = (*_HEAD, "start_s", "sleep_s", "wake_s", *_TAIL[1:])
_TEXT = ("model", "precision", "device", "engine", "engine_version", "source")
_REQUIRED = ("model", "device", "tp", "source")
# More load may not look faster; measurements repeat to a few percent.
NOISE = 0.05


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a row is about: the column `key` tells, in which it has a number.

    It has one in at least one of `times` too, if there are any. A file may hold several kinds.
    """

    columns: tuple[str, ...]
    key: str
    times: tuple[str, ...] = ()


_TOKENS = _Kind(TOKEN_COLUMNS, "load_tokens_per_s", (*_TPOT, "in_flight"))
_ITEMS = _Kind(ITEM_COLUMNS, "load_items_per_s", _LATENCY[:1])
_STARTS = _Kind(START_COLUMNS, "start_s")
_KINDS = (_TOKENS, _ITEMS, _STARTS)


@dataclass(frozen=True, slots=True)
class TokenPoint:
    """A language model at one load: seconds, watts of all GPUs; None is not measured.

    `tpot_s` is the time for each token after the first, `in_flight` the requests at work or waiting
    on average.
    """

    load_tokens_per_s: float
    isl_tok: float | None
    osl_tok: float | None
    ttft_s: tuple[float | None, ...]  # by PERCENTILES
    tpot_s: tuple[float | None, ...]
    power_w: float | None
    source: str
    in_flight: float | None = None
    engine: str = ""
    engine_version: str = ""

    @property
    def request_s(self) -> float | None:
        """Return the mean time of a whole request of these lengths; None where it is not known.

        By Little's law, where the requests in flight were counted; else it is the median time to
        the first token and that of the others.
        """
        if self.osl_tok is None:
            return None
        if self.in_flight is not None:
            return self.in_flight * self.osl_tok / self.load_tokens_per_s
        if self.ttft_s[0] is None or self.tpot_s[0] is None:
            return None
        return self.ttft_s[0] + max(self.osl_tok - 1.0, 0.0) * self.tpot_s[0]

    @property
    def concurrency(self) -> float:
        """Return the requests in flight: as counted, or by Little's law.

        Where the time of whole requests is not known, the time per token at the lowest percentile
        that was measured stands for it: every row has one or the other.
        """
        if self.in_flight is not None:
            return self.in_flight
        whole = self.request_s
        if whole is not None and self.osl_tok is not None:
            return self.load_tokens_per_s / self.osl_tok * whole
        return self.load_tokens_per_s * next(t for t in self.tpot_s if t is not None)


@dataclass(frozen=True, slots=True)
class ItemPoint:
    """Another executor at one load: seconds for one item by PERCENTILES, watts."""

    load_items_per_s: float
    latency_s: tuple[float | None, ...]
    power_w: float | None
    source: str


Key = tuple[str, str, int]  # model or executor, device type or `cpu`, tensor-parallel degree


@dataclass(frozen=True, slots=True)
class Profiles:
    """Load points by (model, device, tp), ascending load, and whether they are a user's own.

    `starts` are seconds from the start of a server, or of a tool's process, to its first answer;
    `changes` what it takes a server to fall asleep (level 1) and to wake, where both were measured.
    """

    tokens: Mapping[Key, tuple[TokenPoint, ...]]
    items: Mapping[Key, tuple[ItemPoint, ...]]
    origins: Mapping[Key, Origin]
    starts: Mapping[Key, float] = field(default_factory=dict)
    changes: Mapping[Key, tuple[float, float]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of every figure."""
        points = (sorted(self.tokens.items()), sorted(self.items.items()))
        rows = (*points, *sorted(self.starts.items()), *sorted(self.changes.items()))
        return hashlib.sha256(repr(rows).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity over load or concurrency: linear between points, constant beyond them."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]

    def at(self, x: float) -> float:
        """Return the interpolated value."""
        i = bisect_right(self.xs, x)
        if i == 0:
            return self.ys[0]
        if i == len(self.xs):
            return self.ys[-1]
        x0, x1, y0, y1 = self.xs[i - 1], self.xs[i], self.ys[i - 1], self.ys[i]
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


@dataclass(frozen=True, slots=True)
class _Row:
    kind: _Kind
    file: str
    line: int
    columns: Mapping[str, int]  # where each cell starts, from 1
    text: Mapping[str, str]
    numbers: Mapping[str, float | None]

    @property
    def key(self) -> Key:
        return self.text["model"], self.text["device"], int(self.numbers["tp"] or 0)

    def finding(self, column: str, message: str) -> Diagnostic:
        start = self.columns.get(column, 1)
        width = max(1, len(self.text.get(column, "")))
        span = Span(self.file, self.line, start, self.line, start + width)
        return Diagnostic("bad-profile", message, span)


def load_profiles(paths: Sequence[Path] = (), *, shipped: bool = True) -> Profiles:
    """Return the shipped figures and those of the user's files, which replace them by key.

    Raises InputError with every finding of the first file that has any.
    """
    base = _shipped() if shipped else Profiles({}, {}, {})
    rows = [row for path in paths for row in _read(read_text(path), str(path))]
    found = _group(rows, "measured")
    return Profiles(
        {**base.tokens, **found.tokens},
        {**base.items, **found.items},
        {**base.origins, **found.origins},
        {**base.starts, **found.starts},
        {**base.changes, **found.changes},
    )


@cache
def _shipped() -> Profiles:
    folder = Path(__file__).parent / "profiles"
    rows = [
        row
        for file in sorted(folder.glob("*.csv"))
        for row in _read(file.read_text("utf-8"), f"profiles/{file.name}")
    ]
    return _group(rows, "shipped")


def _read(text: str, file: str) -> list[_Row]:
    """Return a file's rows; InputError where the header or a cell is wrong.

    A file that is of workflows has none of these.
    """
    (_, named), *lines = csv_rows(text, file, "bad-profile") or [(1, [])]
    header = tuple(named)
    if is_workflow_profile(header):
        return []
    kinds = tuple(kind for kind in _KINDS if kind.key in header) or (_TOKENS,)
    findings = list(_bad_header(header, kinds, file))
    if findings:
        raise InputError(findings)
    rows = [_row(kinds, file, n, header, cells) for n, cells in lines if cells]
    findings = [finding for row in rows for finding in _bad_row(row)]
    if findings:
        raise InputError(findings)
    findings = list(_not_monotone(rows))
    if findings:
        raise InputError(findings)
    return rows


def _bad_header(
    header: tuple[str, ...], kinds: tuple[_Kind, ...], file: str
) -> Iterator[Diagnostic]:
    known = {name for kind in kinds for name in kind.columns}
    column = 1
    for name in header:
        if name not in known:
            span = Span(file, 1, column, 1, column + max(1, len(name)))
            message = f"unknown column `{name}`"
            yield Diagnostic("bad-profile", message, span, help=did_you_mean(name, sorted(known)))
        column += len(name) + 1
    for name in (*_REQUIRED, *(kind.key for kind in kinds)):
        if name not in header:
            yield Diagnostic("bad-profile", f"no column `{name}`", Span(file, 1, 1, 1, 2))
    for kind in kinds:
        if kind.times and not set(kind.times) & set(header):
            message = f"no column `{kind.times[0]}`"
            yield Diagnostic("bad-profile", message, Span(file, 1, 1, 1, 2))


def _row(
    kinds: tuple[_Kind, ...], file: str, line: int, header: tuple[str, ...], cells: list[str]
) -> _Row:
    columns: dict[str, int] = {}
    at = 1
    for name, cell in zip(header, cells, strict=False):
        columns[name] = at
        at += len(cell) + 1
    text = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
    kind = next((kind for kind in kinds if text.get(kind.key)), kinds[0])
    row = _Row(kind, file, line, columns, text, {})
    if len(cells) != len(header):
        message = f"the row has {len(cells)} cells, the header {len(header)}"
        raise InputError(row.finding(header[0], message))
    numbers = {name: _number(row, name) for name in header if name not in _TEXT}
    return _Row(kind, file, line, columns, text, numbers)


def _number(row: _Row, name: str) -> float | None:
    cell = row.text[name]
    if cell == "":
        return None
    try:
        value = float(cell)
    except ValueError:
        raise InputError(row.finding(name, f"`{cell}` is not a number")) from None
    return value


def _bad_row(row: _Row) -> Iterator[Diagnostic]:
    for name in _REQUIRED:
        if row.text[name] == "":
            yield row.finding(name, f"`{name}` is empty")
    for name, cell in row.text.items():
        if cell and name not in row.kind.columns:
            yield row.finding(name, f"a row with `{row.kind.key}` has no `{name}`")
    for name, value in row.numbers.items():
        if value is None:
            continue
        least = -1.0 if name == "tp" else 0.0  # 0 GPUs is a CPU
        if not math.isfinite(value) or value <= least:
            yield row.finding(name, f"`{name}` is {row.text[name]}; it must be above 0 and finite")
    tp = row.numbers["tp"]
    if tp is not None and math.isfinite(tp) and tp != int(tp):
        yield row.finding("tp", f"`tp` is {row.text['tp']}, not a whole number")
    if row.numbers[row.kind.key] is None:
        yield row.finding(row.kind.key, f"`{row.kind.key}` is empty")
    times = [name for name in row.kind.times if name in row.numbers]
    if times and all(row.numbers[name] is None for name in times):
        yield row.finding(times[0], f"`{times[0]}` is empty")
    elif row.kind is _TOKENS and not any(map(row.numbers.get, (*_TPOT, "osl_tok"))):
        yield row.finding("osl_tok", "without a time per token, `osl_tok` is needed")
    for names in (_TTFT, _TPOT, _LATENCY):
        known = [(name, row.numbers[name]) for name in names if row.numbers.get(name) is not None]
        for (low, a), (high, b) in pairwise(known):
            if a is not None and b is not None and b < a:
                yield row.finding(high, f"`{high}` is below `{low}`")


def _not_monotone(rows: list[_Row]) -> Iterator[Diagnostic]:
    last: dict[tuple[str, Key], _Row] = {}
    for row in rows:
        before = last.get((row.kind.key, row.key))
        last[row.kind.key, row.key] = row
        if before is None:
            continue
        if row.kind is _STARTS:
            yield row.finding("model", f"line {before.line} has this model, device and `tp`")
            continue
        load = row.kind.key
        if (row.numbers[load] or 0) <= (before.numbers[load] or 0):
            message = f"`{load}` is not above that of line {before.line}"
            yield row.finding(load, message)
            continue
        both = (t for t in row.kind.times if row.numbers.get(t) and before.numbers.get(t))
        time = next(both, None)
        if time and (row.numbers[time] or 0) < (before.numbers[time] or 0) * (1 - NOISE):
            message = f"`{time}` falls below that of line {before.line} although the load rises"
            yield row.finding(time, message)


def _group(rows: Iterable[_Row], origin: Origin) -> Profiles:
    tokens: dict[Key, tuple[TokenPoint, ...]] = {}
    items: dict[Key, tuple[ItemPoint, ...]] = {}
    starts: dict[Key, float] = {}
    changes: dict[Key, tuple[float, float]] = {}
    for row in rows:
        if row.kind is _STARTS:
            starts[row.key] = row.numbers["start_s"] or 0.0
            sleep_s, wake_s = row.numbers.get("sleep_s"), row.numbers.get("wake_s")
            if sleep_s is not None and wake_s is not None:
                changes[row.key] = (sleep_s, wake_s)
        elif row.kind is _ITEMS:
            items[row.key] = (*items.get(row.key, ()), _item_point(row))
        else:
            tokens[row.key] = (*tokens.get(row.key, ()), _token_point(row))
    return Profiles(tokens, items, dict.fromkeys([*tokens, *items], origin), starts, changes)


def _token_point(row: _Row) -> TokenPoint:
    tpot = tuple(None if v is None else v / 1e3 for v in map(row.numbers.get, _TPOT))
    return TokenPoint(
        load_tokens_per_s=row.numbers["load_tokens_per_s"] or 0.0,
        isl_tok=row.numbers.get("isl_tok"),
        osl_tok=row.numbers.get("osl_tok"),
        ttft_s=tuple(map(row.numbers.get, _TTFT)),
        tpot_s=tpot,
        power_w=row.numbers.get("power_w"),
        source=row.text["source"],
        in_flight=row.numbers.get("in_flight"),
        engine=row.text.get("engine", ""),
        engine_version=row.text.get("engine_version", ""),
    )


def _item_point(row: _Row) -> ItemPoint:
    return ItemPoint(
        load_items_per_s=row.numbers["load_items_per_s"] or 0.0,
        latency_s=tuple(map(row.numbers.get, _LATENCY)),
        power_w=row.numbers.get("power_w"),
        source=row.text["source"],
    )


def token_curve(
    points: Sequence[TokenPoint], value: Callable[[TokenPoint], float | None]
) -> Curve | None:
    """Return a quantity over concurrency through the points that have it; None where none has."""
    found = [(p.concurrency, v) for p in points for v in [value(p)] if v is not None]
    found.sort()
    return Curve(tuple(x for x, _ in found), tuple(y for _, y in found)) if found else None
