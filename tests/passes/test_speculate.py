"""Branches that run ahead: results and effects stay, and `choose` takes them where they pay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings

from murakkab.ir.diagnostics import CompileError
from murakkab.ir.ops import Region
from murakkab.ir.remarks import Remark
from murakkab.ir.verifier import verify
from murakkab.ir.workflow import Module
from murakkab.passes.base import Context
from murakkab.passes.choose import Choose
from murakkab.passes.pipeline import parse_pipeline, run_pipeline
from murakkab.passes.rewrite import TraitsOf
from murakkab.passes.speculate import Speculate, run_ahead

from ..ir.modules import modules
from .interpreter import interpret
from .properties import arguments, context
from .worlds import A100, flow, world

ROUTED = """
task hard(q: Text) -> Bool "Tell whether it is hard." prompt "Is it hard? {{q}}"
task short(q: Text) -> Text "Answer shortly." prompt "Answer shortly: {{q}}"
task long(q: Text) -> Text "Answer at length." prompt "Answer at length: {{q}}"

workflow routed(q: Text) -> Text
    {clauses}
    expect tokens(long) = 400
    expect tokens(short) = 50
{{
    text = {text}
    said = if hard(q) {{ yield long(text) }} else {{ yield short(text) }}
    return said
}}
"""
NOTE = "both branches of `said` run ahead of its condition"


@pytest.fixture(scope="module")
def machines() -> Context:
    return world(A100)


def routed(machines: Context, clauses: str, likely: float | None = None, text: str = "q") -> Module:
    """Return the logical module, whose branches read `text`; `likely` to hold where known."""
    written = ROUTED.format(clauses=clauses, text=text)
    steps = parse_pipeline("bind,canonicalize,hoist,pushdown,fuse,canonicalize")
    module = run_pipeline(flow(written), steps, machines)
    workflow = module.sole()
    ops = tuple(
        op.with_attrs({"likely": likely}) if op.kind == "if" else op for op in workflow.body.ops
    )
    return module.with_workflow(replace(workflow, body=Region((), ops)))


def notes(module: Module) -> list[str]:
    return [str(value) for key, value in module.attrs if key.startswith("note.choose.")]


def figures(module: Module, machines: Context) -> dict[str, Any]:
    placed = run_pipeline(module, parse_pipeline("substitute,place"), machines)
    return {k.removeprefix("predicted."): v for k, v in placed.attrs}


def ahead(module: Module, machines: Context) -> Module:
    return Speculate().run(module, machines)


# ---- what it means


@settings(deadline=None, max_examples=300, derandomize=True)
@given(modules(("flow",)), arguments)
def test_results_and_effects_stay_and_no_effect_runs_ahead(
    module: Module, given: dict[str, object]
) -> None:
    after = Speculate().run(module, context())
    verify(after)
    assert Speculate().run(after, context()) == after
    try:
        expected = interpret(module, given)
    except ArithmeticError:
        assume(False)
    found = interpret(after, given)
    assert repr(found.result) == repr(expected.result)
    assert found.effects == expected.effects
    traits = TraitsOf(after)
    assert not any(traits(op).effects for op in after.sole().walk() if op.flag("speculative"))


# ---- what it is predicted to cost


def test_branches_that_run_ahead_save_time_and_both_are_paid_for(machines: Context) -> None:
    before = routed(machines, "minimize latency", likely=0.5)
    waits, runs = figures(before, machines), figures(ahead(before, machines), machines)
    assert runs["latency_s.p50"] < waits["latency_s.p50"]
    assert runs["energy_j"] > waits["energy_j"]
    certain = figures(routed(machines, "minimize latency"), machines)
    assert runs["latency_s.p50"] < certain["latency_s.p50"]


def test_each_branch_is_called_whatever_is_likely(machines: Context) -> None:
    before = routed(machines, "minimize latency", likely=0.25)
    assert calls(before, machines) == {"hard": 1.0, "long": 0.25, "short": 0.75}
    assert calls(ahead(before, machines), machines) == {"hard": 1.0, "long": 1.0, "short": 1.0}


def calls(module: Module, machines: Context) -> dict[str, float]:
    """Return how often each task is predicted to be called."""
    placed = run_pipeline(module, parse_pipeline("substitute,place"), machines)
    return {
        str(op.symbol): op.number("predicted.calls", 0.0)
        for op in placed.sole().walk()
        if op.kind == "invoke"
    }


# ---- where it is taken


def test_it_is_taken_where_latency_is_minimised(machines: Context) -> None:
    chosen = Choose().run(routed(machines, "minimize latency", likely=0.5), machines)
    assert NOTE in notes(chosen)
    assert any(op.flag("speculative") for op in chosen.sole().walk())


@pytest.mark.parametrize("goal", ["energy", "cost"])
def test_it_is_not_taken_where_nothing_asks_for_latency(machines: Context, goal: str) -> None:
    chosen = Choose().run(routed(machines, f"minimize {goal}", likely=0.5), machines)
    assert NOTE not in notes(chosen)


def test_a_limit_of_energy_forbids_it(machines: Context) -> None:
    """What is taken under a limit between the two is what meets it."""
    before = routed(machines, "minimize latency", likely=0.5)
    waits, runs = figures(before, machines), figures(ahead(before, machines), machines)
    for limit, taken in ((runs["energy_j"] * 1.01, True), (waits["energy_j"] * 1.01, False)):
        clauses = f"minimize latency require energy <= {limit:.6f} J"
        chosen = Choose().run(routed(machines, clauses, likely=0.5), machines)
        assert (NOTE in notes(chosen)) == taken
        assert figures(chosen, machines)["energy_j"] <= limit


def test_it_is_taken_where_a_limit_of_latency_is_met_no_other_way(machines: Context) -> None:
    runs = figures(ahead(routed(machines, "minimize latency"), machines), machines)
    clauses = f"minimize energy require latency <= {runs['latency_s.p50'] * 1.01:.6f} s"
    before = routed(machines, clauses)
    with pytest.raises(CompileError):
        figures(before, machines)
    assert NOTE in notes(Choose().run(before, machines))


def test_it_is_no_more_than_a_last_resort_where_its_cost_is_unknown(machines: Context) -> None:
    """Both branches are predicted to be paid for either way: only the limit asks for it."""
    remarks: list[Remark] = []
    told = replace(machines, remarked=remarks.append)
    before = routed(machines, "minimize energy require latency <= 1000 s")
    (proposal,) = run_ahead(before, told)
    assert proposal.last_resort
    assert Choose().run(before, told) is before
    said = f"{NOTE}: it costs more, and the requirements are met without it"
    assert said in [remark.text for remark in remarks]


def test_it_is_not_taken_where_it_saves_nothing(machines: Context) -> None:
    """The branches wait for what takes longer than the condition."""
    before = routed(machines, "minimize latency", likely=0.5, text="long(q)")
    waits, runs = figures(before, machines), figures(ahead(before, machines), machines)
    assert len(list(run_ahead(before, machines))) == 1
    assert runs["latency_s.p50"] == pytest.approx(waits["latency_s.p50"])
    assert NOTE not in notes(Choose().run(before, machines))
