"""Which calls of prompts may be made as one, and what speaks against it for the others."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from ...ir.ops import Op, Region
from ...ir.remarks import Reporter
from ...ir.types import BOOL, Enum, Option, Type
from ...ir.workflow import Module, Task
from ...targets.library import Executor, Library
from ..ability import GENERATE
from ..pins import LANGUAGE_RUNNERS
from ..prefixfusion import refusal
from .sections import Section, sections_of
from .together import data_of, parameters_of, renamed, taken_apart

_FIXED = ("const", "list", "record")
# Why calls of the same inputs are not made as one, by the first part of their keys that differs.
_DIFFERENCES = (
    "other models may carry it out",
    "it is pinned otherwise",
    "one may be left out, the other may not",
    "the system texts differ",
    "the prompts do not write what they read in the same words",
)

_Key = tuple[Hashable, ...]


class Askable:
    """Finds calls of a logical module that may be made as one.

    `enumerations`: answers that are one of few may be asked for beside others too.
    """

    def __init__(
        self, module: Module, library: Library, report: Reporter, *, enumerations: bool
    ) -> None:
        """Learn the tasks, the models, and which values are known before a run."""
        self._workflow = module.sole()
        self._tasks = {task.name: task for task in module.tasks}
        self._library = library
        self._report = report
        self._enumerations = enumerations
        self._fixed: frozenset[str] = frozenset(fixed_values(self._workflow.body))

    def groups(self) -> Iterator[tuple[Op, ...]]:
        """Yield calls of one region that read the same, two at least, in program order."""
        yield from self._within(self._workflow.body)

    def _within(self, region: Region) -> Iterator[tuple[Op, ...]]:
        readers: dict[frozenset[str], list[Op]] = {}
        for op in region.body:
            for nested in op.regions:
                yield from self._within(nested)
            inputs = frozenset(value.name for value in op.operands) - self._fixed
            if op.kind == "call" and inputs and self._task(op).prompt is not None:
                readers.setdefault(inputs, []).append(op)
        for ops in readers.values():
            if len(ops) > 1:
                yield from self._together(ops)

    def _task(self, op: Op) -> Task:
        return self._tasks[str(op.symbol)]

    def _together(self, ops: Sequence[Op]) -> Iterator[tuple[Op, ...]]:
        """Yield those of the readers of the same inputs that may be asked together."""
        alike: dict[_Key, list[Op]] = {}
        for op in ops:
            guard = self._guard(op)
            if guard is not None:
                self._report.refused("prompts", guard, op)
                continue
            alike.setdefault(self._key(op), []).append(op)
        for key, group in alike.items():
            if len(group) > 1:
                yield from self._distinct(group)
            elif len(alike) > 1:
                other = next(k for k in alike if k != key)
                self._report.refused("prompts", _difference(key, other), *group)

    def _distinct(self, group: Sequence[Op]) -> Iterator[tuple[Op, ...]]:
        """Yield the group, if each prompt asks for something that the others do not."""
        asked = [(op, self._task(op)) for op in group]
        prompts = {
            op.out().name: renamed(task.prompt or "", names)
            for (op, task), names in zip(asked, parameters_of(asked).names, strict=True)
        }
        own = taken_apart(prompts).own
        if all(own.values()):
            yield tuple(group)
            return
        guard = "it asks for nothing that the other does not ask for too"
        self._report.refused("prompts", guard, *(op for op in group if not own[op.out().name]))

    # ---- guards of one call

    def _guard(self, op: Op) -> str | None:
        """Return why a call is made by itself, whatever the others are."""
        task = self._task(op)
        if task.effect:
            return "an effect is carried out by itself"
        if op.flag("sampled"):
            return "it is sampled: its answers are to differ from call to call"
        if task.scored:
            return "how sure the model is of it counts, and that is of one answer"
        if task.answers:
            return "it asks for several answers already"
        if not self._enumerations and _picks(task.result):
            return (
                "its answer is one of few: such answers are asked for alone unless said otherwise"
            )
        return self._unsuitable_models(op) or self._unsuitable_words(op)

    def _unsuitable_models(self, op: Op) -> str | None:
        models = candidates_of(op, self._library)
        asked = all(model.runner in LANGUAGE_RUNNERS for model in models)
        if not asked or self._task(op).interface != GENERATE:
            return "not only language models that are asked its prompt may carry it out"
        if op.attr("pin.max_tokens") is not None or any(
            name == "max_tokens" for model in models for name, _ in model.knobs
        ):
            return "the length of its answer is limited (`max_tokens`)"
        return None

    def _unsuitable_words(self, op: Op) -> str | None:
        if not self._data(op):
            return "its prompt has what it reads in the midst of a sentence"
        task = self._task(op)
        return refusal(task, sections_of(task.prompt or "").sections)

    # ---- what calls must have in common

    def _key(self, op: Op) -> _Key:
        """Return what is equal for calls that may be made as one, in the order of _DIFFERENCES."""
        task = self._task(op)
        return (
            op.attr("candidates"),
            tuple(pair for pair in op.attrs if pair[0].startswith("pin.")),
            op.flag("optional"),
            None if task.system is None else self._written(op, task.system),
            frozenset(self._written(op, section.text) for section in self._data(op)),
        )

    def _written(self, op: Op, template: str) -> str:
        """Return a template of a call's task with the names of values in place of parameters."""
        params = self._task(op).params
        return renamed(template, {p.name: v.name for p, v in zip(params, op.operands, strict=True)})

    def _data(self, op: Op) -> list[Section]:
        """Return the sections of a call's prompt that are inputs, and no constants."""
        task = self._task(op)
        values = {p.name: v.name for p, v in zip(task.params, op.operands, strict=True)}
        return [
            section
            for section in data_of(task.prompt or "")
            if any(values[part.name] not in self._fixed for part in section.placeholders)
        ]


def candidates_of(op: Op, library: Library) -> list[Executor]:
    """Return the executors that may carry out a call of a logical module."""
    named = op.attr("candidates", ())
    labels = named if isinstance(named, tuple) else ()
    found = (library.get(str(label).partition("{")[0]) for label in labels)
    return [executor for executor in found if executor is not None]


def fixed_values(region: Region) -> Iterator[str]:
    """Yield the names of constants, and of lists and records of constants."""
    known: set[str] = set()
    for top in region.ops:
        for op in top.walk():
            if op.kind in _FIXED and all(value.name in known for value in op.operands):
                known.add(op.out().name)
    yield from known


def _picks(kind: Type) -> bool:
    """Tell whether an answer is one of a few values that the type names."""
    return (
        kind == BOOL or isinstance(kind, Enum) or (isinstance(kind, Option) and _picks(kind.item))
    )


def _difference(key: _Key, other: _Key) -> str:
    pairs = zip(_DIFFERENCES, key, other, strict=True)
    return next(text for text, own, others in pairs if own != others)
