"""Classes of measured workflows: nothing is chosen that was not measured."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murakkab.compiler.driver import Request, compile_workflow
from murakkab.compiler.fleet import study_programs
from murakkab.ir.diagnostics import CompileError
from murakkab.passes.fleet.day import plan_day
from murakkab.passes.fleet.problem import fleet_problem
from murakkab.passes.fleet.readout import service_plan
from murakkab.passes.service import table as tables
from murakkab.passes.service.columns import Columns
from murakkab.passes.service.planner import Planner
from murakkab.passes.service.problem import (
    Column,
    Engine,
    Epoch,
    Hardware,
    RequestClass,
    ServiceProblem,
    Stage,
    Unserved,
    Variant,
)
from murakkab.passes.service.table import measured_class
from murakkab.targets.plan import Plan
from murakkab.targets.study import load_study

ENGINES = tuple(Engine(f"e{i}", 0, i + 1, 0, 1.0 + i, 0.0) for i in range(2))


def drawn(chance: Random, stages: int = 3) -> tuple[RequestClass, dict[tuple[str, ...], float]]:
    """Return a class of some configurations at several loads, and a table of some of them."""

    def variants() -> tuple[Variant, ...]:
        found = []
        for name, load in itertools.product("abc", range(2)):
            busy_s, latency_s = chance.uniform(1, 4), chance.uniform(1, 4)
            found.append(
                Variant(
                    f"{name}{load}", chance.randrange(2), busy_s, latency_s, 0.9, configuration=name
                )
            )
        return tuple(found)

    listed = tuple(Stage(f"s{i}", variants(), after=(i - 1,) if i else ()) for i in range(stages))
    names = list(itertools.product("abc", repeat=stages))
    rows = chance.sample(names, chance.randint(1, len(names)))
    table = {row: round(chance.uniform(0.5, 1.0), 3) for row in rows}
    floor = chance.choice([None, sorted(table.values())[len(table) // 2]])
    limit_s = chance.choice([None, chance.uniform(4, 10)])
    return RequestClass("w/c", listed, accuracy=floor, latency_s=limit_s), table


def allowed(kind: RequestClass, table: dict[tuple[str, ...], float]) -> list[Column]:
    """Return what may be chosen of a class, one by one."""
    found = []
    for choices in itertools.product(*(range(len(stage.variants)) for stage in kind.stages)):
        row = tuple(
            stage.variants[i].configuration for stage, i in zip(kind.stages, choices, strict=True)
        )
        column = Column.of(kind, choices)
        fast = kind.latency_s is None or column.latency_s <= kind.latency_s
        if row in table and table[row] >= (kind.accuracy or 0.0) and fast:
            found.append(column)
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_of_few_combinations_the_best_measured_is_found(seed: int) -> None:
    kind, table = drawn(Random(seed))
    columns = allowed(kind, table)
    measured = measured_class(kind, table, ENGINES)
    problem = ServiceProblem((measured,), ENGINES, (Hardware("p", "A100", 100_000, 0),))
    epoch = Epoch(((60_000.0,),), 60.0)
    if not columns:
        with pytest.raises(Unserved):
            Planner(problem).plan(epoch)
        return
    plan = Planner(problem).plan(epoch)
    for route in plan.routes(0):
        row = tuple(
            stage.variants[i].configuration
            for stage, i in zip(measured.stages, route.column.choices, strict=True)
        )
        assert route.column.accuracy == table[row] >= (kind.accuracy or 0.0)
    # one configuration for all, on whole instances
    alone = min(
        60.0 * sum(math.ceil(1000.0 * s - 1e-6) * ENGINES[e].usd_per_s for e, s in c.busy)
        for c in columns
    )
    fluid = min(60_000.0 * sum(s * ENGINES[e].usd_per_s for e, s in c.busy) for c in columns)
    assert fluid * (1 - 1e-6) <= plan.value <= alone * (1 + 1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_of_many_combinations_only_measured_ones_can_be_generated(seed: int) -> None:
    kind, table = drawn(Random(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "LISTED", 1)
        measured = measured_class(kind, table, ENGINES)
    rows = list(
        itertools.product(*({v.configuration for v in s.variants} for s in measured.stages))
    )
    assert rows and all(table[row] >= (kind.accuracy or 0.0) for row in rows)
    try:
        found = Columns(measured).cheapest(lambda variant: variant.busy_s).column
    except Unserved:
        assert kind.latency_s is not None
        return
    assert found is not None and found.accuracy >= (kind.accuracy or 0.0) > -1


def test_a_class_that_no_row_is_accurate_enough_for_is_told_the_best() -> None:
    kind, table = drawn(Random(1))
    best = max(table.values())
    asked = measured_class(
        RequestClass("w/c", kind.stages, accuracy=(1 + best) / 2), table, ENGINES
    )
    with pytest.raises(Unserved) as caught:
        Columns(asked)
    assert f"(the best is {best:.4g})" in caught.value.reason


PROGRAM = """import "std/text"
workflow w(query: Text, notes: [Text]) -> Text
    {clauses}
{{
    short = for note in notes {{ yield summarize(note) }}
    return answer(query, short)
}}
"""
CLUSTER = """name = "one"
[[pool]]
name = "a100"
nodes = 4
gpu = { type = "A100-SXM4-80GB", count = 8 }
cpu = { type = "EPYC-7V12", cores = 96 }
memory = "900 GB"
price = "$27.20 / h"
"""
STUDY = """name = "s"
cluster = "cluster.toml"
profiles = ["measured.csv"]
[[workflow]]
name = "w"
file = "w.mkb"
arrivals = "arrivals.csv"
column = "w"
[[workflow.class]]
name = "good"
share = 0.5
accuracy = "best"
[[workflow.class]]
name = "any"
share = 0.5
"""


MEASURED = """workflow,summarize.executor,summarize.sentences,answer.executor,accuracy,n,source
w,llama-3.1-70b-summarize,,llama-3.1-70b-answer,0.80,50,a test
w,llama-3.1-8b-summarize,,llama-3.1-8b-answer,0.86,50,a test
w,textrank,5,llama-3.1-70b-answer,0.84,50,a test
w,textrank,3,bm25-answer,0.30,50,a test
"""
ROWS = {
    ("llama-3.1-70b-summarize", "llama-3.1-70b-answer"): 0.80,
    ("llama-3.1-8b-summarize", "llama-3.1-8b-answer"): 0.86,
    ("textrank{sentences = 5}", "llama-3.1-70b-answer"): 0.84,
    ("textrank{sentences = 3}", "bm25-answer"): 0.30,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a program, a profile of four of its configurations, and a study of it."""
    (tmp_path / "w.mkb").write_text(PROGRAM.format(clauses="minimize cost"))
    (tmp_path / "cluster.toml").write_text(CLUSTER)
    (tmp_path / "study.toml").write_text(STUDY)
    rows = "".join(f"{60 * m},600\n" for m in range(60))
    (tmp_path / "arrivals.csv").write_text("start_s,w\n" + rows)
    (tmp_path / "measured.csv").write_text(MEASURED)
    return tmp_path


