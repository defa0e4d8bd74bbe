"""What the placement problem is made of: tiers of latency, and which steps cannot run at all."""

import pytest

from murakkab.compiler.driver import Request, environment
from murakkab.ir.diagnostics import CompileError
from murakkab.passes.bind import Bind
from murakkab.passes.formulate import formulate
from murakkab.passes.substitute import Substitute

from .worlds import A100, LAPTOP, flow, world

ONE_WAY = 'workflow w(t: Text) -> Text {} {{ return summarize(t) with {{ executor: "textrank" }} }}'


@pytest.mark.parametrize("tier", ["best", "basic"])
def test_a_tier_of_a_tail_is_ranked_by_the_tail(tier: str) -> None:
    clauses = f"require p95 latency <= {tier} require latency <= {tier}"
    context = world(LAPTOP)
    problem = formulate(Bind().run(flow(ONE_WAY.format(clauses)), context), context).problem
    tail, middle = (x.value for x in problem.limits if x.metric == "latency")
    times = [mode.times for mode in problem.steps[0].modes]
    at_p50, at_p95 = (min(t[p].duration_s for t in times) for p in (0, 2))
    assert [middle, tail] == pytest.approx([at_p50, at_p95])
    assert at_p95 > at_p50


def test_what_only_comes_after_a_step_that_cannot_run_is_not_blamed() -> None:
    program = 'workflow w(t: Text) -> Text { return summarize(translate(t, "French")) }'
    context = environment(Request(source="", target="local"))[1]
    with pytest.raises(CompileError) as caught:
        formulate(Bind().run(flow(program), context), context)
    assert [d.message.split("`")[1] for d in caught.value.diagnostics] == ["translate"]


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (
            'workflow w(t: Text) -> Text { return summarize(t) with { gpu: "H900" } }',
            "the cluster's GPUs are `A100-SXM4-80GB`",
        ),
        (
            "workflow w(t: Text) -> Text expect t.tokens = 1000000 { return translate(t, t) }",
            "exceed its 131072 tokens",
        ),
    ],
)
def test_an_executor_that_cannot_carry_out_a_step_here_says_why(program: str, words: str) -> None:
    context = world(A100)
    with pytest.raises(CompileError) as caught:
        formulate(Bind().run(flow(program), context), context)
    assert words in (caught.value.diagnostics[0].help or "")


def test_executors_that_do_not_keep_up_are_said_not_to() -> None:
    program = "workflow w(t: Text) -> Text expect rate = 1000000 / s { return summarize(t) }"
    context = world(A100)
    with pytest.raises(CompileError) as caught:
        formulate(Bind().run(flow(program), context), context)
    assert "none keeps up with 1e+06 requests/s" in (caught.value.diagnostics[0].help or "")


def test_what_cannot_hold_the_prompt_is_no_reference() -> None:
    program = "workflow w(t: Text) -> Text expect t.tokens = 1000000 { return summarize(t) }"
    context = world(A100)
    ways = formulate(Bind().run(flow(program), context), context).ways[0]
    assert {way.configuration.label.partition("{")[0] for way in ways} == {"textrank"}
    assert max(way.quality for way in ways) == 1.0


def test_substitution_does_not_move_what_quality_is_relative_to() -> None:
    rate = 300  # more than the best keeps up with
    program = f"""
    task f(t: Text) -> Text using summarize
    workflow w(t: Text) -> Text require accuracy >= 0 expect rate = {rate} / s {{ return f(t) }}
    """
    context = world(A100)
    logical = Bind().run(flow(program), context)
    before, after = (
        {way.configuration.label: way.quality for way in formulate(module, context).ways[0]}
        for module in (logical, Substitute().run(logical, context))
    )
    assert before == after
    assert max(before.values()) < 1.0
