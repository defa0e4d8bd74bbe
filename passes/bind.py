"""Bind: every task to an operator interface, every call to the executors that could do it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir.diagnostics import CompileError, Diagnostic, did_you_mean
from ..ir.ops import Attr, Op, Region, Symbol, attributes
from ..ir.workflow import Module, Task
from ..targets.library import Executor
from .ability import GENERATE, able
from .base import Context, Pass
from .compositions.arrangement import Arrangement, arranged, pinned_composition
from .compositions.expansion import expanded
from .matching import THRESHOLD, binding, by_description
from .pins import MODEL_KNOBS, SELECTORS, pin_place, pins_of, refuses
from .prompts.wording import prompt_of, with_prompts


@dataclass(frozen=True)
class Bind(Pass):
    """Bind tasks to interfaces and calls to candidate executors; flow IR becomes logical IR.

    A task binds to what `using` names, to itself when it is an interface, to `generate` when it
    has a prompt, else to the interface whose description and signature fit best; when none does,
    to `generate` with a prompt made from its description. What was chosen by words, and what came
    second, is noted in the module's `note.*` attributes. Pins that no executor can satisfy are
    errors of the program. Calls pinned to a composition of the library are expanded.
    """

    name: ClassVar[str] = "bind"

    def run(self, module: Module, context: Context) -> Module:
        """Return the logical module."""
        if module.level != "flow":
            return module
        findings: list[Diagnostic] = []
        notes: dict[str, Attr] = {}
        called = {op.symbol for workflow in module.workflows for op in workflow.calls()}
        tasks: dict[str, Task] = {}
        worded: list[str] = []  # tasks whose prompt is made here
        for task in module.tasks:
            if task.name not in called:
                continue
            bound = _bind_task(task, context)
            if isinstance(bound, Diagnostic):
                findings.append(bound)
                continue
            tasks[task.name], note = bound
            if note:
                notes[f"note.bind.{task.name}"] = note
            if task.prompt is None and tasks[task.name].prompt is not None:
                worded.append(task.name)
        workflows = []
        composed: dict[str, Arrangement] = {}
        for workflow in module.workflows:
            region = _bind_region(workflow.body, tasks, context, findings, composed)
            workflows.append(replace(workflow, body=region))
        if findings:
            raise CompileError(findings)
        attrs = attributes({**dict(module.attrs), **notes})
        own = tuple(tasks[name] for name in sorted(tasks))
        logical = Module("logical", tuple(workflows), own, (), attrs)
        logical = with_prompts(logical, worded) if worded else logical
        return expanded(logical, composed) if composed else logical


def _bind_task(task: Task, context: Context) -> tuple[Task, str] | Diagnostic:
    if task.using is not None:
        return _bind_using(task, task.using, context)
    own = context.interface(task.name)
    if own is not None and task.prompt is None and isinstance(binding(task, own), tuple):
        return _bound(task, own), ""
    if task.prompt is None and context.library.implementing(task.name):
        # the author's library implements the task under its own name
        return replace(task, interface=task.name, binding=_names(task)), ""
    if task.prompt is not None:
        return replace(task, interface=GENERATE, binding=_names(task)), ""
    return _bind_by_words(task, context)


def _bind_using(task: Task, using: str, context: Context) -> tuple[Task, str] | Diagnostic:
    interface = context.interface(using)
    executors = context.library.implementing(using)
    if interface is None and not executors:
        known = {i.name for i in context.interfaces} | {
            e.interface for e in context.library.executors
        }
        return Diagnostic(
            "unknown-interface",
            f"task `{task.name}` uses `{using}`, which no operator interface is named",
            task.loc,
            help=did_you_mean(using, known),
        )
    if interface is not None and interface.effect and not task.effect:
        return Diagnostic(
            "effect-mismatch",
            f"`{using}` changes the world, and task `{task.name}` does not say so",
            task.loc,
            help=f"declare it `effect task {task.name}(…)`",
        )
    if interface is None or any(executor.open for executor in executors):
        # executors marked `open` take whatever parameters the task declares, by name
        return replace(task, interface=using, binding=_names(task)), ""
    names = binding(task, interface)
    if isinstance(names, str):
        return Diagnostic(
            "binding-mismatch",
            f"task `{task.name}` does not fit `{using}`: {names}",
            task.loc,
            help=f"`{using}` is {_signature(interface)}",
        )
    return replace(task, interface=using, binding=names), ""


def _bind_by_words(task: Task, context: Context) -> tuple[Task, str] | Diagnostic:
    words: dict[str, str] = {}
    for executor in context.library.executors:
        known = words.get(executor.interface, "")
        words[executor.interface] = f"{known} {executor.description}"
    matches = by_description(task, context.interfaces, words)
    best = matches[0] if matches else None
    second = (
        f"; second: `{matches[1].interface.name}` ({matches[1].similarity:.2f})"
        if matches[1:]
        else ""
    )
    if best is not None and best.similarity >= THRESHOLD:
        note = (
            f"bound to `{best.interface.name}` by its description ({best.similarity:.2f}){second}"
        )
        return _bound(task, best.interface), note
    if task.effect:
        return Diagnostic(
            "no-interface",
            f"nothing in the library carries out the effect `{task.name}`",
            task.loc,
            help="say what does it: `using webhook`, or an executor of your own with --library",
        )
    nearest = f"; nearest: `{best.interface.name}` ({best.similarity:.2f})" if best else ""
    note = f"no interface fits its description, so a language model is asked in its words{nearest}"
    made = replace(task, interface=GENERATE, binding=_names(task), prompt=prompt_of(task))
    return made, note


def _bound(task: Task, interface: Task) -> Task:
    names = binding(task, interface)
    return replace(
        task, interface=interface.name, binding=names if isinstance(names, tuple) else _names(task)
    )


def _names(task: Task) -> tuple[str, ...]:
    return tuple(param.name for param in task.params)


def _signature(task: Task) -> str:
    return f"({', '.join(f'{p.name}: {p.type}' for p in task.params)}) -> {task.result}"


def _bind_region(
    region: Region,
    tasks: dict[str, Task],
    context: Context,
    findings: list[Diagnostic],
    composed: dict[str, Arrangement],
) -> Region:
    bound = (_bind_op(op, tasks, context, findings, composed) for op in region.ops)
    return replace(region, ops=tuple(bound))


def _bind_op(
    op: Op,
    tasks: dict[str, Task],
    context: Context,
    findings: list[Diagnostic],
    composed: dict[str, Arrangement],
) -> Op:
    if op.regions:
        nested = (_bind_region(r, tasks, context, findings, composed) for r in op.regions)
        return replace(op, regions=tuple(nested))
    if op.kind != "call" or op.symbol not in tasks:
        return op
    composition = pinned_composition(op, context.library)
    if composition is not None:
        arrangement = arranged(op, tasks[op.symbol], composition, context)
        if isinstance(arrangement, Diagnostic):
            findings.append(arrangement)
        else:
            composed[op.out().name] = arrangement
        return op
    found = list(_candidates(op, tasks[op.symbol], context))
    faults = [f for f in found if isinstance(f, Diagnostic)]
    findings += faults
    names = tuple(Symbol(e.name) for e in found if isinstance(e, Executor))
    if faults:
        return op
    kept = {key: value for key, value in op.attrs if not key.startswith("at.")}
    return replace(op, attrs=attributes({**kept, "candidates": names}))


def _candidates(op: Op, task: Task, context: Context) -> Iterator[Executor | Diagnostic]:
    left = able(task, context)
    if not left:
        yield Diagnostic(
            "no-executor",
            f"no executor of the library carries out `{task.name}` (interface `{task.interface}`)",
            op.locs[0] if op.locs else task.loc,
            help="add one with --library, or see `mkb library`",
        )
        return
    for name, pins in itertools.groupby(pins_of(op), key=lambda pin: pin.name):
        together = tuple(pins)
        refusals = [(executor, refuses(executor, together)) for executor in left]
        left = [executor for executor, why in refusals if why is None]
        if not left:
            text = "` and `".join(map(str, together))
            yield _unsatisfiable(op, task, name, text, together[0].value, refusals, context)
            return
    yield from left


def _unsatisfiable(
    op: Op,
    task: Task,
    name: str,
    text: str,
    value: Attr,
    refusals: Sequence[tuple[Executor, str | None]],
    context: Context,
) -> Diagnostic:
    place = pin_place(op, name)
    if name == "executor" and isinstance(value, str) and context.library.get(value) is None:
        known = [e.name for e, _ in refusals]
        return Diagnostic(
            "unknown-executor",
            f"no executor named `{value}`",
            place,
            help=did_you_mean(value, [*known, *(c.name for c in context.library.compositions)])
            or _among(known),
        )
    knobs = {knob for executor, _ in refusals for knob, _ in executor.knobs}
    if name not in SELECTORS and name not in knobs and name not in MODEL_KNOBS:
        return Diagnostic(
            "unknown-knob",
            f"no executor of `{task.name}` has a knob `{name}`",
            place,
            help=did_you_mean(name, {*knobs, *SELECTORS, *MODEL_KNOBS}) or _among(sorted(knobs)),
        )
    why = "; ".join(f"`{executor.name}`: {reason}" for executor, reason in refusals[:4])
    return Diagnostic(
        "unsatisfiable-pin", f"no executor of `{task.name}` satisfies `{text}`", place, help=why
    )


def _among(names: Iterable[str]) -> str | None:
    listed = ", ".join(f"`{name}`" for name in names)
    return f"there are {listed}" if listed else None
