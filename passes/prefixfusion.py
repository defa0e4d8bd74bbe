"""Prefix fusion: the author's prompts, their sections in the order that lets calls share most."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ..ir.ops import Op, Region
from ..ir.remarks import Reporter
from ..ir.workflow import Module, Task
from ..targets.library import Library
from .pins import LANGUAGE_RUNNERS
from .prompts.layout import Order, laid_out
from .prompts.sections import Section, sections_of
from .prompts.sharing import sites_of

# What an answer is worth, relative, when the same words come in another order: declared, nobody
# has measured it. Models are sensitive to order (Liu et al., "Lost in the Middle", TACL 12, 2024),
# mostly for the worse where what matters stands in the middle of a long prompt.
QUALITY = 0.99
# Words that say where something else stands. `following` and `below` may also stand in a label,
# of what follows that label.
_ELSEWHERE = re.compile(
    r"\b(?:above|aforementioned|afterwards|earlier|former|foregoing|latter|preceding|previous|"
    r"respectively|so far)\b",
    re.IGNORECASE,
)
_FURTHER_ON = re.compile(r"\b(?:below|following|follows?|next)\b", re.IGNORECASE)


def fuse_prefixes(module: Module, library: Library, quality: float, report: Reporter) -> Module:
    """Return the logical module with its authors' prompts laid out, where that is worth it.

    The `factor` of calls whose prompt changes is multiplied by `quality`.
    """
    prompts = new_prompts(module, library)
    _tell(module, prompts, report)
    tasks = tuple(
        replace(task, prompt=prompts[task.name]) if task.name in prompts else task
        for task in module.tasks
    )
    workflow = module.sole()
    body = _marked(workflow.body, prompts, quality)
    return replace(module, tasks=tasks).with_workflow(replace(workflow, body=body))


def _tell(module: Module, prompts: Mapping[str, str], report: Reporter) -> None:
    for task in module.tasks:
        calls = [op for op in module.sole().calls() if op.symbol == task.name]
        if task.prompt is None or not calls:
            continue
        guard = refusal(task, sections_of(task.prompt).sections)
        if task.name in prompts:
            report.did("prefix", "the prompt starts with what its calls share", *calls)
        else:
            report.refused("prefix", guard or "it would save a call less than a block", *calls)


def said(before: Module, after: Module) -> dict[str, str]:
    """Return notes of the tasks whose prompt is another after than before."""
    prompts = {task.name: task.prompt for task in before.tasks}
    return {
        f"note.fuse.prefix.{task.name}": f"the prompt of `{task.name}` starts with what its calls "
        "share (not exact: its sections stand in another order)"
        for task in after.tasks
        if task.prompt != prompts[task.name]
    }


def new_prompts(module: Module, library: Library) -> dict[str, str]:
    """Return the prompts that change, by task."""
    split = {
        task.name: sections_of(task.prompt) for task in module.tasks if task.prompt is not None
    }
    given: dict[str, Order] = {name: found.sections for name, found in split.items()}
    models = frozenset(e.name for e in library.executors if e.runner in LANGUAGE_RUNNERS)
    sites = sites_of(module)
    asked = {site.task.name for site in sites if models & _candidates(site.op)}
    free = [t.name for t in module.tasks if t.name in asked and refusal(t, given[t.name]) is None]
    while True:
        found = laid_out(sites, given, free)
        prompts = {name: split[name].written(order) for name, order in found.items()}
        torn = [name for name, text in prompts.items() if not _still(found[name], text)]
        if not torn:
            return prompts
        free = [name for name in free if name not in torn]


def _still(order: Order, text: str) -> bool:
    """Tell whether the sections are still apart: a list, say, would draw what is before it in."""
    return [s.text for s in sections_of(text).sections] == [s.text for s in order]


def refusal(task: Task, sections: Order) -> str | None:
    """Return why a prompt's sections stay where they are, or None where they may move."""
    if task.effect:
        return "an effect is asked for in its author's words"
    if any(map(_points_elsewhere, sections)):
        return "its words say where in the prompt something stands"
    return None


def _points_elsewhere(section: Section) -> bool:
    if _ELSEWHERE.search(section.text):
        return True
    return not section.data and _FURTHER_ON.search(section.text) is not None


def _candidates(op: Op) -> frozenset[str]:
    named = op.attr("candidates", ())
    labels = named if isinstance(named, tuple) else ()
    return frozenset(str(label).partition("{")[0] for label in labels)


def _marked(region: Region, prompts: Mapping[str, str], quality: float) -> Region:
    ops = []
    for op in region.ops:
        if op.symbol in prompts:
            op = op.with_attrs({"factor": op.number("factor", 1.0) * quality})
        elif op.regions:
            op = replace(op, regions=tuple(_marked(r, prompts, quality) for r in op.regions))
        ops.append(op)
    return replace(region, ops=tuple(ops))
