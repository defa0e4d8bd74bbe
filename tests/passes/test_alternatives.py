"""What each decision was worth: the next best first, at its price in the whole plan."""

import pytest

from murakkab.passes.alternatives import MOST, NEXT, alternatives
from murakkab.passes.formulate import formulate
from murakkab.passes.job.problem import Placement
from murakkab.passes.job.schedule import broken, evaluate
from murakkab.passes.job.solver import solve
from murakkab.passes.pipeline import LEVELS, parse_pipeline, run_pipeline
from murakkab.passes.place import Place

from .worlds import A100, flow, world

PROGRAM = """
workflow ask(query: Text, notes: [Text]) -> Text
    minimize {goal}
    require accuracy >= 0.8
    expect len(notes) = 8
    expect tokens(summarize) = 60
{{
    gists = for note in notes {{
        yield summarize(note)
    }}
    return answer(query, gists)
}}
"""


@pytest.mark.parametrize("goal", ["cost", "latency"])
def test_the_next_best_is_the_best_of_all_single_changes(goal: str) -> None:
    context = world(A100)
    passes = [p for p in parse_pipeline(LEVELS[2]) if not isinstance(p, Place)]
    formulation = formulate(run_pipeline(flow(PROGRAM.format(goal=goal)), passes, context), context)
    problem = formulation.problem
    chosen = solve(problem, budget=2.0).modes
    told = alternatives(formulation, chosen)
    for index, (step, listed) in enumerate(zip(formulation.steps, formulation.ways, strict=True)):
        mine = listed[chosen[index]]
        prices = []
        for other, way in enumerate(listed):
            if (way.configuration.label, way.slot) == (mine.configuration.label, mine.slot):
                continue
            modes = [*chosen[:index], other, *chosen[index + 1 :]]
            laid = evaluate(problem, modes)
            if isinstance(laid, Placement) and not broken(problem, laid.metrics):
                prices.append(laid.metrics.of(problem.objectives[0]))
        found = told[step.op.out().name]
        possible = [a for a in found if a.why_not is None]
        assert len(found) <= MOST and found[: len(possible)] == tuple(possible)
        assert len(possible) >= NEXT or len(possible) < len(found) or len(found) < MOST
        values = [a.cost_usd if goal == "cost" else a.latency_s for a in possible]
        assert values == sorted(values, key=float)  # type: ignore[arg-type]
        assert values[:1] == [pytest.approx(min(prices))] if prices else values == []
        out = [(a.variant, a.why_not) for a in found if a.why_not is not None]
        assert len(set(out)) == len(out)
