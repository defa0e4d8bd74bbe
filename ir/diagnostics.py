"""Diagnostics as data: what is wrong, where, and what to do; rendering lives elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of source text; lines and columns count from 1, the end column is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        """Return `file:line:column`, the form terminals turn into links."""
        return f"{self.file}:{self.line}:{self.column}"

    def to(self, other: Span) -> Span:
        """Return the span from this one's start to the other's end."""
        return Span(self.file, self.line, self.column, other.end_line, other.end_column)


@dataclass(frozen=True, slots=True)
class Label:
    """A secondary place that helps to understand a diagnostic."""

    span: Span
    message: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: kebab-case id, lower-case message without full stop, one primary span."""

    id: str
    message: str
    span: Span | None = None
    severity: Severity = "error"
    labels: tuple[Label, ...] = ()
    help: str | None = None

    @property
    def sort_key(self) -> tuple[str, int, int, str, str]:
        """Order of findings: by source position, those without a place last."""
        if self.span is None:
            return ("\uffff", 0, 0, self.id, self.message)
        return (self.span.file, self.span.line, self.span.column, self.id, self.message)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form that editors and CI read (docs/diagnostics.md)."""
        where: dict[str, Any] = {}
        if self.span is not None:
            where = {
                "file": self.span.file,
                "line": self.span.line,
                "column": self.span.column,
                "end_line": self.span.end_line,
                "end_column": self.span.end_column,
            }
        out: dict[str, Any] = {"id": self.id, "severity": self.severity, "message": self.message}
        out |= where
        if self.labels:
            out["labels"] = [
                {"file": s.file, "line": s.line, "column": s.column, "message": label.message}
                for label in self.labels
                for s in [label.span]
            ]
        if self.help is not None:
            out["help"] = self.help
        return out


def _told(diagnostics: Iterable[Diagnostic]) -> str:
    """Return findings as a Python traceback shows them: where, what, and what to do."""
    lines = []
    for found in diagnostics:
        place = f"{found.span}: " if found.span else ""
        remedy = f" (help: {found.help})" if found.help else ""
        lines.append(f"{place}{found.message}{remedy}")
    return "\n".join(lines)


class CompileError(Exception):
    """The program is wrong or cannot be met: all findings of a stage, at least one an error."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Keep the findings in source order."""
        self.diagnostics = tuple(sorted(diagnostics, key=lambda d: d.sort_key))
        super().__init__(_told(self.diagnostics))


class InputError(Exception):
    """A file or flag given to the tool cannot be used (exit 2): unreadable, malformed, missing."""

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]) -> None:
        """Take one finding or several."""
        found = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        self.diagnostics = tuple(sorted(found, key=lambda d: d.sort_key))
        super().__init__(_told(self.diagnostics))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest in spelling, or None when none is close."""
    found = get_close_matches(name, sorted(set(known)), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return a ready `help:` text with the closest known spelling, if there is one."""
    best = nearest(name, known)
    return None if best is None else f"did you mean `{best}`?"
