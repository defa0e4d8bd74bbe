"""Where the keys and values of a TOML text stand; `tomllib` reads values but keeps no places.

The scanner runs on text that `tomllib` has accepted, so it follows structure and never judges it.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass, field

Path = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.S
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]\}\n#]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Offsets of a key and of its value (a table's value is its header); ends are exclusive."""

    key: tuple[int, int]
    value: tuple[int, int]


@dataclass(slots=True)
class _Scanner:
    text: str
    at: int = 0
    found: dict[Path, Place] = field(default_factory=dict)
    lengths: dict[Path, int] = field(default_factory=dict)

    def run(self) -> None:
        table: Path = ()
        while True:
            self.at = _match_end(_SPACE, self.text, self.at)
            if self.at >= len(self.text):
                return
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)

    def header(self) -> Path:
        start = self.at
        many = self.text.startswith("[[", start)
        self.at += 2 if many else 1
        path: Path = ()
        for name, span in self.keys():
            # a header walks into the last element of every array of tables on its way
            path = self.inside((*path, name))
            self.found.setdefault(path, Place(span, span))
        self.at += 2 if many else 1
        if many:
            base = path[:-1] if path and isinstance(path[-1], int) else path
            index = self.lengths.get(base, 0)
            self.lengths[base] = index + 1
            path = (*base, index)
        self.found[path] = Place((start, self.at), (start, self.at))
        return path

    def inside(self, path: Path) -> Path:
        return (*path, self.lengths[path] - 1) if path in self.lengths else path

    def pair(self, table: Path) -> None:
        path = table
        key = (self.at, self.at)
        for name, span in self.keys():
            path, key = (*path, name), span
            self.found.setdefault(path, Place(span, span))
        self.at = _match_end(_BLANK, self.text, self.at + 1)  # past the `=`
        self.found[path] = Place(key, self.value(path))

    def keys(self) -> list[tuple[str, tuple[int, int]]]:
        names: list[tuple[str, tuple[int, int]]] = []
        while True:
            self.at = _match_end(_BLANK, self.text, self.at)
            start = self.at
            quoted = self.text[start] in "\"'"
            self.at = _match_end(_STRING if quoted else _BARE_KEY, self.text, start)
            raw = self.text[start : self.at]
            name = str(tomllib.loads(f"v = {raw}")["v"]) if quoted else raw
            names.append((name, (start, self.at)))
            self.at = _match_end(_BLANK, self.text, self.at)
            if self.text[self.at] != ".":
                return names
            self.at += 1

    def value(self, path: Path) -> tuple[int, int]:
        start = self.at
        match self.text[start]:
            case '"' | "'":
                self.at = _match_end(_STRING, self.text, start)
            case "[":
                self.array(path)
            case "{":
                self.inline(path)
            case _:
                self.at = _match_end(_SCALAR, self.text, start)
                return start, start + len(self.text[start : self.at].rstrip())
        return start, self.at

    def array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while True:
            self.at = _match_end(_SPACE, self.text, self.at)
            if self.text[self.at] == "]":
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            span = self.value((*path, index))
            self.found[(*path, index)] = Place(span, span)
            index += 1

    def inline(self, path: Path) -> None:
        self.at += 1
        while True:
            self.at = _match_end(_SPACE, self.text, self.at)
            if self.text[self.at] == "}":
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.pair(path)


def _match_end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()


def scan(text: str) -> dict[Path, Place]:
    """Return the place of every key path of a valid TOML text; array items have their index."""
    scanner = _Scanner(text)
    scanner.run()
    return scanner.found


def line_starts(text: str) -> tuple[int, ...]:
    """Return the offset at which each line starts."""
    return (0, *(i + 1 for i, c in enumerate(text) if c == "\n"))


def line_column(starts: tuple[int, ...], offset: int) -> tuple[int, int]:
    """Return the line and column, both from 1, of an offset."""
    line = bisect_right(starts, offset)
    return line, offset - starts[line - 1] + 1
