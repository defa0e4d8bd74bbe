"""Which executors can carry out a task, and which of them are language models."""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.types import Base, ListOf, Option, Record, Type
from ..ir.workflow import Task
from ..targets.library import Executor
from .base import Context
from .pins import LANGUAGE_RUNNERS

GENERATE = "generate"


def able(task: Task, context: Context, interface: str | None = None) -> list[Executor]:
    """Return the executors that can carry out a bound task, or one bound so, the best first."""
    interface = interface or task.interface or GENERATE
    found = list(context.library.implementing(interface))
    if interface == GENERATE:
        needed = {name for p in task.params for name in _modalities(p.type)}
        found = [e for e in found if needed <= set(e.modalities)]
    return found


def answers_in_words(executor: Executor, task: Task) -> bool:
    """Tell whether an executor is a language model that is asked a task in a prompt."""
    prompted = task.prompt is not None or executor.prompt is not None
    return executor.runner in LANGUAGE_RUNNERS and (prompted or executor.interface == GENERATE)


def _modalities(kind: Type) -> Iterator[str]:
    match kind:
        case Base("Image" | "Audio" | "Video" as name):
            yield name.lower()
        case ListOf(item) | Option(item):
            yield from _modalities(item)
        case Record(fields):
            for _, part in fields:
                yield from _modalities(part)
