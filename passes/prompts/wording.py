"""Prompts that the compiler writes: a task's description and its parameters, each by its name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ...ir.template import Placeholder
from ...ir.workflow import Module, Task
from .layout import Order, laid_out
from .sections import Section, Sections, sections_of
from .sharing import sites_of


def prompt_of(task: Task) -> str:
    """Make a prompt from a description and the parameters, in their order."""
    return _written(_parts(task))


def with_prompts(module: Module, worded: Collection[str]) -> Module:
    """Return a logical module in which the prompts made for these tasks start with what they share.

    Nobody else has an order in mind for what the compiler writes, and `bind` is in every pipeline:
    it asks for the same in the same words at every level of optimisation.
    """
    given: dict[str, Order] = {
        task.name: _parts(task) if task.name in worded else sections_of(task.prompt).sections
        for task in module.tasks
        if task.prompt is not None
    }
    orders = laid_out(sites_of(module), given, worded)
    tasks = tuple(
        replace(task, prompt=_written(orders[task.name])) if task.name in orders else task
        for task in module.tasks
    )
    return replace(module, tasks=tasks)


def _parts(task: Task) -> Order:
    said = task.description or task.name.replace("_", " ")
    description = Section(said.replace("{", "{{").replace("}", "}}"), (), data=False)
    return (description, *(_parameter(param.name) for param in task.params))


def _parameter(name: str) -> Section:
    text = f"{name}: {{{name}}}"
    return Section(text, (Placeholder((name,), len(name) + 2, len(text)),), data=True)


def _written(parts: Order) -> str:
    return Sections(parts).written(parts)
