"""Measured configurations: what plans make of them, against enumeration."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from murakkab.compiler.driver import Compiled, Request, compile_workflow, stage
from murakkab.compiler.program import program_digest, stated_program
from murakkab.ir.diagnostics import CompileError, InputError
from murakkab.passes.bind import Bind
from murakkab.passes.formulate import formulate, variants
from murakkab.passes.job.audit import check
from murakkab.passes.job.greedy import greedy
from murakkab.passes.job.problem import Infeasible, Limit, Placement, Problem
from murakkab.passes.job.relaxation import relax
from murakkab.passes.job.schedule import Reason, broken, evaluate, is_better
from murakkab.passes.job.solver import solve
from murakkab.passes.measured import choice_of
from murakkab.passes.pipeline import run_pipeline
from murakkab.targets.workflow_profiles import MeasuredConfiguration, WorkflowProfiles

from .test_job_solver import OBJECTIVES, every_placement, small
from .worlds import LAPTOP, executor_toml, flow, world

SOURCE = """
task draft(query: Text) -> Text "Draft." using draft
task polish(draft: Text) -> Text "Polish." using polish
workflow w(query: Text) -> Text
    minimize latency
    {clauses}
{{
    first = draft(query)
    return polish(first)
}}
"""
HEADER = "workflow,first.executor,first.k,polish.executor,accuracy,n,source\n"
ROWS = (
    "w,draft-good,3,polish-good,0.5,40,a test\n"
    "w,draft-good,1,polish-good,0.4,40,a test\n"
    "w,draft-good,1,polish-quick,0.9,40,a test\n"
    "w,draft-quick,,polish-quick,0.2,40,a test\n"
)


def library(folder: Path) -> Path:
    """Two ways to draft, one with a knob, and two to polish."""
    entries = [
        executor_toml("draft-good", "draft", 1.0, "knobs = { k = [1, 3] }\n"),
        executor_toml("draft-quick", "draft", 0.9),
        executor_toml("polish-good", "polish", 1.0),
        executor_toml("polish-quick", "polish", 0.9),
    ]
    path = folder / "library.toml"
    path.write_text("".join(entries))
    return path


def compiled(folder: Path, rows: str | None, clauses: str = "", level: int = 2) -> Compiled:
    profiles = []
    if rows is not None:
        profiles.append(folder / "measured.csv")
        profiles[0].write_text(rows)
    speeds = folder / "speeds.csv"
    times = {"draft-good": 1.0, "draft-quick": 0.1, "polish-good": 1.0, "polish-quick": 0.1}
    lines = [f"{name},,cpu,0,{1 / s},{s},a test\n" for name, s in times.items()]
    head = "model,precision,device,tp,load_items_per_s,latency_p50_s,source\n"
    speeds.write_text(head + "".join(lines))
    request = Request(
        source=SOURCE.format(clauses=clauses),
        cluster=LAPTOP,
        libraries=(library(folder),),
        profiles=(*profiles, speeds),
        level=level,
    )
    return compile_workflow(request)


def chosen(found: Compiled) -> list[tuple[str | None, object]]:
    return [(step.executor, step.knobs.get("k")) for step in found.plan.steps]


def test_accuracy_is_what_was_measured_of_the_whole_configuration(tmp_path: Path) -> None:
    """Declared qualities say that both good executors are the best; together they are not."""
    found = compiled(tmp_path, HEADER + ROWS, "maximize accuracy")
    assert found.plan.predicted.accuracy == 0.9
    found = compiled(tmp_path, HEADER + ROWS, "require accuracy >= 0.8")
    assert chosen(found) == [("draft-good", 1), ("polish-quick", None)]
    assert any("measured on 40 items: a test" in note for note in found.plan.notes)


def test_the_default_floor_is_that_of_the_measured_reference(tmp_path: Path) -> None:
    """The reference is `draft-good` and `polish-good`, at 0.4; the quickest row is at 0.2."""
    found = compiled(tmp_path, HEADER + ROWS)
    assert chosen(found) == [("draft-good", 1), ("polish-quick", None)]
    assert found.plan.baseline is not None
    assert found.plan.baseline.accuracy == 0.4
    assert chosen(compiled(tmp_path, None)) != chosen(found)


def test_only_what_was_measured_is_chosen(tmp_path: Path) -> None:
    rows = HEADER + ROWS.splitlines(keepends=True)[0]
    found = compiled(tmp_path, rows)
    assert chosen(found) == [("draft-good", 3), ("polish-good", None)]
    told = {a.variant: a.why_not for s in found.plan.steps for a in s.alternatives}
    assert "polish-quick" not in told  # it is in no measured configuration


def test_an_unmeasured_reference_is_in_proportion(tmp_path: Path) -> None:
    """`draft-quick` and `polish-quick` scored 0.2 where their qualities say 0.81."""
    rows = HEADER + ROWS.splitlines(keepends=True)[3]
    found = compiled(tmp_path, rows, "require accuracy >= 0.1")
    assert found.plan.predicted.accuracy == 0.2
    assert found.plan.baseline is not None
    assert found.plan.baseline.accuracy == pytest.approx(0.2 / 0.81)
    reference = compiled(tmp_path, rows, level=0)
    assert any("was not measured" in note for note in reference.plan.notes)


def test_an_unmeasured_reference_is_never_the_plan(tmp_path: Path) -> None:
    rows = HEADER + ROWS.splitlines(keepends=True)[3]
    found = compiled(tmp_path, rows, "maximize accuracy require accuracy >= 0.1")
    assert chosen(found) == [("draft-quick", None), ("polish-quick", None)]


def test_requirements_are_on_measured_accuracy(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"feasible at 0\.9"):
        compiled(tmp_path, HEADER + ROWS, "require accuracy >= 0.95")
    best = compiled(tmp_path, HEADER + ROWS, "require accuracy >= best")
    assert best.plan.predicted.accuracy == 0.9
    basic = compiled(tmp_path, HEADER + ROWS, "require accuracy >= basic")
    assert basic.plan.predicted.accuracy >= 0.4


def test_an_accuracy_of_zero_can_be_planned(tmp_path: Path) -> None:
    rows = HEADER + "w,draft-good,3,polish-good,0,40,a test\n"
    assert compiled(tmp_path, rows).plan.predicted.accuracy == 0.0


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (HEADER + "w,draft-good,7,polish-good,0.5,4,s\n", ":2:14", "setting `k = 7`"),
        (HEADER + "w,draft-goood,1,polish-good,0.5,4,s\n", ":2:3", "no executor named"),
        (HEADER.replace("first", "frist") + ROWS, ":2:3", "no step `frist`"),
        (HEADER.replace("first.k", "first.kk") + ROWS, ":2:14", "no knob `kk`"),
    ],
)
def test_rows_of_another_program_are_refused(
    tmp_path: Path, text: str, place: str, message: str
) -> None:
    with pytest.raises(InputError) as refused:
        compiled(tmp_path, text)
    (found, *_) = refused.value.diagnostics
    assert found.id == "bad-profile" and message in found.message
    assert str(found.span).endswith(place)


def test_a_profile_that_leaves_a_choice_open_is_refused(tmp_path: Path) -> None:
    text = "workflow,first.executor,accuracy,n,source\nw,draft-quick,0.5,4,s\n"
    with pytest.raises(CompileError, match=r"does not say how step `polish`") as refused:
        compiled(tmp_path, text)
    assert refused.value.diagnostics[0].id == "incomplete-profile"


def test_a_profile_of_other_executors_than_run_here_is_refused(tmp_path: Path) -> None:
    text = HEADER + "w,left out,,polish-good,0.5,4,s\n"
    with pytest.raises(CompileError, match="none of the measured configurations"):
        compiled(tmp_path, text)


def test_what_is_left_out_before_rewriting_has_no_column(tmp_path: Path) -> None:
    """Two equal calls are one step once they are merged; `-O0` has both, and the accuracy."""
    source = SOURCE.replace("return polish(first)", "again = draft(query) return polish(again)")
    (tmp_path / "measured.csv").write_text(HEADER + ROWS)
    request = Request(
        source=source.format(clauses="require accuracy >= 0.45"),
        cluster=LAPTOP,
        libraries=(library(tmp_path),),
        profiles=(tmp_path / "measured.csv",),
    )
    plan = compile_workflow(request).plan
    assert [step.step for step in plan.steps] == ["first", "polish"]
    assert plan.predicted.accuracy in (0.5, 0.9)
    assert plan.baseline is not None and plan.baseline.accuracy == 0.4


def test_tiers_are_of_what_was_measured_for_the_reference_too(tmp_path: Path) -> None:
    found = compiled(tmp_path, HEADER + ROWS, "require accuracy >= good")
    assert found.plan.baseline is not None
    assert found.plan.baseline.breaks == ("accuracy >= good",)
    found = compiled(tmp_path, HEADER + ROWS, "require accuracy >= basic")
    assert found.plan.baseline is not None and found.plan.baseline.breaks == ()
    quick = compiled(tmp_path, HEADER + ROWS, "require latency <= best require accuracy >= 0.1")
    assert chosen(quick) == [("draft-quick", None), ("polish-quick", None)]


def test_a_profile_of_another_version_is_told(tmp_path: Path) -> None:
    digest = program_digest(stage(Request(source=SOURCE.format(clauses="")), "flow"))
    mine = (HEADER + ROWS).replace("a test", f"on d.jsonl {stated_program(digest)}")
    assert compiled(tmp_path, mine, "require accuracy >= 0.1").warnings == ()
    other = mine.replace(digest[:8], "0" * 8)
    (told,) = compiled(tmp_path, other).warnings
    assert told.id == "outdated-profile" and told.span is not None and told.span.line == 2


def test_profiles_of_other_workflows_change_nothing(tmp_path: Path) -> None:
    text = (HEADER + ROWS).replace("w,draft", "v,draft")
    assert chosen(compiled(tmp_path, text)) == chosen(compiled(tmp_path, None))


# ---- pruning


VIDEO = """
workflow v(query: Text, video: Video) -> Text
    minimize {metric}
    require accuracy >= 0.4
    expect video.duration = 40 s
    expect len(scenes) = 4
{{
    scenes = split_scenes(video)
    notes = for scene in scenes {{
        frames = sample_frames(scene) with {{ frames <= 5 }}
        speech = optional transcribe(scene)
        seen = read_text(frames)
        yield seen + (speech ?? "")
    }}
    return answer(query, notes)
}}
"""


@pytest.mark.parametrize("metric", ["latency", "energy", "cost"])
def test_no_optimal_plan_is_pruned(metric: str) -> None:
    """What frames cost depends on how many there are, and their accuracy on all other choices."""
    context = world(LAPTOP)
    module = run_pipeline(flow(VIDEO.format(metric=metric)), (Bind(),), context)
    steps, found = variants(module, context)
    labels = [
        list({w.configuration.label: w.configuration for w in ways}.values()) for ways in found
    ]
    rng = random.Random(7)
    rows = []
    for setting in rng.sample(list(itertools.product(*labels)), 12):
        choices = tuple(
            (step.op.out().name, choice_of(c)) for step, c in zip(steps, setting, strict=True)
        )
        rows.append(MeasuredConfiguration("v", choices, round(rng.uniform(0.2, 0.9), 2), 10))
    context = replace(context, measured=WorkflowProfiles(tuple(rows)))
    values = []
    for prune in (True, False):
        formulation = formulate(module, context, prune=prune)
        placed = solve(formulation.problem, budget=20.0)
        assert check(formulation.problem, placed) == []
        values.append([placed.metrics.of(name) for name in formulation.problem.objectives[:1]])
        chosen = [ways[m] for ways, m in zip(formulation.ways, placed.modes, strict=True)]
        named = tuple(
            (step.op.out().name, choice_of(way.configuration))
            for step, way in zip(formulation.steps, chosen, strict=True)
        )
        (row,) = [row for row in rows if row.choices == named]
        assert row.accuracy == placed.metrics.accuracy >= 0.4
    assert values[0] == pytest.approx(values[1], rel=1e-3)


# ---- the solvers


def measured(seed: int, problem: Problem) -> Problem:
    """Return a problem with two configurations a step, of which some combinations were measured."""
    rng = random.Random(seed)
    steps = tuple(
        replace(step, modes=tuple(replace(m, choice=n) for n, m in enumerate(step.modes)))
        for step in problem.steps
    )
    every = list(itertools.product(*(range(len(step.modes)) for step in steps)))
    rows = {row: rng.choice((0.3, 0.6, 0.9)) for row in rng.sample(every, 5)}
    limits = (Limit("accuracy", ">=", 0.5, "accuracy >= 0.5"),)
    return replace(problem, steps=steps, accuracies=rows, limits=limits)


def measured_placements(problem: Problem) -> Iterator[Placement]:
    """Yield all sound placements of configurations that were measured, with what was measured."""
    for found in every_placement(replace(problem, accuracies=None, limits=())):
        chosen = [s.modes[m].choice for s, m in zip(problem.steps, found.modes, strict=True)]
        accuracy = (problem.accuracies or {}).get(tuple(chosen))
        if accuracy is not None:
            yield replace(found, metrics=replace(found.metrics, accuracy=accuracy))


@pytest.mark.parametrize("seed", range(6))
def test_the_answer_is_the_best_of_all_measured_placements(seed: int) -> None:
    first = measured(seed, small(seed, OBJECTIVES[0]))
    sound = list(measured_placements(first))
    for objectives in OBJECTIVES:
        problem = replace(first, objectives=objectives)
        able = [p for p in sound if not broken(problem, p.metrics)]
        if not able:
            with pytest.raises(Infeasible):
                solve(problem, budget=2.0)
            continue
        found = solve(problem, budget=2.0)
        assert check(problem, found) == []
        assert not any(is_better(problem, p.metrics, found.metrics) for p in able)
        bound = relax(problem, objectives[0], whole=True)
        assert bound is not None
        value, sign = found.metrics.of(objectives[0]), -1 if objectives[0] == "accuracy" else 1
        assert sign * bound.bound <= sign * value + 1e-6


@pytest.mark.parametrize("seed", range(6))
def test_greedy_keeps_to_what_was_measured(seed: int) -> None:
    problem = replace(measured(seed, small(seed, OBJECTIVES[0])), limits=())
    able = [
        modes
        for modes in itertools.product(*(range(len(s.modes)) for s in problem.steps))
        if not isinstance(evaluate(problem, modes), Reason)
    ]
    found = greedy(problem)
    assert (found is not None) == bool(able)
    if found is not None:
        assert check(problem, found) == []
