"""Documents that know where lines may break, and the printer that decides where they do.

After P. Wadler, "A prettier printer" (2003): a group is printed on one line when it fits, else
every line of its own (not of inner groups) breaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH = 100
INDENT = 4


@dataclass(frozen=True, slots=True)
class Line:
    """A place to break; `flat` stands there where it does not."""

    flat: str = " "


@dataclass(frozen=True, slots=True)
class IfBroken:
    """Text only where the lines around it break: the comma after the last part of a list."""

    text: str


@dataclass(frozen=True, slots=True)
class Hard:
    """A break in any case; `blank` leaves an empty line."""

    blank: bool = False


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment after code: it may stand out over the right margin."""

    text: str


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Lines of a long string, indented together; empty ones stay empty."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """Documents in sequence; `forced` when one of them must break."""

    parts: tuple[Doc, ...]
    forced: bool
    indent: int = 0
    is_group: bool = False


class Run:
    """Bindings in consecutive lines, whose `=` are aligned where they stand in one line each."""

    def __init__(self) -> None:
        """Start a run without bindings."""
        self._rows: list[tuple[int, int | None]] = []
        self._paddings: dict[int, list[int]] = {}

    def add(self, name: str, value: Doc) -> Padding:
        """Add a binding and return what pads its name."""
        self._rows.append((len(name), None if _forced(value) else _flat_width(value)))
        return Padding(self, len(self._rows) - 1)

    def padding(self, row: int, indent: int) -> int:
        """Return the blanks to add after the name of a row printed at this indentation."""
        if indent not in self._paddings:
            self._paddings[indent] = self._at(WIDTH - indent)
        return self._paddings[indent][row]

    def _at(self, room: int) -> list[int]:
        paddings: list[int] = []
        together: list[tuple[int, int]] = []
        for name, width in [*self._rows, (0, None)]:
            if width is not None and name + len(" = ") + width <= room:
                together.append((name, width))
                continue
            paddings += _aligned(together, room)
            paddings.append(0)  # the one that takes several lines
            together = []
        return paddings


@dataclass(frozen=True, slots=True)
class Padding:
    """Blanks that align a binding with its run."""

    run: Run = field(repr=False)
    row: int


Doc = str | Line | IfBroken | Hard | Remark | Verbatim | Padding | Parts


def concat(*parts: Doc) -> Parts:
    """Put documents in sequence."""
    return Parts(parts, any(map(_forced, parts)))


def indent(*parts: Doc) -> Parts:
    """Put documents in sequence, the lines that begin within one step further in."""
    return Parts(parts, any(map(_forced, parts)), indent=INDENT)


def group(*parts: Doc) -> Parts:
    """Put documents in sequence that share one decision: in one line, or broken at every line."""
    return Parts(parts, any(map(_forced, parts)), is_group=True)


def render(doc: Doc) -> str:
    """Print a document in at most WIDTH columns where its breaks allow."""
    out: list[str] = []
    column = 0
    margin = 0  # indentation owed to the next text of this line
    stack: list[tuple[int, bool, Doc]] = [(0, True, doc)]
    while stack:
        depth, broken, item = stack.pop()
        if isinstance(item, Padding):
            item = " " * item.run.padding(item.row, depth) if broken else ""
        elif isinstance(item, IfBroken):
            item = item.text if broken else ""
        elif isinstance(item, Line) and not broken:
            item = item.flat
        match item:
            case "":
                continue
            case str(text) | Remark(text):
                out.append(" " * margin + text)
                column += len(text)
                margin = 0
            case Line() | Hard():
                out.append("\n\n" if item == Hard(blank=True) else "\n")
                column = margin = depth
            case Verbatim(lines):
                head, *rest = lines
                out.append(" " * margin + head)
                out += [f"\n{' ' * depth}{line}" if line else "\n" for line in rest]
                column = depth + len(rest[-1])
                margin = 0
            case Parts(parts, forced, step, is_group):
                if is_group:
                    flat: list[tuple[int, bool, Doc]] = [(0, False, item)]
                    broken = forced or not (broken is False or _fits(WIDTH - column, flat, stack))
                stack += [(depth + step, broken, part) for part in reversed(parts)]
    return "".join(out)


def _fits(
    room: int, first: list[tuple[int, bool, Doc]], rest: Sequence[tuple[int, bool, Doc]]
) -> bool:
    """Tell whether the text up to the next possible break fits into `room` columns."""
    stack = first
    following = len(rest)
    while room >= 0:
        if not stack:
            if following == 0:
                return True
            following -= 1
            stack = [rest[following]]
        _, broken, item = stack.pop()
        match item:
            case str(text):
                room -= len(text)
            case Line(flat):
                if broken:
                    return True
                room -= len(flat)
            case Hard() | Remark() | Verbatim():
                return True
            case Parts(parts, forced):
                stack += [(0, broken or forced, part) for part in reversed(parts)]
    return False


def _forced(doc: Doc) -> bool:
    if isinstance(doc, Parts):
        return doc.forced
    return isinstance(doc, Hard | Remark | Verbatim)


def _flat_width(doc: Doc) -> int:
    width = 0
    stack: list[Doc] = [doc]
    while stack:
        match stack.pop():
            case str(text) | Line(text):
                width += len(text)
            case Parts(parts):
                stack += parts
    return width


def _aligned(rows: list[tuple[int, int]], room: int) -> list[int]:
    widest = max((name for name, _ in rows), default=0)
    if any(widest + len(" = ") + width > room for _, width in rows):
        return [0] * len(rows)
    return [widest - name for name, _ in rows]
