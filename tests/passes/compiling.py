"""Generated workflows, compiled whole: each task has two executors of its name that do the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from murakkab.compiler.frontend import check_text, select
from murakkab.ir.ops import Op, Region, Value, attributes
from murakkab.ir.types import Record
from murakkab.ir.workflow import MetricName, Module, Requirement, Workflow
from murakkab.passes.base import Context
from murakkab.passes.pipeline import LEVELS, parse_pipeline, run_pipeline
from murakkab.targets.library import Executor, Library, Quality

from ..ir.modules import TASKS, modules
from .programs import programs
from .worlds import world

GOALS: Sequence[tuple[MetricName, ...]] = (("cost",), ("energy",), ("latency",))
# Of two conditions, the one that is asked first is asked of more items: calls may become more.
UNORDERED = LEVELS[2].replace("pushdown", "pushdown{order=false}")
# Mostly several items: what comes in which order shows in no list of one.
inputs = st.fixed_dictionaries(
    {
        "q": st.sampled_from(("what?", "")),
        "xs": st.sampled_from((["x", "yy"], ["yy", "", "x"], [], ["x"])),
        "flag": st.booleans(),
    }
)
AHEAD = UNORDERED.replace("choose", "speculate")
_QUALITY = Quality(1.0, "relative", "declared for a test")
# the pins of generated workflows leave it
_KNOBS = (("frames", (4,)),)


@cache
def machine() -> Context:
    """Return a machine of eight cores, with a narrow and a wide executor for every task."""
    executors = [
        Executor(
            *(f"{name}-{cores}", name, "", "python", ("cpu",), _QUALITY),
            entry=name,
            cores=cores,
            knobs=_KNOBS,
            digest=name,
        )
        for name in sorted({task.name for task in TASKS} | {"good", "size", "total"})
        for cores in (1, 4)
    ]
    return replace(world(), library=Library(tuple(executors), ""))


@st.composite
def workflows(draw: DrawFn) -> Module:
    """Flow modules that return what they compute, and want all of their optional work."""
    written = programs().map(lambda text: select(check_text(text)))
    module = draw(st.one_of(written, written, _generated()))
    wanted = Requirement("accuracy", ">=", 1.0, text="accuracy >= 1")
    goals = draw(st.sampled_from(GOALS))
    workflow = replace(module.sole(), goals=goals, requirements=(wanted,), expectations=())
    return module.with_workflow(workflow)


@st.composite
def _generated(draw: DrawFn) -> Module:
    module = draw(modules(("flow",)))
    tasks = tuple(replace(task, prompt=None, system=None, using=None) for task in module.tasks)
    return replace(module, tasks=tasks).with_workflow(_telling(draw, module.sole()))


def _telling(draw: DrawFn, workflow: Workflow) -> Workflow:
    """Return a workflow whose result is a record of some of its values: what is unread is dead."""
    values = [op.out() for op in workflow.body.body]
    if not values:
        return workflow
    told = draw(st.lists(st.sampled_from(values), unique=True, min_size=(len(values) + 1) // 2))
    fields = tuple((value.name, value.type) for value in told)
    kind = Record(tuple(sorted(fields)))
    names = attributes({"fields": tuple(name for name, _ in kind.fields)})
    operands = tuple(Value(name, part) for name, part in kind.fields)
    record = Op("record", operands, Value("told", kind), attrs=names)
    body = Region((), (*workflow.body.body, record, Op("return", (record.out(),))))
    return replace(workflow, result=kind, body=body)


def compiled(module: Module, pipeline: str) -> Module:
    """Return a flow module after a pipeline that ends in placement."""
    return run_pipeline(module, parse_pipeline(pipeline), machine())


def runs_ahead(module: Module) -> bool:
    """Tell whether branches run ahead of their condition, so that calls may become more."""
    return any(op.flag("speculative") for op in module.sole().walk())
