"""Progress of an evaluation: one line for each scored item, so that nothing is done twice."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from ...ir.diagnostics import Diagnostic, InputError

SCHEMA = "murakkab/evaluation/1"
# what reading a line raises that no evaluation has written
_NOT_AS_WRITTEN = (
    *(ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item: its score, the tokens its models took (None: none was asked).

    `error` says why the run failed, which scores 0.
    """

    score: float
    tokens: tuple[int, int] | None = None  # of prompts, of answers
    error: str | None = None


@dataclass
class Journal:
    """The outcomes so far, by configuration and item's line; every new one is written at once.

    Used as a context: it holds the file open.
    """

    path: Path
    outcomes: dict[str, dict[int, Outcome]]
    _size: int  # of the file's whole lines
    _header: str | None  # to be written still
    _file: IO[str] | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        """Open the file, less a last line that was cut short."""
        try:
            self._file = self.path.open("a", encoding="utf-8", newline="\n")
            self._file.truncate(self._size)
        except OSError as error:
            raise _unusable(self.path, (error.strerror or str(error)).lower()) from None
        if self._header is not None:
            self._write(self._header)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def of(self, configuration: str) -> dict[int, Outcome]:
        """Return the outcomes of a configuration, by line of the dataset."""
        return self.outcomes.setdefault(configuration, {})

    def add(self, configuration: str, line: int, outcome: Outcome) -> None:
        """Keep an outcome; raises OSError where it cannot be written."""
        entry: dict[str, Any] = {"configuration": configuration, "line": line}
        entry["score"] = outcome.score
        if outcome.tokens is not None:
            entry["tokens"] = outcome.tokens
        if outcome.error is not None:
            entry["error"] = outcome.error
        self._write(json.dumps(entry, ensure_ascii=False))
        self.of(configuration)[line] = outcome

    def _write(self, line: str) -> None:
        assert self._file is not None  # it is entered
        self._file.write(line + "\n")
        self._file.flush()


def open_journal(path: Path, workflow: str, digests: Mapping[str, str]) -> Journal:
    """Return the progress kept at a path, or a new one's.

    Raises InputError where it is of something else: `digests` differ in what it was made from.
    """
    header = {"schema": SCHEMA, "workflow": workflow, "digests": dict(digests)}
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]  # a kill may have cut the last line short
        text = whole.decode("utf-8")
    except FileNotFoundError:
        return Journal(path, {}, 0, json.dumps(header))
    except OSError as error:
        raise _unusable(path, (error.strerror or str(error)).lower()) from None
    except UnicodeDecodeError:
        raise _unusable(path, "it is not UTF-8 text") from None
    if not text:
        return Journal(path, {}, 0, json.dumps(header))
    first, *lines = text.removesuffix("\n").split("\n")
    begun = _header(path, first)
    if not lines:  # nothing would be lost
        return Journal(path, {}, 0, json.dumps(header))
    _require_same(path, begun, header)
    outcomes: dict[str, dict[int, Outcome]] = {}
    for number, line in enumerate(lines, 2):
        try:
            configuration, item, outcome = _read(line)
        except _NOT_AS_WRITTEN:
            raise _unusable(path, f"line {number} is not an outcome") from None
        own = outcomes.setdefault(configuration, {})
        if outcome.error is None:  # what failed is tried again
            own[item] = outcome
    return Journal(path, outcomes, len(whole), None)


def _read(line: str) -> tuple[str, int, Outcome]:
    entry = json.loads(line)
    tokens = entry.get("tokens")
    counted = None if tokens is None else (int(tokens[0]), int(tokens[1]))
    outcome = Outcome(float(entry["score"]), counted, entry.get("error"))
    if not math.isfinite(outcome.score):
        raise ValueError("score")
    return str(entry["configuration"]), int(entry["line"]), outcome


def _header(path: Path, line: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
        schema, digests = found["schema"], found.get("digests", {})
    except _NOT_AS_WRITTEN:
        raise _unusable(path, "it is not the progress of an evaluation") from None
    if schema != SCHEMA:
        raise _unusable(path, f"its schema is `{str(schema)[:60]}`, this version's `{SCHEMA}`")
    if not isinstance(digests, dict):
        raise _unusable(path, "it does not say what it was made from")
    return found


def _require_same(path: Path, begun: Mapping[str, Any], header: Mapping[str, Any]) -> None:
    if begun.get("workflow") != header["workflow"]:
        raise _unusable(path, f"it is of workflow `{begun.get('workflow')}`")
    wanted, found = header["digests"], begun.get("digests", {})
    other = [name for name in wanted if found.get(name) != wanted[name]]
    if other:
        named = f"{', '.join(other[:-1])} and {other[-1]}" if other[1:] else other[0]
        verb = "have" if other[1:] else "has"
        raise _unusable(path, f"the {named} {verb} changed since it was begun")


def _unusable(path: Path, why: str) -> InputError:
    hint = "remove it to begin anew, or write elsewhere with `-o`"
    message = f"cannot go on from `{path}`: {why}"
    return InputError(Diagnostic("stale-progress", message, help=hint))
