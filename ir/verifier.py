"""The rules of a valid module, named and listed in one place; the pass manager runs them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .diagnostics import CompileError, Diagnostic
from .inference import call_type, result_type
from .ops import OPS, Op, Region, Symbol, Value
from .template import Placeholder, TemplateError, parse_template
from .types import Option, Record, Type, assignable
from .workflow import Module, Task, Workflow, scored_result

LEAST_FACTOR = 1e-6  # of quality: the logarithm is taken of it


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule: what it demands, and the check that yields findings (operation, message)."""

    name: str
    demands: str
    check: Callable[[Module, Workflow], Iterator[tuple[Op | None, str]]]


def verify(module: Module) -> None:
    """Raise CompileError with every broken rule; ids are `ir-` and the rule's name.

    A workflow whose operations break the rule `shape` is not checked further: the other rules
    rely on it.
    """
    found = [Diagnostic("ir-symbols", message) for message in _symbols(module)]
    for workflow in module.workflows:
        for rule in RULES:
            broken = [
                Diagnostic(f"ir-{rule.name}", _says(workflow, op, message))
                for op, message in rule.check(module, workflow)
            ]
            found += broken
            if broken and rule.name == "shape":
                break
    if found:
        raise CompileError(found)


def _says(workflow: Workflow, op: Op | None, message: str) -> str:
    if op is None:
        return f"workflow `{workflow.name}`: {message}"
    name = f" ({op.result})" if op.result is not None else ""
    return f"`{op.kind}`{name}: {message}"


def _symbols(module: Module) -> Iterator[str]:
    names = [task.name for task in module.tasks]
    if names != sorted(set(names)):
        yield "tasks must be sorted by name and distinct"
    engines = [engine.name for engine in module.engines]
    if len(engines) != len(set(engines)):
        yield "engines must have distinct names"
    if engines and module.level != "placed":
        yield "only a placed module has engines"
    workflows = [workflow.name for workflow in module.workflows]
    if len(workflows) != len(set(workflows)):
        yield "workflows must have distinct names"


def _shape(module: Module, workflow: Workflow) -> Iterator[tuple[Op | None, str]]:
    yield from _region_shape(module, workflow.body, "return")


def _region_shape(module: Module, region: Region, end: str) -> Iterator[tuple[Op | None, str]]:
    if not region.ops or region.ops[-1].kind != end:
        yield (region.ops[-1] if region.ops else None), f"a region here must end in `{end}`"
    for index, op in enumerate(region.ops):
        spec = OPS.get(op.kind)
        if spec is None:
            yield op, "unknown operation"
            continue
        if module.level not in spec.levels:
            yield op, f"does not exist at level {module.level}"
        if op.kind in ("yield", "return") and index != len(region.ops) - 1:
            yield op, "a terminator must come last"
        if spec.operands is not None and len(op.operands) != spec.operands:
            yield op, f"wants {spec.operands} operands, has {len(op.operands)}"
        if len(op.regions) != spec.regions:
            yield op, f"wants {spec.regions} regions, has {len(op.regions)}"
        if (op.result is not None) != spec.result or (op.symbol is not None) != spec.symbol:
            yield op, "has a result or symbol it should not have, or lacks one"
        for name, _ in op.attrs:
            if not _allowed(name, spec.attrs):
                yield op, f"attribute `{name}` is not one of this operation's"
        for nested in op.regions:
            yield from _region_shape(module, nested, "yield")


def _allowed(name: str, known: tuple[str, ...]) -> bool:
    return name in known or name.partition(".")[0] + ".*" in known


def _scopes(module: Module, workflow: Workflow) -> Iterator[tuple[Op | None, str]]:
    seen: set[str] = set()
    visible: dict[str, Value] = {}

    def define(value: Value) -> Iterator[tuple[Op | None, str]]:
        if value.name in seen:
            yield None, f"{value} is defined twice"
        seen.add(value.name)
        visible[value.name] = value

    def visit(region: Region) -> Iterator[tuple[Op | None, str]]:
        mine = [*region.args]
        for value in region.args:
            yield from define(value)
        for op in region.ops:
            for operand in op.operands:
                if visible.get(operand.name) != operand:
                    yield op, f"{operand} is not visible here with type {operand.type}"
            for nested in op.regions:
                yield from visit(nested)
            if op.result is not None:
                yield from define(op.result)
                mine.append(op.result)
        for value in mine:
            visible.pop(value.name, None)

    for value in workflow.params:
        yield from define(value)
    yield from visit(workflow.body)


def _types(module: Module, workflow: Workflow) -> Iterator[tuple[Op | None, str]]:
    for op in workflow.walk():
        if op.kind == "return" and not assignable(op.operands[0].type, workflow.result):
            yield op, f"returns {op.operands[0].type}, the workflow {workflow.result}"
        if op.result is None or op.symbol is not None:
            continue
        wanted = result_type(op)
        if isinstance(wanted, str):
            yield op, wanted
        elif not assignable(wanted, op.result.type):
            yield op, f"its result is declared {op.result.type}, it is {wanted}"


def _calls(module: Module, workflow: Workflow) -> Iterator[tuple[Op | None, str]]:
    tasks = {task.name: task for task in module.tasks}
    for op in workflow.calls():
        task = tasks.get(op.symbol or "")
        if task is None:
            yield op, f"no task `@{op.symbol}` in the module"
            continue
        yield from ((op, message) for message in _call(op, task))


