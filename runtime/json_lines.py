"""Lists in JSON Lines files: read once to check them, then item by item as they are wanted."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, overload

from ..ir.types import Type
from .list_file import ListFile
from .values import ListDigest, ValueProblem, from_json, unreadable

_MAX_LINE_BYTES = 256 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class LineProblem(ValueProblem):
    """A line that is no item of the list; `reason` says why, `str` also where."""

    def __init__(self, path: Path, line: int, column: int, reason: str) -> None:
        """Keep the place, counted from 1."""
        super().__init__(f"`{path}:{line}`: {reason}")
        self.path = path
        self.line = line
        self.column = column
        self.reason = reason


@dataclass(frozen=True, eq=False)
class JsonLines(ListFile, Sequence[Any]):
    """A list that stays in its file: 8 bytes of memory for each item.

    Taking an item raises `OSError` where the file is not any more what it was when it was opened.
    """

    _file: BinaryIO = field(repr=False)
    _state: tuple[int, int] = field(repr=False)
    _offsets: array[int] = field(repr=False)  # of each item's line, then of the end

    def __len__(self) -> int:
        """Return how many items there are."""
        return self.count

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Read an item, or some."""
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self.count))]
        if not -self.count <= index < self.count:
            raise IndexError(index)
        place = index % self.count
        if _state_of(self._file) != self._state:
            raise OSError(f"`{self.path}` has changed while it was read")
        begin, end = self._offsets[place], self._offsets[place + 1]
        line = os.pread(self._file.fileno(), end - begin, begin)
        try:
            return from_json(self.kind, json.loads(line.decode()), Path(self.path).parent)
        except ValueError as error:  # a medium that it names is gone
            raise OSError(f"item {place} of `{self.path}`: {error}") from None

    def __del__(self) -> None:
        """Close the file."""
        self._file.close()


def open_lines(kind: Type, path: Path) -> JsonLines:
    """Open a file of items of a type, after reading and checking all of it.

    Paths of media in it are relative to its folder; empty lines count for nothing. Raises
    `LineProblem` for the first line that is no such item, `ValueProblem` where it is no file that
    can be read.
    """
    reason = unreadable(path)
    if reason is not None:
        raise ValueProblem(f"`{path}` {reason}")
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unread(path, error) from None
    digest, offsets = ListDigest(), array("q")
    try:
        state = _state_of(file)
        for number, begin, line in _lines(file, path):
            digest.add(_item(kind, line, path, number))
            offsets.append(begin)
        offsets.append(file.tell())
    except OSError as error:
        file.close()
        raise _unread(path, error) from None
    except ValueProblem:
        file.close()
        raise
    return JsonLines(
        kind=kind,
        path=str(path.absolute()),
        sha256=digest.hexdigest(),
        count=digest.count,
        _file=file,
        _state=state,
        _offsets=offsets,
    )


def _lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield the lines that hold something: number, offset, content."""
    begin, number = 0, 0
    if file.read(len(_BOM)) == _BOM:
        begin = len(_BOM)
    file.seek(begin)
    while line := file.readline(_MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > _MAX_LINE_BYTES:
            raise LineProblem(path, number, 1, f"is over {_MAX_LINE_BYTES // 2**20} MiB")
        if not line.isspace():
            yield number, begin, line
        begin += len(line)


def _item(kind: Type, line: bytes, path: Path, number: int) -> Any:
    try:
        return from_json(kind, json.loads(line.decode()), path.parent)
    except ValueProblem as problem:
        raise LineProblem(path, number, 1, str(problem)) from None
    except json.JSONDecodeError as error:
        reason = f"is not JSON: {error.msg.lower()}"
        raise LineProblem(path, number, error.colno, reason) from None
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 text (byte {error.start})"
        raise LineProblem(path, number, 1, reason) from None
    except RecursionError:
        raise LineProblem(path, number, 1, "is nested too deep") from None
    except ValueError:  # the only other one: Python reads no integers of more than 4300 digits
        raise LineProblem(path, number, 1, "holds an integer of thousands of digits") from None


def _unread(path: Path, error: OSError) -> ValueProblem:
    return ValueProblem(f"`{path}` cannot be read: {error.strerror or error}")


def _state_of(file: BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_mtime_ns, found.st_size
