"""Compositions that nobody pinned: proposed where what is known of one may make it pay."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from ...ir.diagnostics import Diagnostic
from ...ir.ops import Attr, Op
from ...ir.remarks import Reporter
from ...ir.workflow import Module, Task
from ...targets.compositions import Composition, figure
from ..base import Context, Proposal
from ..pins import pins_of
from .arrangement import arranged
from .expansion import COMPOSED, expanded

_Worthwhile = tuple[Composition, Sequence[Mapping[str, Attr]]]


def composed(module: Module, context: Context) -> Iterator[Proposal]:
    """Propose compositions of the library, at each setting, for calls whose executor is not pinned.

    Only what is known to gain something can pay: a cascade of which is known how many calls go on,
    or another composition with a factor above 1. What is part of a composition is left alone.
    """
    worthwhile = [
        (c, [s for s in _settings(c) if _gains(c, s)]) for c in context.library.compositions
    ]
    worthwhile = [(c, settings) for c, settings in worthwhile if settings]
    if not worthwhile:
        return
    tasks = {task.name: task for task in module.tasks}
    parts = {key for key, _ in module.attrs}
    for op in module.sole().calls():
        pinned = any(pin.name == "executor" for pin in pins_of(op))
        if not pinned and op.symbol in tasks and COMPOSED + op.out().name not in parts:
            yield from _proposed(module, context, op, tasks[op.symbol], worthwhile)


def _proposed(
    module: Module, context: Context, op: Op, task: Task, worthwhile: Sequence[_Worthwhile]
) -> Iterator[Proposal]:
    name, report = op.out().name, Reporter("choose", context.remarked)
    for composition, settings in worthwhile:
        for chosen in settings:
            found = arranged(op, task, composition, context, chosen)
            if isinstance(found, Diagnostic):
                report.refused("compositions", found.message, op)
                break
            said = f"`{name}` is carried out by `{found.label}`"
            yield Proposal(said, op.locs, expanded(module, {name: found}))


def _settings(composition: Composition) -> Iterator[Mapping[str, Attr]]:
    names = [name for name, _ in composition.knobs]
    for values in itertools.product(*(choices for _, choices in composition.knobs)):
        yield dict(zip(names, values, strict=True))


def _gains(composition: Composition, settings: Mapping[str, Attr]) -> bool:
    if composition.kind == "cascade":
        return figure(composition.escalates, settings.get("threshold")) is not None
    return composition.factor(settings) > 1.0
