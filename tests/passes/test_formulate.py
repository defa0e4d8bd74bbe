"""What the placement problem is made of: tiers of latency, and which steps cannot run at all."""

import pytest

from murakkab.compiler.driver import Request, environment
from murakkab.ir.diagnostics import CompileError
from murakkab.passes.bind import Bind
from murakkab.passes.formulate import formulate

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
