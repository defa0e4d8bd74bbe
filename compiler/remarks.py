"""Comments and the parts of a program they belong to, for the formatter."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.diagnostics import Span
from . import ast

Place = tuple[int, int]  # line and column
BEGINNING: Place = (0, 0)
END: Place = (1 << 60, 0)


@dataclass(frozen=True, slots=True)
class Row:
    """A part in a sequence of parts, or a comment that stands alone (`part` is None then).

    `remark` is the comment after the part on its line, or the comment that stands alone.
    """

    part: int | None
    remark: str
    blank_before: bool
    first_line: int
    last_line: int


class Remarks:
    """The comments of a file, each handed out once."""

    def __init__(self, comments: tuple[ast.Comment, ...]) -> None:
        """Keep the comments, which are in source order."""
        self._comments = comments
        self._places = [start(comment.span) for comment in comments]
        self._left = [True] * len(comments)

    def rows(
        self, parts: Sequence[Span], after: Place, before: Place, *, is_file: bool = False
    ) -> list[Row]:
        """Return the parts with the comments between two places; what is inside must be taken.

        A comment left over inside a part moves in front of it; in front of a declaration it must
        not become a `///` documentation comment by that.
        """
        rows: list[Row] = []
        for index, span in enumerate(parts):
            for comment in self._take(after, start(span)):
                _place(rows, comment)
            for comment in self._take(start(span), end(span)):
                text = comment.text
                if is_file and text.startswith("///"):
                    text = f"//{text.lstrip('/')}"
                _append(rows, None, text, span.line, span.line)
            _append(rows, index, "", span.line, span.end_line)
            after = end(span)
        for comment in self._take(after, before):
            _place(rows, comment)
        return rows

    def _take(self, after: Place, before: Place) -> list[ast.Comment]:
        first, last = bisect_left(self._places, after), bisect_left(self._places, before)
        taken = [self._comments[i] for i in range(first, last) if self._left[i]]
        self._left[first:last] = [False] * max(0, last - first)
        return taken


def start(span: Span) -> Place:
    """Return where a span begins."""
    return span.line, span.column


def end(span: Span) -> Place:
    """Return where a span ends."""
    return span.end_line, span.end_column


def _place(rows: list[Row], comment: ast.Comment) -> None:
    line = comment.span.line
    last = rows[-1] if rows else None
    if last is None or last.part is None or last.remark or line > last.last_line:
        _append(rows, None, comment.text, line, line)
        return
    rows[-1] = Row(last.part, comment.text, last.blank_before, last.first_line, last.last_line)


def _append(rows: list[Row], part: int | None, remark: str, first: int, last: int) -> None:
    blank = bool(rows) and first - rows[-1].last_line > 1
    rows.append(Row(part, remark, blank, first, last))
