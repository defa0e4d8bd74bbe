"""Prompt fusion: the same questions about the same inputs, in fewer calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from murakkab.ir.ops import Op, Region
from murakkab.ir.printer import print_module
from murakkab.ir.reader import read_module
from murakkab.ir.remarks import Reporter
from murakkab.ir.verifier import verify
from murakkab.ir.workflow import Module
from murakkab.passes.promptfusion import fuse_prompts
from murakkab.passes.sections import sections_of
from murakkab.passes.together import renamed

from ..ir.modules import modules
from .interpreter import Run, Trace, interpret
from .properties import LIBRARY, arguments

PROMPTS = {
    "ask": "Q: {q}\nAnswer it.",
    "find": "Find what the number asks for.\nNumber: {n}\nQ: {q}",
    "note": "Take a note of it.\nQ: {q}\nMaybe: {maybe}",
    "split": "Q: {q}\nSplit it into words.",
    "word": "Note: {n}\nSay it in a word.",
}


def fused(module: Module, quality: float = 0.9) -> Module:
    return fuse_prompts(module, LIBRARY, quality, Reporter("fuse"), enumerations=True)


def prompted(module: Module) -> Module:
    """Return a module most of whose calls one model is asked in a prompt."""

    def region(r: Region) -> Region:
        return replace(r, ops=tuple(map(asked, r.ops)))

    def asked(op: Op) -> Op:
        op = replace(op, regions=tuple(map(region, op.regions)))
        return op.with_attrs({"candidates": ("model",)}) if op.kind == "call" else op

    prompts = {task.name: PROMPTS.get(task.name, task.prompt) for task in module.tasks}
    tasks = tuple(replace(t, prompt=prompts[t.name], system=None) for t in module.tasks)
    workflow = module.sole()
    return replace(module, tasks=tasks).with_workflow(replace(workflow, body=region(workflow.body)))


class Asked(Run):
    """Runs a module in which calls were made as one, with answers as if each were made alone."""

    def __init__(self, before: Module, after: Module) -> None:
        super().__init__(after)
        self._alone = {op.out().name: op for op in before.sole().calls()}
        self._tasks = {t.name: t for t in (*before.tasks, *after.tasks)}
        self._fields: dict[str, dict[str, Op]] = {}
        self.requests = 0
        source: dict[str, str] = {}  # from a record to the call that it is the result of
        for op in after.sole().walk():
            if op.kind == "call" and op.out().name not in self._alone:
                source[op.out().name] = op.out().name
            elif op.kind == "coalesce" and op.operands[0].name in source:
                source[op.out().name] = source[op.operands[0].name]
            elif op.kind == "field" and op.operands[0].name in source:
                known = self._fields.setdefault(source[op.operands[0].name], {})
                known[str(op.attr("name"))] = self._alone[op.out().name]

    def _call(self, op: Op, operands: list[Any]) -> Any:
        self.requests += 1
        if op.out().name in self._alone:
            return super()._call(op, operands)
        values = dict(zip((value.name for value in op.operands), operands, strict=True))
        return {
            field: super(Asked, self)._call(own, [values[v.name] for v in own.operands])
            for field, own in self._fields[op.out().name].items()
        }


def means_the_same(before: Module, after: Module, given: Mapping[str, Any]) -> None:
    try:
        expected: Trace = interpret(before, given)
    except ArithmeticError:
        assume(False)
    run = Asked(before, after)
    found = run.workflow(given)
    assert repr(found.result) == repr(expected.result)
    assert found.effects == expected.effects
    assert found.calls == expected.calls  # what was asked, in whichever call
    assert run.requests <= sum(expected.calls.values()) + len(expected.effects)


def asks_all(before: Module, after: Module) -> None:
    """Check what calls that were made as one count for, and that each asks its task's words."""
    old = {op.out().name: op for op in before.sole().calls()}
    tasks = {task.name: task for task in (*before.tasks, *after.tasks)}
    kept = 0
    for op in after.sole().calls():
        task = tasks[str(op.symbol)]
        if op.out().name in old:
            kept += 1
            continue
        kept += len(task.answers)
        assert op.number("weight", 1.0) == len(task.answers)
        assert op.number("factor", 1.0) == pytest.approx(0.9 ** len(task.answers))
        given = dict(zip((p.name for p in task.params), op.operands, strict=True))
        said = renamed(task.prompt or "", {name: value.name for name, value in given.items()})
        alone = [o for o in old.values() if o.symbol in task.answers]
        for own in (o for o in alone if set(o.operands) == set(op.operands)):
            params = (p.name for p in tasks[str(own.symbol)].params)
            names = {name: v.name for name, v in zip(params, own.operands, strict=True)}
            for section in sections_of(tasks[str(own.symbol)].prompt or "").sections:
                assert renamed(section.text, names) in said
    assert kept == len(old)


