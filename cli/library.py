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
    from ..targets.library import load_library

    library = load_library(libraries)
    output.report(library.notes)
    declared = {task.name: task for task in standard_interfaces()}
    names = sorted({executor.interface for executor in library.executors} | set(declared))
    if interface is not None and interface not in names:
        hint = did_you_mean(interface, names) or f"there are {', '.join(names)}"
        message = f"no interface is named `{interface}`"
        raise InputError(Diagnostic("unknown-interface", message, help=hint))
    shown = [name for name in names if interface in (None, name)]
    missing = {e.name: _missing(e) for e in library.executors}
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


def _missing(executor: Executor) -> str | None:
    """Return why an executor cannot run here: a module is missing, or its model's folder is bad."""
    from ..ir.diagnostics import InputError
    from ..targets.library import availability
    from ..targets.model_folder import folder_model, is_folder

    why = availability(executor)
    if why is not None or not is_folder(executor):
        return why
    try:
        folder_model(executor)
    except InputError as error:
        return error.diagnostics[0].message
    return None


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
    lines += [f"  {e.name}: {safe(_loads(e))}" for e in executors if _says_which(e)]
    # one line for each reason, not one for each executor
    for reason in dict.fromkeys(why for e in executors if (why := missing[e.name])):
        lines.append(f"  {_MISSING}: {safe(reason.removeprefix('missing '))}")
    return "\n".join(lines)


def _says_which(executor: Executor) -> bool:
    """Tell whether an executor says more of its model than the name: a folder, or a revision."""
    from ..targets.model_folder import is_folder

    return is_folder(executor) or executor.revision is not None


def _loads(executor: Executor) -> str:
    """Return which model an executor loads, and of a folder what is in it."""
    from ..ir.diagnostics import InputError
    from ..targets.model_folder import folder_model, is_folder, model_location
    from . import figures

    location = model_location(executor)
    if not is_folder(executor):
        return f"{location} at revision {executor.revision}"
    try:
        model = folder_model(executor)
    except InputError:
        return location
    size = figures.size(model.weight_bytes)
    return f"{location} ({figures.parameters(model.params)} parameters, {size})"


def _signature(name: str, task: Task | None) -> str:
    if task is None:
        return f"{name}(…)" if name != "generate" else "generate: any task with a prompt"
    parameters = ", ".join(f"{p.name}: {p.type}" for p in task.params)
    return f"{'effect ' if task.effect else ''}{name}({parameters}) -> {task.result}"


def _row(executor: Executor, missing: str | None) -> dict[str, object]:
    from ..targets.model_folder import model_location

    return {
        "name": executor.name,
        "description": executor.description,
        "runner": executor.runner,
        "devices": list(executor.devices),
        "model": None if executor.model is None else model_location(executor),
        "revision": executor.revision,
        "quality": executor.quality.value,
        "metric": executor.quality.metric,
        "source": executor.quality.source,
        "knobs": {name: list(values) for name, values in executor.knobs},
        "available": missing is None,
        "missing": missing,
        "install": executor.install or None,
    }
