"""What is wrong with library entries beside the interfaces and tasks that they are for."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.diagnostics import Diagnostic, did_you_mean
from ..ir.workflow import Task
from ..passes.ability import GENERATE
from ..targets.library import Library


def misspelt_interfaces(
    library: Library, interfaces: Sequence[Task], tasks: Sequence[Task]
) -> list[Diagnostic]:
    """Return warnings of entries whose interface is nearly, but not quite, a known one.

    Interfaces of the author's own are right: a task has its own name, or says `using NAME`, and a
    library may serve other programs too. So only near misses are told.
    """
    standard = {interface.name for interface in interfaces}
    own = {task.name for task in tasks} | {task.using for task in tasks if task.using is not None}
    known = standard | own | {GENERATE}
    found = []
    for executor in library.executors:
        if executor.interface in known:
            continue
        hint = did_you_mean(executor.interface, known)
        if hint is None:
            continue
        message = f"`{executor.name}` implements `{executor.interface}`, which nothing here is"
        found.append(Diagnostic("unknown-interface", message, executor.loc, "warning", help=hint))
    return found


def clashing_knobs(library: Library, interfaces: Sequence[Task]) -> list[Diagnostic]:
    """Return errors of entries with a knob that is named like a parameter of their interface.

    Formulas read both by name, so that one would hide the other.
    """
    params = {task.name: {param.name for param in task.params} for task in interfaces}
    return [
        Diagnostic(
            "bad-value",
            f"knob `{knob}` of `{executor.name}` is named like a parameter of "
            f"`{executor.interface}`",
            executor.loc,
            help="give the knob another name: formulas could not tell them apart",
        )
        for executor in library.executors
        for knob, _ in executor.knobs
        if knob in params.get(executor.interface, ())
    ]
