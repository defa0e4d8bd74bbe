"""Rewrites that are taken where placement says that they pay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from murakkab.ir.diagnostics import CompileError
from murakkab.ir.remarks import Remarks
from murakkab.ir.workflow import Module
from murakkab.passes import choose
from murakkab.passes.base import Context, Proposal
from murakkab.passes.bind import Bind
from murakkab.passes.choose import Choose
from murakkab.passes.optionals import without_optionals
from murakkab.passes.pipeline import parse_pipeline, run_pipeline

from .worlds import A100, flow, world

SEEN = """
workflow seen(query: Text, video: Video) -> Text
    minimize cost
    expect video.duration = 60 s
    expect len(scenes) = 8
    {clauses}
{{
    scenes = split_scenes(video)
    notes = for scene in scenes {{
        speech  = transcribe(scene)
        frames  = sample_frames(scene)
        objects = optional detect_objects(frames)
        yield join([speech, join(objects ?? [], ", ")], "\\n")
    }}
    return answer(query, notes)
}}
"""
BEFORE = "bind,canonicalize,hoist,pushdown,fuse,canonicalize"


def logical(text: str, context: Context) -> Module:
    return run_pipeline(flow(text), parse_pipeline(BEFORE), context)


def names(module: Module) -> list[str]:
    return [op.out().name for op in module.sole().calls()]


def figures(module: Module, context: Context) -> dict[str, Any]:
    placed = run_pipeline(module, parse_pipeline("substitute,place"), context)
    return {k.removeprefix("predicted."): v for k, v in placed.attrs}


@pytest.fixture(scope="module")
def context() -> Context:
    return world(A100)


def test_what_only_feeds_optional_work_goes_with_it(context: Context) -> None:
    written = logical(SEEN.format(clauses=""), context)
    chosen = Choose().run(written, context)
    assert set(names(written)) - set(names(chosen)) == {"frames", "objects"}
    before, after = figures(written, context), figures(chosen, context)
    assert after["cost_usd"] < before["cost_usd"]
    assert after["accuracy"] >= 0.95  # the floor of the workflow as it is written
    note = dict(chosen.attrs)["note.choose.1"]
    assert note == "`objects` is left out, with 1 call that only served it"


def test_quality_that_is_lost_counts_against_what_is_required(context: Context) -> None:
    """Without it the workflow has 0.97 of its accuracy at most."""
    for need in ("require accuracy >= 0.98", "maximize accuracy"):
        text = SEEN.replace("minimize cost", need if "maximize" in need else "minimize cost")
        clauses = need if "require" in need else ""
        written = logical(text.format(clauses=clauses), context)
        chosen = Choose().run(written, context)
        assert names(chosen) == names(written)
        assert chosen == written  # nor is anything else changed


def test_optional_work_that_nothing_else_serves_is_left_to_place(context: Context) -> None:
    text = SEEN.format(clauses="").replace("[speech, ", "[speech, read_text(frames), ")
    written = logical(text, context)
    assert list(without_optionals(written, context)) == []
    assert Choose().run(written, context) is written


def test_what_is_only_tried_out_is_not_told(context: Context) -> None:
    remarks = Remarks()
    Choose().run(logical(SEEN.format(clauses=""), context), replace(context, remarked=remarks))
    assert {remark.pass_name for remark in remarks.all()} == {"choose"}


def test_each_loss_counts_once_more(context: Context) -> None:
    written = logical(SEEN.format(clauses="expect accuracy = 0.8"), context)
    (proposal,) = without_optionals(written, context)
    assert dict(proposal.module.sole().attrs)["factor"] == pytest.approx(0.97)
    # a call of less weight costs less
    light = _with_weight(written, "objects", 0.5)
    (proposal,) = without_optionals(light, context)
    assert dict(proposal.module.sole().attrs)["factor"] == pytest.approx(0.97**0.5)


def _with_weight(module: Module, name: str, weight: float) -> Module:
    from murakkab.ir.ops import Op, Region

    def region(r: Region) -> Region:
        return replace(r, ops=tuple(op(o) for o in r.ops))

    def op(o: Op) -> Op:
        if o.kind == "call" and o.out().name == name:
            return o.with_attrs({"weight": weight})
        return replace(o, regions=tuple(map(region, o.regions)))

    workflow = module.sole()
    return module.with_workflow(replace(workflow, body=region(workflow.body)))


def test_no_more_proposals_are_placed_than_allowed(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Module] = []

    def proposer(module: Module, context: Context) -> list[Proposal]:
        made.append(module)
        return [Proposal(f"`{i}`", (), module) for i in range(10)]

    monkeypatch.setattr("murakkab.passes.choose.PROPOSERS", (proposer,))
    written = logical(SEEN.format(clauses=""), context)
    assert Choose(most=3).run(written, context) is written  # none of them gains anything
    assert len(made) == 1


def test_a_requirement_that_only_a_proposal_meets_is_met(context: Context) -> None:
    """Frames alone take 300 ms; nothing that makes them meets the limit."""
    fastest = logical(SEEN.format(clauses="").replace("cost", "latency"), context)
    fast = float(figures(Choose().run(fastest, context), context)["latency_s.p50"])
    text = SEEN.format(clauses=f"require latency <= {fast * 1.001:.6f} s require accuracy >= 0.9")
    written = logical(text, context)
    with pytest.raises(CompileError):
        figures(written, context)
    assert figures(Choose().run(written, context), context)["latency_s.p50"] <= fast * 1.001


def test_tiers_keep_what_they_stand_for(context: Context) -> None:
    """Leaving the detector out does not lower what is `best`."""
    written = logical(SEEN.format(clauses="require accuracy >= best"), context)
    assert names(Choose().run(written, context)) == names(written)


def test_of_a_large_workflow_fewer_proposals_are_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "_CALLS", 1)
    remarks = Remarks()
    context = replace(world(A100), remarked=remarks)
    module = Bind().run(
        flow("workflow w(t: Text) -> Text { return summarize(summarize(t)) }"), context
    )
    assert Choose().run(module, context) == module
    (said,) = remarks.all()
    assert said.text == "placing 2 calls once more takes too long" and not said.applied