def _call(op: Op, task: Task) -> Iterator[str]:
    if task.scored and task.result != scored_result(task.answer):
        yield f"`@{task.name}` is scored, so it must give {scored_result(task.answer)}"
    if task.answers and not _holds(task.answer, len(task.answers)):
        yield f"`@{task.name}` gives {len(task.answers)} answers, so a record of as many fields"
    if len(op.operands) != len(task.params):
        yield f"`@{task.name}` takes {len(task.params)} arguments, gets {len(op.operands)}"
        return
    for operand, param in zip(op.operands, task.params, strict=True):
        if not assignable(operand.type, param.type):
            yield f"{operand} is {operand.type}, parameter `{param.name}` {param.type}"
    if op.out().type != call_type(task.result, optional=op.flag("optional")):
        yield f"its result must be {call_type(task.result, optional=op.flag('optional'))}"
    if task.effect and (op.flag("optional") or op.flag("skip")):
        yield "an effect cannot be optional"


def _holds(kind: Type, answers: int) -> bool:
    return isinstance(kind, Record) and len(kind.fields) == answers


def _prompts(module: Module, workflow: Workflow) -> Iterator[tuple[Op | None, str]]:
    called = {op.symbol for op in workflow.calls()}
    for task in module.tasks:
        for text in (task.system, task.prompt) if task.name in called else ():
            if text is not None:
                yield from ((None, f"`@{task.name}`: {fault}") for fault in _template(task, text))


def _template(task: Task, text: str) -> Iterator[str]:
    try:
        parts = parse_template(text)
    except TemplateError as error:
        yield str(error)
        return
    known = {param.name: param.type for param in task.params}
    for part in parts:
        if isinstance(part, Placeholder) and _inserted(part, known) is None:
            yield f"`{part}` names no parameter, or no field of one"


def _inserted(placeholder: Placeholder, known: Mapping[str, Type]) -> Type | None:
    """Return the type of what is inserted; a field of an absent record is absent."""
    kind = known.get(placeholder.name)
    for name in placeholder.path[1:]:
        inner = kind.item if isinstance(kind, Option) else kind
        kind = inner.field(name) if isinstance(inner, Record) else None
    return kind


def _speculation(module: Module, workflow: Workflow) -> Iterator[tuple[Op | None, str]]:
    effects = {task.name for task in module.tasks if task.effect}
    for op in workflow.walk():
        if op.kind != "if" or op.attr("speculative") is None:
            continue
        if not isinstance(op.attr("speculative"), bool):
            yield op, "its `speculative` must be `true` or `false`"
        for inner in op.walk():
            if inner.symbol in effects:
                yield op, f"a branch that runs ahead cannot be undone, it holds `@{inner.symbol}`"


def _chances(module: Module, workflow: Workflow) -> Iterator[tuple[Op | None, str]]:
    for op in workflow.walk():
        limit = op.attr("limit")
        ranges = {
            "likely": (0.0, 1.0),
            "rounds": (1.0, float(limit) if isinstance(limit, int) else math.inf),
            "weight": (0.0, math.inf),
            "factor": (LEAST_FACTOR, math.inf),
        }
        for name, (low, high) in ranges.items():
            value = op.attr(name)
            if value is None:
                continue
            if not isinstance(value, float) or not (low <= value <= high and value < math.inf):
                yield op, f"its `{name}` must be a number from {low:g} to {high:g}"


def _placement(module: Module, workflow: Workflow) -> Iterator[tuple[Op | None, str]]:
    engines = {engine.name for engine in module.engines}
    for op in workflow.calls():
        if op.kind != "invoke":
            continue
        if op.flag("skip"):
            if not op.flag("optional"):
                yield op, "only optional work can be left out"
            continue
        for role in ("", "substitute.") if op.attr("substitute.engine") is not None else ("",):
            engine, executor = op.attr(f"{role}engine"), op.attr(f"{role}executor")
            if engine not in engines or not isinstance(executor, Symbol):
                yield op, f"its `{role}engine` is none of the module's, or it has no executor"


def _binding(module: Module, workflow: Workflow) -> Iterator[tuple[Op | None, str]]:
    if module.level == "flow":
        return
    called = {op.symbol for op in workflow.calls()}
    for task in module.tasks:
        if task.name in called and task.interface is None:
            yield None, f"`@{task.name}` is bound to no interface"
    for op in workflow.calls():
        if op.kind == "call" and not op.attr("candidates"):
            yield op, "has no candidate executors"


RULES: tuple[Rule, ...] = (
    Rule("shape", "operands, regions, attributes and terminators are as ir/ops.py says", _shape),
    Rule("scopes", "every value is defined once, before its uses, in an enclosing region", _scopes),
    Rule("types", "every result has the type its operands give", _types),
    Rule("calls", "every call fits its task; no effect is optional", _calls),
    Rule("prompts", "placeholders of prompts name parameters, or fields of them", _prompts),
    Rule("speculation", "an `if` whose branches run ahead holds no effect", _speculation),
    Rule(
        "chances",
        "shares are between 0 and 1, mean rounds between 1 and the limit, "
        "weights and factors of quality positive",
        _chances,
    ),
    Rule("binding", "from the logical level on, tasks have interfaces, calls candidates", _binding),
    Rule("placement", "every invoke names an engine and an executor, or is left out", _placement),
)