def holds(module: Module, given: Mapping[str, Any]) -> bool:
    """Check the fusion of a module's prompts; tell whether there was any."""
    note(print_module(module, brief=True))
    after = fused(module)
    note(print_module(after, brief=True))
    verify(after)
    assert fused(after) == after
    means_the_same(module, after, given)
    asks_all(module, after)
    return after != module


@settings(deadline=None)
@given(modules(("logical",)), arguments)
def test_any_module_means_what_it_meant(module: Module, given: dict[str, object]) -> None:
    holds(prompted(module), given)


TASKS = """
task @gist(%t: Text) -> Text {binding = ["t"], interface = "generate",
    prompt = "Say what it is about.\\nText: {t}"}
task @mood(%text: Text) -> "good" | "bad" {binding = ["text"], interface = "generate",
    prompt = "Say how it sounds.\\nText: {text}"}
task @tell(%text: Text, %about: Text) -> [Text] {binding = ["text", "about"],
    interface = "generate", prompt = "Text: {text}\\nAbout: {about}\\nSay what it says."}
"""
RESULTS = {"gist": "Text", "mood": '"bad" | "good"', "tell": "[Text]"}


@st.composite
def questions(draw: DrawFn) -> Module:
    """Modules that ask several things of the same texts, some of them within a `for`."""
    optional = draw(st.booleans())
    lines: list[str] = []
    inner: list[str] = []
    for index in range(draw(st.integers(2, 7))):
        task = draw(st.sampled_from(tuple(RESULTS)))
        inside = draw(st.booleans())
        text = draw(st.sampled_from(("q", "x"))) if inside else "q"
        into = inner if inside else lines
        read = f"%{text}"
        if task == "tell":
            into.append(f'%k{index} = const() {{value = "{draw(st.sampled_from("ab"))}"}} : Text')
            read += f", %k{index}"
        mark = ", optional" if optional or draw(st.integers(0, 5)) == 0 else ""
        kind = f"({RESULTS[task]})?" if mark else RESULTS[task]
        kind = kind.replace("(Text)", "Text").replace("([Text])", "[Text]")
        into.append(f"%v{index} = call @{task}({read}) {{candidates = [@model]{mark}}} : {kind}")
    for index, line in enumerate([*lines]):
        name, _, kind = line.partition(" = ")[0], "", line.rpartition(" : ")[2]
        lines.append(f"%l{index} = list({name}) : [{kind}]")
    found = [line.partition(" = ")[0] for line in inner]
    kinds = [line.rpartition(" : ")[2] for line in inner]
    names = [name.removeprefix("%") for name in found]
    record = "{" + ", ".join(map("{}: {}".format, names, kinds)) + "}"
    fields = ", ".join(f'"{name}"' for name in names)
    body = "\n".join(
        [*inner, f"%r = record({', '.join(found)}) {{fields = [{fields}]}} : {record}"]
    )
    return read_module(
        f"module logical {TASKS} workflow @w(%q: Text, %xs: [Text], %flag: Bool) -> [{record}] {{\n"
        + "\n".join(lines)
        + f"\n%all = map(%xs) {{ ^(%x: Text)\n{body}\nyield(%r) }} : [{record}]\nreturn(%all) }}"
    )


@settings(deadline=None)
@given(questions(), arguments)
def test_questions_of_the_same_texts(module: Module, given: dict[str, object]) -> None:
    verify(module)
    holds(module, given)
