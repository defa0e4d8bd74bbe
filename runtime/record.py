"""The run record, `murakkab/run/1`: what happened, beside what was predicted.

`run.json` holds (schema: `targets/schemas/run.json`) the inputs and the result as values, the
failures, one entry for each step of the plan summing up its calls, and the totals. Beside it
stands the folder `run.json.values`: `calls.jsonl` has one line for each attempt at a call, in the
order they ended; larger values are files named by the SHA-256 of their content, JSON documents
(`.json`) or media as they are. Values are written as `values.encode` says; small ones stand inline:
`{"sha256": …, "value": …}`. Times are seconds since the run began.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ir.diagnostics import Diagnostic, InputError, Span, did_you_mean
from ..targets.conformance import load_schema, violation

SCHEMA = "murakkab/run/1"
_MAX_FIGURE = 1e18  # seconds, joules, tokens, money: far above what any run comes to
_MAX_RECORD_BYTES = 64 * 1024 * 1024


def run_schema() -> Mapping[str, Any]:
    """Return the published JSON Schema of run records."""
    return load_schema("run")


def values_folder(path: Path) -> Path:
    """Return the folder that holds what belongs to the record at `path`."""
    return path.with_name(path.name + ".values")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A loaded record; `path` None for one that was never written."""

    document: Mapping[str, Any]
    path: Path | None = None

    def step(self, name: str) -> Mapping[str, Any]:
        """Return a step's entry; raises InputError with the nearest name where there is none."""
        for step in self.document["steps"]:
            if step["step"] == name:
                return step  # type: ignore[no-any-return]
        names = [step["step"] for step in self.document["steps"]]
        raise InputError(
            Diagnostic(
                "unknown-step",
                f"the run has no step `{name}`; its steps: {', '.join(names)}",
                help=did_you_mean(name, names),
            )
        )

    def calls(self, step: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield the calls, all or a step's, in the order they ended; none were kept in memory.

        A run that broke off may have cut the last line short; it is left out. Raises InputError for
        a line that is no call.
        """
        if self.path is None:
            return
        lines = values_folder(self.path) / "calls.jsonl"
        if not lines.exists():
            return
        with lines.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                call = _call(line, lines, number)
                if step is None or call["step"] == step:
                    yield call

    def value(self, kept: Mapping[str, Any]) -> Any:
        """Return the encoded value that `{"sha256": …}` stands for.

        Raises InputError where its file is gone, or is no JSON.
        """
        if "value" in kept:
            return kept["value"]
        if "lines" in kept:
            return {name: kept[name] for name in ("lines", "sha256", "count")}
        assert self.path is not None  # without a folder every value is inline or left out
        name = f"{kept['sha256']}.json"
        try:
            return json.loads(self._content(name))
        except (ValueError, RecursionError) as error:
            raise _lost(values_folder(self.path) / name, f"not valid JSON: {error}") from None

    def media(self, encoded: Mapping[str, Any]) -> bytes:
        """Return the content of a medium that an encoded value holds (`{"media": …}`)."""
        if "path" in encoded:
            return Path(encoded["path"]).read_bytes()
        return self._content(encoded["sha256"])

    def _content(self, name: str) -> bytes:
        folder = values_folder(self.path) if self.path is not None else Path()
        try:
            return (folder / Path(name).name).read_bytes()
        except OSError as error:
            raise _lost(folder / name, error.strerror or "it cannot be read") from None


def load_record(path: Path) -> RunRecord:
    """Read and validate a record; raises InputError saying what is wrong with it."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_RECORD_BYTES + 1)
    except OSError as error:
        raise _refused(path, error.strerror or "it cannot be read") from None
    if len(text) > _MAX_RECORD_BYTES:
        raise _refused(path, f"it is over {_MAX_RECORD_BYTES // 2**20} MiB")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"not valid JSON (truncated?): {error}") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise _refused(path, f"it is no run record of schema `{SCHEMA}`")
    wrong = _fault(document, run_schema())
    if wrong is not None:
        raise _refused(path, wrong)
    return RunRecord(document, path)


def _call(line: bytes, path: Path, number: int) -> dict[str, Any]:
    """Read a line of `calls.jsonl`; raises InputError saying what is wrong with it."""
    try:
        call: dict[str, Any] = json.loads(line)
        wrong = _fault(call, load_schema("call"))
    except (ValueError, RecursionError):
        wrong = "not valid JSON"
    if wrong is None:
        return call
    message = f"cannot use the calls of a run: {wrong}"
    place = Span(str(path), number, 1, number, 2)
    raise InputError(Diagnostic("invalid-record", message, place))


def _fault(document: Any, schema: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a document by a schema, or with its figures; None where nothing.

    JSON as Python reads it has infinite numbers and such as are none; schemas let them pass. Values
    of steps may hold them.
    """
    try:
        wrong = violation(document, schema)
    except RecursionError:
        return "it is nested too deeply"
    pending = [("", document)]
    while wrong is None and pending:
        where, node = pending.pop()
        if isinstance(node, dict):
            pending += [(f"{where}/{key}", node[key]) for key in node if key != "value"]
        elif isinstance(node, list):
            pending += [(f"{where}/{n}", item) for n, item in enumerate(node)]
        elif isinstance(node, int | float) and not abs(node) < _MAX_FIGURE:
            wrong = f"{where.removeprefix('/')}: it is no figure of a run"
    return wrong


def _lost(path: Path, why: str) -> InputError:
    message = f"a value of the run cannot be read: `{path}`: {why}"
    return InputError(Diagnostic("missing-value", message))


def _refused(path: Path, why: str) -> InputError:
    return InputError(Diagnostic("invalid-record", f"cannot use run record `{path}`: {why}"))
