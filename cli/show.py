"""`mkb show`: what a past run did, and the values its steps made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..ir.diagnostics import Diagnostic, InputError
from .display import safe
from .options import common
from .output import Output
from .runs import record_of

if TYPE_CHECKING:
    from ..runtime.record import RunRecord

_SHOWN_LINES = 12


@click.command
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("step", metavar="[STEP]", required=False)
@common
@click.pass_obj
def command(output: Output, /, run: Path, step: str | None) -> None:
    """Show what a past run did.

    RUN is a record, its folder, or its name in `mkb runs`. With a STEP, its calls and the values
    they made; `speech[3]` is one of its calls, shown in full.
    """
    from ..runtime.record import load_record

    record = load_record(record_of(run))
    if step is None:
        _whole(record, output)
    else:
        _step(record, step, output)


def _whole(record: RunRecord, output: Output) -> None:
    from . import report

    document = record.document
    lines = [
        f"workflow `{document['workflow']}` for target `{document['target']}`: "
        f"{document['status']}, started {document['started_at']}",
        "",
    ]
    lines += [f"input {safe(name)}: {_brief(record, v)}" for name, v in document["inputs"].items()]
    if document["result"] is not None:
        lines.append(f"result: {_brief(record, document['result'])}")
    lines += [safe(f"failed: {f['instance']}: {f['reason']}") for f in document["failures"]]
    lines += ["", report.totals(document), "", report.steps(document)]
    lines += [changed] if (changed := report.changed(document)) else []
    output.result("\n".join(lines), {"run": document})


def _step(record: RunRecord, wanted: str, output: Output) -> None:
    from . import figures, report

    name = wanted.partition("[")[0]
    entry = record.step(name)
    every = sorted(record.calls(name), key=_position)
    calls = [c for c in every if wanted in (name, c["instance"])]
    if not calls and wanted != name:
        message = f"step `{name}` has no call `{wanted}`"
        hint = "it was never called"
        if every:
            hint = f"its calls are `{every[0]['instance']}` to `{every[-1]['instance']}`"
        raise InputError(Diagnostic("unknown-call", message, help=hint))
    called = figures.several(entry["calls"], "call")
    parts = [f"step `{name}` with executor `{entry['executor']}`: {called}"]
    for call in calls:
        took = figures.seconds(call["end_s"] - call["start_s"])
        how = next((known for known in ("restored", "cached") if known in call), f"took {took}")
        head = f"{call['instance']}  at {figures.seconds(call['start_s'])}, {how}"
        if "error" in call:
            parts.append(safe(f"{head}, attempt {call['attempt']} failed: {call['error']}"))
            continue
        text = report.readable(record.value(call["result"]))
        parts.append(f"{safe(head)}\n{text if wanted != name else _cut(text)}")
    document = {
        "step": entry,
        "calls": [
            {**c, "result": record.value(c["result"])} if "result" in c else c for c in calls
        ],
    }
    output.result("\n\n".join(parts), document)


def _position(call: Mapping[str, Any]) -> tuple[list[int], int]:
    """Return where a call stands in the order of items, `notes[2]` before `notes[10]`."""
    return [int(number) for number in re.findall(r"\[(\d+)\]", call["instance"])], call["attempt"]


def _brief(record: RunRecord, kept: Mapping[str, Any]) -> str:
    from . import report

    if "lines" in kept:
        return report.in_file(kept)
    return _cut(report.readable(record.value(kept)))


def _cut(text: str) -> str:
    lines = text.split("\n")
    if len(lines) <= _SHOWN_LINES:
        return text
    return "\n".join([*lines[:_SHOWN_LINES], f"… {len(lines) - _SHOWN_LINES} more lines"])
