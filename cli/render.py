"""Diagnostics as people read them: the message, the source it is about, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import click

from ..ir.diagnostics import Diagnostic, Span
from .display import cell, safe

# a longer line is shown as a window around what is marked
_MAX_COLUMNS = 120
_CONTEXT = 30
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}

Sources = Callable[[str], Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class _Mark:
    """What is underlined: a place, the character that does it, and words behind it."""

    span: Span
    character: str
    message: str
    colour: str


def render(diagnostic: Diagnostic, sources: Sources) -> str:
    """Return a diagnostic as text with ANSI colours (`click.echo` drops them where unwanted).

    `sources` gives the lines of a file by the name spans carry, or None: then only the place shows.
    """
    colour = _COLOURS[diagnostic.severity]
    head = click.style(f"{diagnostic.severity}[{diagnostic.id}]", fg=colour, bold=True)
    lines = [f"{head}: {click.style(_one_line(diagnostic.message), bold=True)}"]
    if diagnostic.span is not None:
        marks = [_Mark(diagnostic.span, "^", "", colour)]
        marks += [
            _Mark(label.span, "-", _one_line(label.message), "blue") for label in diagnostic.labels
        ]
        lines += _frames(marks, sources)
    if diagnostic.help is not None:
        first, *rest = safe(diagnostic.help).split("\n")
        lines.append(f"{click.style('help', fg='cyan', bold=True)}: {first}")
        lines += [f"      {line}" for line in rest]
    return "\n".join(lines)


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """Return `2 errors, 1 warning`, or nothing where there are neither."""
    severities = [d.severity for d in diagnostics]
    counts = [(severities.count(kind), kind) for kind in ("error", "warning")]
    return ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for n, kind in counts if n)


def _one_line(text: str) -> str:
    return safe(text.replace("\n", "\\n"))


def _frames(marks: list[_Mark], sources: Sources) -> Iterator[str]:
    """Yield a frame for each file, the primary span's file first."""
    files = list(dict.fromkeys(mark.span.file for mark in marks))
    gutter = max(len(str(mark.span.line)) for mark in marks)
    for file in files:
        here = [mark for mark in marks if mark.span.file == file]
        arrow = "-->" if file == files[0] else ":::"
        lines = sources(file)
        # a clause given by a flag has no file: its span is named after the flag
        place = file if lines is None and file.startswith("--") else str(here[0].span)
        yield f"{' ' * gutter}{_blue(arrow)} {safe(place)}"
        if lines is None:
            yield from (
                f"{' ' * gutter} {_blue('=')} {safe(str(m.span))}: {m.message}"
                for m in here
                if m.message
            )
            continue
        yield from _frame(here, lines, gutter)


def _frame(marks: list[_Mark], source: Sequence[str], gutter: int) -> Iterator[str]:
    yield _row("", "", gutter)
    shown = 0
    for number in sorted({mark.span.line for mark in marks}):
        if shown and number > shown + 1:
            yield _blue("...")
        shown = number
        line = source[number - 1].removesuffix("\r") if number <= len(source) else ""
        here = sorted((m for m in marks if m.span.line == number), key=lambda m: m.character == "-")
        window = _window(line, [_columns(mark, line) for mark in here])
        yield _row(str(number), window.text, gutter)
        for mark in here:
            blanks, carets = window.underline(*_columns(mark, line))
            words = f" {mark.message}" if mark.message else ""
            yield _row(
                "",
                " " * blanks + click.style(mark.character * carets + words, fg=mark.colour),
                gutter,
            )


def _columns(mark: _Mark, line: str) -> tuple[int, int]:
    """Return where a mark starts and ends in its line, from 0; a longer one ends with the line."""
    span = mark.span
    start = min(max(span.column - 1, 0), len(line))
    end = span.end_column - 1 if span.end_line == span.line else len(line)
    return start, max(end, start + 1)


@dataclass(frozen=True, slots=True)
class _Window:
    """The stretch of a line that is shown: its text, and the first column of each character."""

    text: str
    first: int
    starts: tuple[int, ...]

    def underline(self, start: int, end: int) -> tuple[int, int]:
        """Return the blanks before an underline and its length, in screen columns."""
        left, right = self._at(start), self._at(end)
        return left, max(right - left, 1)

    def _at(self, column: int) -> int:
        index = column - self.first
        last = len(self.starts) - 1
        # one past the end is where a missing character would stand
        return self.starts[min(max(index, 0), last)] + max(index - last, 0) * (index == last + 1)


def _window(line: str, marked: list[tuple[int, int]]) -> _Window:
    first, last = 0, len(line)
    if last > _MAX_COLUMNS:
        first = max(0, marked[0][0] - _CONTEXT)
        last = min(last, first + _MAX_COLUMNS)
    before, after = "…" * (first > 0), "…" * (last < len(line))
    shown, column, starts = before, len(before), []
    for character in line[first:last]:
        text, columns = cell(character)
        starts.append(column)
        shown, column = shown + text, column + columns
    return _Window(shown + after, first, (*starts, column))


def _row(number: str, text: str, gutter: int) -> str:
    return f"{_blue(f'{number:>{gutter}} |')}{' ' + text if text else ''}"


def _blue(text: str) -> str:
    return click.style(text, fg="blue", bold=True)
