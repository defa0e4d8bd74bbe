"""The ways a call can be carried out, as far as its author and its executors are concerned."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..ir.ops import Attr, Op
from ..ir.printer import attr_text
from ..ir.template import Placeholder, parse_template
from ..ir.types import FLOAT, Record, Type
from ..ir.workflow import Task
from ..targets.cost import Work
from ..targets.formula import Formula
from ..targets.library import Executor
from ..targets.sizes import FIELD_TOKENS, Size, default_size, is_bounded, rendered
from .base import Context
from .pins import LANGUAGE_RUNNERS, MODEL_KNOBS, Pin, model_setting, pins_of

# What leaving out optional work costs in accuracy where nobody declared it
# (docs/language.md, Accuracy).
LEFT_OUT_QUALITY = 0.97
# Tokens a vision-language model spends on one image where its library entry does not say.
IMAGE_TOKENS = 1000.0
# Tokens that the author expects of each answer of a call; None where he does not say.
Expected = tuple[float | None, ...]


@dataclass(frozen=True)
class Configuration:
    """An executor with its knobs set; `executor` None is optional work left out."""

    executor: Executor | None
    knobs: tuple[tuple[str, Attr], ...] = ()

    @cached_property
    def label(self) -> str:
        """The form dumps and plans show: `name{frames = 5}`, or `left out`."""
        if self.executor is None:
            return "left out"
        settings = ", ".join(f"{name} = {attr_text(value)}" for name, value in self.knobs)
        return self.executor.name + (f"{{{settings}}}" if settings else "")

    @property
    def quality(self) -> float:
        """The executor's quality at these knobs; compares within one interface only."""
        if self.executor is None:
            return 0.0
        value = self.executor.quality.value
        for knob, factors in self.executor.quality.factors:
            value *= dict(factors).get(dict(self.knobs).get(knob), 1.0)
        return value


LEFT_OUT = Configuration(None)


def configurations(op: Op, context: Context) -> tuple[Configuration, ...]:
    """Return the configurations a call's candidates and pins leave, best quality first.

    Candidates are executor names (after `bind`) or labels (after `substitute`). Executors the
    target does not offer are passed over. Optional work adds LEFT_OUT last.
    """
    named = op.attr("candidates", ())
    labels = [str(name) for name in named] if isinstance(named, tuple) else []
    found: list[Configuration] = []
    for label in labels:
        executor = context.library.get(label.partition("{")[0])
        if executor is None or not context.offers(executor):
            continue
        choices = _settings(op, executor)
        found += [c for c in choices if "{" not in label or c.label == label]
    found.sort(key=lambda c: (-c.quality, c.label))
    if op.flag("optional"):
        found.append(LEFT_OUT)
    return tuple(found)


def _settings(op: Op, executor: Executor) -> Iterator[Configuration]:
    pins = pins_of(op)
    fixed = _model_settings(pins) if executor.runner in LANGUAGE_RUNNERS else []
    names = [name for name, _ in executor.knobs]
    allowed = [
        [choice for choice in choices if all(p.accepts(choice) for p in pins if p.name == name)]
        for name, choices in executor.knobs
    ]
    for setting in itertools.product(*allowed):
        yield Configuration(executor, tuple(sorted([*zip(names, setting, strict=True), *fixed])))


def _model_settings(pins: Sequence[Pin]) -> list[tuple[str, Attr]]:
    settings: list[tuple[str, Attr]] = []
    for name in MODEL_KNOBS:
        of_name = [pin for pin in pins if pin.name == name]
        value = model_setting(of_name) if of_name else None
        if value is not None and math.isfinite(value):
            settings.append((name, value))
    return settings


def prompt_size(task: Task, arguments: Mapping[str, Size]) -> Size:
    """Return the size of a task's filled-in prompt and system text."""
    literal, parts = 0.0, []
    for text in (task.system, task.prompt):
        if text is None:
            continue
        for piece in parse_template(text):
            if not isinstance(piece, Placeholder):
                literal += len(piece) / 4.0  # characters per token of English text
                continue
            size: Size | None = arguments.get(piece.path[0])
            for name in piece.path[1:]:
                size = size.field(name) if size is not None else None
            parts.append(size or Size())
    return rendered(parts, literal_tokens=literal)


