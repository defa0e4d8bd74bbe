"""The text form of the IR: deterministic, complete, read back by `reader` to an equal module."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace

from .diagnostics import Span
from .ops import Attr, Attrs, Op, Region, Symbol, Value
from .workflow import Engine, Module, Task, Workflow

_INDENT = "  "


# Attributes that say what is expected or where things came from, not what is to be done.
_COMMENTARY = ("predicted.", "solver.", "note.", "executor_digest")


def print_module(module: Module, *, brief: bool = False) -> str:
    """Return the module's text; `brief` leaves out source places, predictions and notes.

    `read_module(print_module(m)) == m` holds for every module the verifier accepts.
    """
    if brief:
        module = _without_commentary(module)
    locs = not brief
    lines = [f"module {module.level}" + _attrs(module.attrs, " ")]
    for task in module.tasks:
        lines += ["", _task(task, locs)]
    for engine in module.engines:
        lines += ["", _engine(engine)]
    for workflow in module.workflows:
        lines += ["", *_workflow(workflow, locs)]
    return "\n".join(lines) + "\n"


def _without_commentary(module: Module) -> Module:
    return replace(
        module,
        attrs=_instructive(module.attrs),
        engines=tuple(replace(e, attrs=_instructive(e.attrs)) for e in module.engines),
        workflows=tuple(replace(w, body=_brief_region(w.body)) for w in module.workflows),
    )


def _brief_region(region: Region) -> Region:
    ops = (
        replace(
            op, attrs=_instructive(op.attrs), regions=tuple(_brief_region(r) for r in op.regions)
        )
        for op in region.ops
    )
    return replace(region, ops=tuple(ops))


def _instructive(attrs: Attrs) -> Attrs:
    return tuple((key, value) for key, value in attrs if not key.startswith(_COMMENTARY))


def _task(task: Task, locs: bool) -> str:
    attrs: dict[str, Attr] = {
        "answers": task.answers or None,
        "binding": task.binding or None,
        "description": task.description or None,
        "effect": task.effect or None,
        "interface": task.interface,
        "prompt": task.prompt,
        "scored": task.scored or None,
        "system": task.system,
        "using": task.using,
    }
    present = tuple((k, v) for k, v in attrs.items() if v is not None)
    signature = f"task @{task.name}({_binders(task.params)}) -> {task.result}"
    return signature + _attrs(present, " ") + _locs((task.loc,) if task.loc else (), locs)


def _engine(engine: Engine) -> str:
    return f"engine @{engine.name}" + _attrs(engine.attrs, " ")


def _workflow(workflow: Workflow, locs: bool) -> Iterable[str]:
    yield f"workflow @{workflow.name}({_binders(workflow.params)}) -> {workflow.result}"
    pad = _INDENT * 2
    if workflow.description:
        yield f"{pad}describe {string(workflow.description)}"
    if workflow.goals:
        yield f"{pad}objectives [{', '.join(workflow.goals)}]"
    for need in workflow.requirements:
        metric = need.metric + (f".{need.percentile}" if need.percentile else "")
        value = need.value if isinstance(need.value, str) else number(need.value)
        place = _locs((need.loc,) if need.loc else (), locs)
        yield f"{pad}require {metric} {need.op} {value} {string(need.text)}{place}"
    for fact in workflow.expectations:
        place = _locs((fact.loc,) if fact.loc else (), locs)
        yield f"{pad}expect {string(fact.fact)} = {number(fact.value)}{place}"
    if workflow.attrs:
        yield f"{pad}attributes{_attrs(workflow.attrs, ' ')}"
    if workflow.loc and locs:
        yield f"{pad}{_locs((workflow.loc,), locs).lstrip()}"
    yield "{"
    for op in workflow.body.ops:
        yield from _op(op, 1, locs)
    yield "}"


def _op(op: Op, depth: int, locs: bool) -> Iterable[str]:
    pad = _INDENT * depth
    head = f"{op.result} = " if op.result is not None else ""
    callee = f" @{op.symbol}" if op.symbol is not None else ""
    line = f"{pad}{head}{op.kind}{callee}({', '.join(map(str, op.operands))})"
    for region in op.regions:
        yield line + " {" + (f" ^({_binders(region.args)})" if region.args else "")
        yield from _region(region, depth + 1, locs)
        line = pad + "}"
    typed = f" : {op.result.type}" if op.result is not None else ""
    yield line + _attrs(op.attrs, " ") + typed + _locs(op.locs, locs)


def _region(region: Region, depth: int, locs: bool) -> Iterable[str]:
    for op in region.ops:
        yield from _op(op, depth, locs)


def _binders(values: Iterable[Value]) -> str:
    return ", ".join(f"{value}: {value.type}" for value in values)


def _attrs(attrs: Attrs, lead: str) -> str:
    if not attrs:
        return ""
    return lead + "{" + ", ".join(_pair(key, value) for key, value in sorted(attrs)) + "}"


def _pair(key: str, value: Attr) -> str:
    return key if value is True else f"{key} = {attr_text(value)}"


def attr_text(value: Attr) -> str:
    """Return an attribute value as the IR writes it."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case Symbol():
            return f"@{value}"
        case str():
            return string(value)
        case tuple():
            return "[" + ", ".join(map(attr_text, value)) + "]"
    return number(value)


def number(value: float) -> str:
    """Return a number so that reading it gives the same one; integers stay integers."""
    if not math.isfinite(value):
        raise ValueError("the IR holds finite numbers only")
    return repr(value)


def string(text: str) -> str:
    """Return a string literal (JSON's escapes; other characters as they are)."""
    return json.dumps(text, ensure_ascii=False)


def _locs(spans: tuple[Span, ...], shown: bool) -> str:
    if not spans or not shown:
        return ""
    places = (f"{string(s.file)}:{s.line}:{s.column}:{s.end_line}:{s.end_column}" for s in spans)
    return f" loc({', '.join(places)})"
