"""Prompt fusion: the same questions about the same inputs, in fewer calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from murakkab.ir.ops import Op, Region
from murakkab.ir.printer import print_module
from murakkab.ir.reader import read_module
from murakkab.ir.remarks import Remarks, Reporter
from murakkab.ir.verifier import verify
from murakkab.ir.workflow import Module
from murakkab.passes.choose import Choose
from murakkab.passes.fuse import Fuse
from murakkab.passes.pipeline import parse_pipeline, run_pipeline
from murakkab.passes.promptfusion import fuse_prompts
from murakkab.passes.prompts.sections import sections_of
from murakkab.passes.prompts.together import renamed
from murakkab.targets.workflow_profiles import Choice, MeasuredConfiguration, WorkflowProfiles

from ..ir.modules import modules
from .interpreter import Run, Trace, interpret
from .properties import LIBRARY, arguments, context
from .worlds import LAPTOP, flow, world

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


@settings(deadline=None)
@given(questions(), arguments)
def test_with_all_that_fuse_does(module: Module, given: dict[str, object]) -> None:
    everything = Fuse(prompts=True, enumerations=True, prefix=True)
    after = everything.run(module, context())
    verify(after)
    assert everything.run(after, context()) == after
    means_the_same(module, after, given)


HOSTED = """
[[executor]]
name = "hosted"
implements = "generate"
description = "a hosted model"
runner = "openai"
model = "m"
devices = ["remote"]
context = 32000
price = { usd_per_mtok_prompt = 1.0, usd_per_mtok_output = 2.0 }
settings = { url = "http://127.0.0.1:1/v1" }
quality = { value = 1.0, metric = "none", source = "declared for a test" }
work = { prompt_tokens = "tokens(prompt) + 10", output_tokens = 50 }
result = { tokens = 50 }
"""
READ = """
task gist(text: Text) -> Text "The gist." prompt "Text: {{text}}\\nSay what it is about."
task mood(text: Text) -> {mood} "The mood." prompt "Text: {{text}}\\nSay how it sounds."
task place(text: Text) -> [Text] "The places." prompt "Text: {{text}}\\nList the places in it."
workflow read(texts: [Text]) -> [{{about: Text, sounds: Text, places: [Text]}}]
    {clauses}
    expect len(texts) = 20
    expect texts.tokens = 20000
{{
    return for text in texts {{
        about = gist(text) with {{ executor: "hosted" }}
        sounds = mood(text) with {{ executor: "hosted" }}
        places = place(text) with {{ executor: "hosted" }}
        yield {{about, sounds, places}}
    }}
}}
"""
ALONE = {"about", "sounds", "places"}
BEFORE = parse_pipeline("bind,canonicalize,hoist,pushdown,fuse,canonicalize")


@pytest.mark.parametrize(
    ("mood", "clauses", "calls"),
    [
        # of three answers at 0.98 each, two keep 0.95 of the reference plan's accuracy
        ("Text", "minimize cost", {"gist_and_mood", "places"}),
        ("Text", "minimize cost require accuracy >= 0.9", {"gist_and_mood_and_place"}),
        ("Text", "minimize cost require accuracy >= 0.97", ALONE),
        ("Text", "maximize accuracy", ALONE),
        ('"good" | "bad"', "minimize cost", {"gist_and_place", "sounds"}),
    ],
)
def test_it_is_chosen_where_accuracy_leaves_room(
    mood: str, clauses: str, calls: set[str], tmp_path: Path
) -> None:
    (tmp_path / "hosted.toml").write_text(HOSTED)
    machines = world(LAPTOP, tmp_path / "hosted.toml")
    text = READ.format(mood=mood, clauses=clauses)
    written = run_pipeline(flow(text), BEFORE, machines)
    chosen = Choose().run(written, machines)
    assert {op.out().name for op in chosen.sole().calls()} == calls
    notes = [text for key, text in chosen.attrs if key.startswith("note.choose.")]
    assert len(notes) == (calls != ALONE)
    if calls == ALONE:
        assert chosen == written
        return
    assert "asked in one call" in str(notes[0])
    costs, accuracies = [], []
    for module in (written, chosen):
        figures = dict(run_pipeline(module, parse_pipeline("substitute,place"), machines).attrs)
        costs.append(figures["predicted.cost_usd"])
        accuracies.append(figures["predicted.accuracy"])
    assert float(str(costs[1])) < float(str(costs[0]))
    answers = 3 if len(calls) == 1 else 2
    assert float(str(accuracies[1])) == pytest.approx(0.98**answers)


def test_a_library_says_what_answers_of_its_model_are_worth(tmp_path: Path) -> None:
    declared = HOSTED.replace('"declared for a test"', '"declared for a test", together = 0.995')
    (tmp_path / "hosted.toml").write_text(declared)
    machines = world(LAPTOP, tmp_path / "hosted.toml")
    text = READ.format(mood="Text", clauses="minimize cost require accuracy >= 0.98")
    written = run_pipeline(flow(text), BEFORE, machines)
    for module in (Choose().run(written, machines), Fuse(prompts=True).run(written, machines)):
        (call,) = module.sole().calls()
        assert call.number("factor", 1.0) == pytest.approx(0.995**3)
    # of several models the one that suffers most counts, 0.98 where nothing is known
    several = run_pipeline(flow(text.replace(' with { executor: "hosted" }', "")), BEFORE, machines)
    (call,) = Fuse(prompts=True).run(several, machines).sole().calls()
    assert call.number("factor", 1.0) == pytest.approx(0.98**3)


def test_what_was_measured_whole_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "hosted.toml").write_text(HOSTED)
    machines = world(LAPTOP, tmp_path / "hosted.toml")
    written = run_pipeline(flow(READ.format(mood="Text", clauses="")), BEFORE, machines)
    choices = tuple((name, Choice.of("hosted", ())) for name in sorted(ALONE))
    profile = WorkflowProfiles((MeasuredConfiguration("read", choices, 0.7, 100),))
    remarks = Remarks()
    measured = replace(machines, measured=profile, remarked=remarks)
    assert Fuse(prompts=True, prefix=True).run(written, measured) == written
    assert [r.rewrite for r in remarks.all() if "measured" in r.text] == ["prompts", "prefix"]
    assert Choose().run(written, measured) is written
    refused = [r for r in remarks.all() if r.pass_name == "choose" and "measured" in r.text]
    assert refused and not any(r.applied for r in refused)