def test_classes_of_a_measured_program_have_rows_of_its_profile(folder: Path) -> None:
    study = load_study(folder / "study.toml")
    fleet = fleet_problem(study, study_programs(study, {}))
    good, anything = fleet.problem.classes
    assert good.accuracy == 0.86  # the best that was measured, not the best by its parts
    plan = service_plan(study, fleet, plan_day(study, fleet, "joint"))
    assert plan.unserved == ()
    assert plan.classes[1].accuracy is None
    for route in plan.epochs[0].routes:
        row = (route.steps[0].configuration, route.steps[1].configuration)
        assert route.accuracy == ROWS[row]
    assert {r.accuracy for r in plan.epochs[0].routes if r.kind == 0} == {0.86}
    assert anything.table == ROWS


def compiled(folder: Path, clauses: str) -> Plan:
    (folder / "w.mkb").write_text(PROGRAM.format(clauses=clauses))
    request = Request(
        source=folder / "w.mkb",
        cluster=folder / "cluster.toml",
        profiles=(folder / "measured.csv",),
    )
    return compile_workflow(request).plan


def test_a_measured_program_with_a_rate(folder: Path) -> None:
    plan = compiled(folder, "minimize cost expect rate = 2 / s require accuracy >= 0.82")
    assert plan.service is not None
    (route,) = plan.service.epochs[0].routes
    row = (route.steps[0].configuration, route.steps[1].configuration)
    assert plan.predicted.accuracy == route.accuracy == ROWS[row] >= 0.82
    assert any("measured on 50 items" in note for note in plan.notes)
    best = compiled(folder, "maximize accuracy expect rate = 2 / s")
    assert best.predicted.accuracy == 0.86
    with pytest.raises(CompileError) as caught:
        compiled(folder, "expect rate = 2 / s require accuracy >= 0.9")
    (found,) = caught.value.diagnostics
    assert found.message == "`accuracy >= 0.9` cannot be met"
    assert found.help is not None and "would be feasible at 0.8" in found.help
