"""Modules, workflows, tasks and engines: what a file compiles to at every level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from .diagnostics import Span
from .ops import Attr, Attrs, Level, Op, Region, Symbol, Value
from .types import FLOAT, Record, Type

if TYPE_CHECKING:
    import networkx

MetricName = Literal["energy", "cost", "latency", "gpus", "accuracy"]
METRICS: tuple[MetricName, ...] = ("energy", "cost", "latency", "gpus", "accuracy")
DEFAULT_OBJECTIVES: tuple[MetricName, ...] = ("cost", "energy", "latency")
TIERS = {"best": 100, "good": 95, "fair": 80, "basic": 50}
PERCENTILES = ("p50", "p90", "p95", "p99")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A hard limit: `metric[.percentile] op value`.

    `value` is in the metric's base unit (latency s, energy J, cost USD per request, accuracy as a
    fraction, gpus a count) or the name of a tier. `text` is the author's own wording.
    """

    metric: MetricName
    op: str
    value: float | str
    percentile: str | None = None
    text: str = ""
    loc: Span | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """A declared size: `fact = value` in base units (s, bytes, tokens, requests/s, pixels).

    `fact` is the source form: `rate`, `video.duration`, `len(scenes)`, `tokens(answer)`, …
    """

    fact: str
    value: float
    loc: Span | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A typed piece of work in words, and (from the logical level on) the interface it binds to.

    `binding` names the interface's parameters in the order of the task's own. Answers of a `scored`
    task come with how sure the model was of them: its result is `{value: T, confidence: Float}`.
    `answers` are the tasks that one of several prompts asks for together, each the name of the task
    whose answer a field of its result is, in their order.
    """

    name: str
    params: tuple[Value, ...]
    result: Type
    effect: bool = False
    description: str = ""
    system: str | None = None
    prompt: str | None = None
    using: str | None = None
    interface: str | None = None
    binding: tuple[str, ...] = ()
    scored: bool = False
    answers: tuple[str, ...] = ()
    loc: Span | None = None

    @property
    def answer(self) -> Type:
        """What is asked for: the result, of a scored task without the confidence."""
        if self.scored and isinstance(self.result, Record):
            return dict(self.result.fields)["value"]
        return self.result


def scored_result(answer: Type) -> Record:
    """Return the type of an answer together with the confidence in it, from 0 to 1."""
    return Record((("value", answer), ("confidence", FLOAT)))


@dataclass(frozen=True, slots=True)
class Engine:
    """An executor on hardware: what an `invoke` runs on (placed level only); attributes as text."""

    name: str
    attrs: Attrs = ()

    def attr(self, name: str, default: Attr = None) -> Attr:
        """Return an attribute's value, or the default where it is not set."""
        return dict(self.attrs).get(name, default)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow: parameters, result, what it must achieve, and its body."""

    name: str
    params: tuple[Value, ...]
    result: Type
    body: Region
    description: str = ""
    # what stands in the file, in source order; the defaults are appended by `objectives`
    goals: tuple[MetricName, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    attrs: Attrs = ()
    loc: Span | None = None

    @property
    def objectives(self) -> tuple[MetricName, ...]:
        """The lexicographic objectives: the stated ones, then the defaults not yet among them."""
        return self.goals + tuple(m for m in DEFAULT_OBJECTIVES if m not in self.goals)

    def walk(self) -> Iterator[Op]:
        """Yield every operation, nested ones included, in program order."""
        for op in self.body.ops:
            yield from op.walk()

    def calls(self) -> Iterator[Op]:
        """Yield the steps: every `call` or `invoke`, in program order."""
        return (op for op in self.walk() if op.kind in ("call", "invoke"))

    def graph(self) -> networkx.DiGraph[str]:
        """Return the data-flow graph over value names: a computed view, never the store."""
        from .graph import dataflow

        return dataflow(self)


@dataclass(frozen=True, slots=True)
class Module:
    """A self-contained program at one level: tasks (sorted by name), engines, workflows."""

    level: Level
    workflows: tuple[Workflow, ...]
    tasks: tuple[Task, ...] = ()
    engines: tuple[Engine, ...] = ()
    attrs: Attrs = field(default=())

    def task(self, name: str) -> Task:
        """Return a task by name; KeyError where there is none."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(name)

    def sole(self) -> Workflow:
        """Return the module's only workflow; passes work on modules that hold exactly one."""
        if len(self.workflows) != 1:
            raise ValueError(f"expected one workflow, found {len(self.workflows)}")
        return self.workflows[0]

    def with_workflow(self, workflow: Workflow) -> Module:
        """Return the module with its only workflow replaced."""
        return replace(self, workflows=(workflow,))


__all__ = [
    "DEFAULT_OBJECTIVES",
    "METRICS",
    "PERCENTILES",
    "TIERS",
    "Engine",
    "Expectation",
    "MetricName",
    "Module",
    "Op",
    "Region",
    "Requirement",
    "Symbol",
    "Task",
    "Value",
    "Workflow",
]
