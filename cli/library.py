"""`mkb library`: the operator interfaces, and what can carry them out here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .display import safe, shorten
from .options import common, libraries
from .output import Output

if TYPE_CHECKING:
    from ..ir.workflow import Task
    from ..targets.library import Executor

_MISSING = "missing"


@click.command
@click.argument("interface", metavar="[INTERFACE]", required=False)
@libraries
@common
@click.pass_obj
def command(output: Output, /, interface: str | None, libraries: tuple[Path, ...]) -> None:
    """List interfaces and what can carry them out.

    Shows each executor of every interface (or of INTERFACE alone), best quality first, and what
    those that cannot run on this machine are missing. Compiling for a described cluster does not
    need them here.
    """
    from ..compiler.frontend import standard_interfaces
    from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
    from ..targets.library import availability, load_library

    library = load_library(libraries)
    output.report(library.notes)
    declared = {task.name: task for task in standard_interfaces()}
    names = sorted({executor.interface for executor in library.executors} | set(declared))
    if interface is not None and interface not in names:
        hint = did_you_mean(interface, names) or f"there are {', '.join(names)}"
        message = f"no interface is named `{interface}`"
        raise InputError(Diagnostic("unknown-interface", message, help=hint))
    shown = [name for name in names if interface in (None, name)]
    missing = {e.name: availability(e) for e in library.executors}
    parts = [
        _section(name, declared.get(name), library.implementing(name), missing) for name in shown
    ]
    document = {
        "interfaces": [
            {
                "name": name,
                "signature": _signature(name, declared.get(name)),
                "executors": [_row(e, missing[e.name]) for e in library.implementing(name)],
            }
            for name in shown
        ]
    }
    output.result("\n\n".join(parts), document)


def _section(
    name: str,
    task: Task | None,
    executors: tuple[Executor, ...],
    missing: dict[str, str | None],
) -> str:
    from . import figures
    from .tables import indent, table

    title = click.style(_signature(name, task), bold=True)
    if not executors:
        return f"{title}\n  nothing in the library carries it out"
    rows = [
        [
            click.style(_MISSING, fg="yellow") if missing[e.name] else "here",
            e.name,
            e.runner,
            "/".join(e.devices),
            figures.share(e.quality.value),
            shorten(safe(e.description), 56),
        ]
        for e in executors
    ]
    header = ("", "executor", "runner", "runs on", "quality", "")
    lines = [title, indent(table(header, rows, left=len(header)))]
    # one line for each reason, not one for each executor
    for reason in dict.fromkeys(why for e in executors if (why := missing[e.name])):
        lines.append(f"  {_MISSING}: {safe(reason.removeprefix('missing '))}")
    return "\n".join(lines)


def _signature(name: str, task: Task | None) -> str:
    if task is None:
        return f"{name}(…)" if name != "generate" else "generate: any task with a prompt"
    parameters = ", ".join(f"{p.name}: {p.type}" for p in task.params)
    return f"{'effect ' if task.effect else ''}{name}({parameters}) -> {task.result}"


def _row(executor: Executor, missing: str | None) -> dict[str, object]:
    return {
        "name": executor.name,
        "description": executor.description,
        "runner": executor.runner,
        "devices": list(executor.devices),
        "model": executor.model,
        "quality": executor.quality.value,
        "metric": executor.quality.metric,
        "source": executor.quality.source,
        "knobs": {name: list(values) for name, values in executor.knobs},
        "available": missing is None,
        "missing": missing,
        "install": executor.install or None,
    }