def parameters(task: Task, arguments: Mapping[str, Size]) -> dict[str, Size]:
    """Return what an executor's formulas see: the interface's parameters, and `prompt`."""
    bound = {
        name: arguments[param.name] for name, param in zip(task.binding, task.params, strict=True)
    }
    if task.prompt is not None:
        bound["prompt"] = prompt_size(task, arguments)
    return bound


def work_of(
    task: Task, config: Configuration, sizes: Mapping[str, Size], expected: Expected = (None,)
) -> Work:
    """Return what one call costs; `expected` is how long the author expects its answers to be."""
    executor = config.executor
    if executor is None:
        return Work()
    knobs = dict(config.knobs)
    amounts = {
        unit: (_value(amount.p50, sizes, knobs), _value(amount.p90, sizes, knobs))
        for unit, amount in executor.work
    }
    prompt = amounts.get("prompt_tokens", (0.0, 0.0))
    if executor.runner == "torch":  # a model server too, though no language model
        return Work(prompt_tokens=prompt, output_tokens=amounts.get("output_tokens", (0.0, 0.0)))
    if executor.runner not in LANGUAGE_RUNNERS:
        return Work(items=amounts.get("items", (1.0, 1.0)))
    written = sizes.get("prompt")
    if written is not None and executor.interface != "generate":
        # the author's prompt replaces the library's
        tokens = written.total("tokens") + IMAGE_TOKENS * written.total("images")
        prompt = (tokens, tokens)
    usual = amounts.get("output_tokens", (0.0, 0.0))
    answers = [_written(*pair, executor, usual) for pair in _answers(task, expected)]
    framed = FIELD_TOKENS * len(task.answers)
    output = (framed + sum(p50 for p50, _ in answers), framed + sum(p90 for _, p90 in answers))
    limit = knobs.get("max_tokens")
    if isinstance(limit, (int, float)):
        output = (min(output[0], limit), min(output[1], limit))
    return Work(prompt_tokens=prompt, output_tokens=output)


def _answers(task: Task, expected: Expected) -> Iterator[tuple[Type, float | None]]:
    """Yield the type of each answer that a call asks for, and how long it is expected to be."""
    kinds = [task.answer]
    if task.answers and isinstance(task.answer, Record):
        kinds = [kind for _, kind in task.answer.fields]
    yield from zip(kinds, expected, strict=True)


def _written(
    answer: Type, expected: float | None, executor: Executor, usual: tuple[float, float]
) -> tuple[float, float]:
    """Return the tokens of an answer, `usual` being what the executor knows of its answers."""
    if expected is not None:
        return (expected, expected)
    if usual[0] and not _by_type(answer, executor):
        return usual
    tokens = default_size(answer).total("tokens")
    return (tokens, tokens)


def result_size(
    task: Task, config: Configuration, sizes: Mapping[str, Size], expected: Expected = (None,)
) -> Size:
    """Return the expected size of a call's result; nothing for work left out."""
    executor = config.executor
    if executor is None:
        return Size()
    knobs = dict(config.knobs)
    usual = tuple((fact, _value(amount.p50, sizes, knobs)) for fact, amount in executor.result)
    found = [_answer_size(*pair, executor, usual) for pair in _answers(task, expected)]
    size = found[0]
    if task.answers and isinstance(task.answer, Record):
        names = (name for name, _ in task.answer.fields)
        size = Size(fields=tuple(zip(names, found, strict=True)))
    if task.scored:
        return Size(fields=(("value", size), ("confidence", default_size(FLOAT))))
    return size


def _answer_size(
    answer: Type, expected: float | None, executor: Executor, usual: Iterable[tuple[str, float]]
) -> Size:
    size = default_size(answer)
    for fact, value in () if _by_type(answer, executor) else usual:
        size = _with_fact(size, fact, value)
    return size if expected is None else _with_fact(size, "tokens", expected)


def _by_type(answer: Type, executor: Executor) -> bool:
    """Tell whether the type of an answer says how long it is, better than its executor can.

    An executor of `generate` does not know what it will be asked; `yes` or `no` is one token.
    """
    return executor.interface == "generate" and is_bounded(answer)


def _with_fact(size: Size, fact: str, value: float) -> Size:
    try:
        return size.with_fact(fact, value)
    except ValueError:
        # the author's result type has no such part: what it has keeps its default
        return size


def _value(formula: Formula, sizes: Mapping[str, Size], knobs: Mapping[str, Attr]) -> float:
    """Evaluate to three significant digits: finer than any prediction, and equal work is equal."""
    return float(f"{max(formula.evaluate(sizes, knobs), 0.0):.3g}")
