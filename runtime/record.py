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

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from ..targets.conformance import load_schema, violation

SCHEMA = "murakkab/run/1"
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

        A run that broke off may have cut the last line short; it is left out.
        """
        if self.path is None:
            return
        lines = values_folder(self.path) / "calls.jsonl"
        if not lines.exists():
            return
        with lines.open(encoding="utf-8") as file:
            for line in file:
                try:
                    call = json.loads(line)
                except ValueError:
                    return
                if step is None or call["step"] == step:
                    yield call

    def value(self, kept: Mapping[str, Any]) -> Any:
        """Return the encoded value that `{"sha256": …}` stands for.

        Raises InputError where its file is gone.
        """
        if "value" in kept:
            return kept["value"]
        assert self.path is not None  # without a folder every value is inline or left out
        return json.loads(self._content(f"{kept['sha256']}.json"))

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
            message = f"a value of the run cannot be read: `{folder / name}`: {error.strerror}"
            raise InputError(Diagnostic("missing-value", message)) from None


def load_record(path: Path) -> RunRecord:
    """Read and validate a record; raises InputError saying what is wrong with it."""
    try:
        text = path.read_bytes()[: _MAX_RECORD_BYTES + 1]
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
    wrong = violation(document, run_schema())
    if wrong is not None:
        raise _refused(path, wrong)
    return RunRecord(document, path)


def _refused(path: Path, why: str) -> InputError:
    return InputError(Diagnostic("invalid-record", f"cannot use run record `{path}`: {why}"))
