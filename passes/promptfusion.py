"""Prompt fusion: several prompts over the same inputs become one call with a structured result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..ir.diagnostics import Span
from ..ir.ops import Attr, Op, Region, Symbol, Value
from ..ir.remarks import Reporter
from ..ir.types import Record, Type, option
from ..ir.workflow import Module, Task, Workflow
from ..targets.library import Library
from .ability import GENERATE
from .base import Context, Proposal
from .prompts.askable import Askable, candidates_of, fixed_values
from .prompts.layout import laid_out
from .prompts.sections import Sections, sections_of
from .prompts.sharing import sites_of
from .prompts.together import free_name, parameters_of, renamed, taken_apart
from .rewrite import FreshNames, field_of, united

# What each answer is worth, relative, when it is asked for beside others: declared. Measured were
# gains (Son et al., "Multi-Task Inference", ACL 2024: up to 7.3 % with Llama-2-Chat-70B, 12.4 %
# with GPT-4), and gains or losses by model (Gozzi and Di Maio, Electronics 13(23), 2024, five
# models of 7 to 14 billion parameters): no one figure holds, so something is kept back.
QUALITY = 0.98
_LONGEST_NAME = 48


def fuse_prompts(
    module: Module, library: Library, quality: float, report: Reporter, *, enumerations: bool
) -> Module:
    """Return the logical module with all calls made as one that may be.

    The call that is made has the `weight` of all, and in its `factor` what each answer is worth:
    `quality`, where the library knows nothing of its models.
    """
    after = module
    for group in Askable(module, library, report, enumerations=enumerations).groups():
        after = asked_together(after, group, _quality(group, library, quality))
        report.did("prompts", f"{_names(group)} are asked in one call, not {len(group)}", *group)
    return after


def fused_prompts(module: Module, context: Context) -> Iterator[Proposal]:
    """Propose to make calls as one: of each group all, all but the last, and so on to two."""
    report = Reporter("choose", context.remarked)
    found = Askable(module, context.library, report, enumerations=False)
    for group in found.groups():
        for size in range(len(group), 1, -1):
            part = group[:size]
            quality = _quality(part, context.library, QUALITY)
            after = asked_together(module, part, quality)
            locs = united(*(op.locs for op in part))
            yield Proposal(f"{_names(part)} are asked in one call", locs, after)


def asked(before: Module, after: Module) -> dict[str, str]:
    """Return notes of the tasks that are asked together after, and were not before."""
    known = {task.name for task in before.tasks}
    return {
        f"note.fuse.prompts.{task.name}": f"{_listed(task.answers)} are asked in one call (not "
        "exact: an answer may suffer from what is asked beside it)"
        for task in after.tasks
        if task.answers and task.name not in known
    }


def _names(ops: Sequence[Op]) -> str:
    return _listed([op.out().name for op in ops])


def _listed(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _quality(group: Sequence[Op], library: Library, default: float) -> float:
    """Return what each answer is worth, with the model for which that is least."""
    found = (model.quality.together for model in candidates_of(group[0], library))
    return min((default if worth is None else worth for worth in found), default=default)


def asked_together(module: Module, group: Sequence[Op], quality: float) -> Module:
    """Return the module with calls that `Askable` found made as one, where the first of them is."""
    workflow = module.sole()
    tasks = {task.name: task for task in module.tasks}
    calls = [(op, tasks[str(op.symbol)]) for op in group]
    task, operands, fields = _task(calls, tasks)
    names = FreshNames(workflow)
    optional = group[0].flag("optional")
    result = names.value(task.name, option(task.result) if optional else task.result)
    locs = united(*(op.locs for op in group))
    call = replace(group[0], operands=operands, result=result, symbol=Symbol(task.name), locs=locs)
    made = [call.with_attrs(_attributes(group, quality))]
    if optional:
        made += _whole(result, task.result, names, locs)
    answers = {
        op.out().name: field_of(made[-1].out(), field, op.out(), op.locs)
        for op, field in zip(group, fields, strict=True)
    }
    body = _Rewriter(made, answers, operands, workflow).region(workflow.body)
    workflow = replace(workflow, body=body)
    gone = {own.name for _, own in calls} - {op.symbol for op in workflow.calls()}
    kept = (own for name, own in tasks.items() if name not in gone and name != task.name)
    listed = tuple(sorted((*kept, task), key=lambda own: own.name))
    return _laid_out(replace(module, tasks=listed).with_workflow(workflow), task)


def _task(
    calls: Sequence[tuple[Op, Task]], tasks: Mapping[str, Task]
) -> tuple[Task, tuple[Value, ...], tuple[str, ...]]:
    """Return the task that asks for all, what it is given, and the field of each call."""
    parameters = parameters_of(calls)
    fields: list[str] = []
    for _, task in calls:
        fields.append(free_name(task.name, fields))
    prompts = {
        field: renamed(task.prompt or "", names)
        for field, (_, task), names in zip(fields, calls, parameters.names, strict=True)
    }
    _, first = calls[0]
    system = None if first.system is None else renamed(first.system, parameters.names[0])
    result = Record(
        tuple((field, task.result) for field, (_, task) in zip(fields, calls, strict=True))
    )
    made = Task(
        "",
        parameters.params,
        result,
        description=" ".join(task.description for _, task in calls if task.description),
        system=system,
        prompt=taken_apart(prompts).written(),
        interface=GENERATE,
        binding=tuple(param.name for param in parameters.params),
        answers=tuple(task.name for _, task in calls),
        loc=first.loc,
    )
    return replace(made, name=_name(made, fields, tasks)), parameters.operands, tuple(fields)


def _name(made: Task, fields: Sequence[str], tasks: Mapping[str, Task]) -> str:
    """Return a name for a task: that of an equal one, or one that no other has."""
    name = "_and_".join(fields)
    if len(name) > _LONGEST_NAME:
        name = f"{fields[0]}_and_{len(fields) - 1}_more"
    equal = (other for other, task in tasks.items() if replace(task, name="") == made)
    return next(equal, None) or free_name(name, tasks)


def _attributes(group: Sequence[Op], quality: float) -> dict[str, Attr]:
    """Return how much the one call counts, and what asking for all at once does to accuracy."""
    weight = sum(op.number("weight", 1.0) for op in group)
    before = math.prod(op.number("factor", 1.0) for op in group)
    return {"weight": weight, "factor": round(before * quality**weight, 9)}


def _whole(result: Value, kind: Type, names: FreshNames, locs: tuple[Span, ...]) -> Iterator[Op]:
    """Yield what makes a record of one that may be none: each of its fields is none then."""
    fields = kind.fields if isinstance(kind, Record) else ()
    absent = [names.value("none", option(part)) for _, part in fields]
    yield from (Op("const", (), value, locs=locs) for value in absent)
    parts = tuple((name, value.type) for (name, _), value in zip(fields, absent, strict=True))
    nothing = names.value("nothing", Record(parts))
    listed = tuple(name for name, _ in fields)
    yield Op("record", tuple(absent), nothing, attrs=(("fields", listed),), locs=locs)
    yield Op("coalesce", (result, nothing), names.value("whole", nothing.type), locs=locs)


class _Rewriter:
    """Puts what was made where the first call was, and answers in the places of all of them."""

    def __init__(
        self,
        made: Sequence[Op],
        answers: Mapping[str, Op],
        operands: Sequence[Value],
        workflow: Workflow,
    ) -> None:
        self._made = made
        self._answers = answers
        self._fixed = frozenset(fixed_values(workflow.body))
        self._needed = {value.name for value in operands}

    def region(self, region: Region) -> Region:
        """Return a region with the calls in it, or in what it holds, made as one."""
        names = [op.out().name for op in region.body]
        first = next((i for i, name in enumerate(names) if name in self._answers), None)
        if first is None:
            nested = (
                replace(op, regions=tuple(map(self.region, op.regions))) if op.regions else op
                for op in region.ops
            )
            return replace(region, ops=tuple(nested))
        early = self._early(region.body[first:])
        ops = [*region.ops[:first], *early, *self._made]
        moved = {op.out().name for op in early}
        for op in region.body[first:]:
            name = op.out().name
            if name not in moved:
                ops.append(self._answers.get(name, op))
        ops.append(region.terminator)
        return replace(region, ops=tuple(ops))

    def _early(self, later: Sequence[Op]) -> list[Op]:
        """Return the constants that stand behind the first call, but which it needs now."""
        needed, found = set(self._needed), []
        for op in reversed(later):
            if op.out().name in needed & self._fixed:
                needed |= {value.name for value in op.operands}
                found.append(op)
        return found[::-1]


def _laid_out(module: Module, made: Task) -> Module:
    """Return the module with the sections of a prompt made here where calls share most."""
    given = {t.name: sections_of(t.prompt).sections for t in module.tasks if t.prompt is not None}
    orders = laid_out(sites_of(module), given, (made.name,))
    if made.name not in orders:
        return module
    order = orders[made.name]
    prompt = Sections(order).written(order)
    tasks = (replace(t, prompt=prompt) if t.name == made.name else t for t in module.tasks)
    return replace(module, tasks=tuple(tasks))
