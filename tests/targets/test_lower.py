"""Lowering: the plan's tables are the placed module's figures, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from murakkab.compiler.driver import Compiled, Request, compile_workflow
from murakkab.ir.ops import Attr, attributes
from murakkab.ir.printer import print_module
from murakkab.ir.reader import read_module
from murakkab.ir.workflow import PERCENTILES, Module
from murakkab.targets.cluster import Cluster
from murakkab.targets.lower import lower, prediction, tables
from murakkab.targets.plan import Alternative, Place, Plan
from murakkab.targets.registry import TARGETS

ROOT = Path(__file__).parents[2]
PROGRAM = """import "std/media"
import "std/text"
workflow look(images: [Image]) -> Text
    minimize energy
    expect len(images) = 4
{
    seen = for image in images {
        yield read_text([image])
    }
    said = optional read_text(images)
    return summarize(join([join(seen, " "), said ?? ""], " "))
}
"""


@cache
def compiled(cluster: str = "two-a100-nodes") -> Compiled:
    described = ROOT / f"examples/clusters/{cluster}.toml"
    return compile_workflow(Request(PROGRAM, cluster=described, level=1))


def lowered(placed: Module, others: dict[str, tuple[Alternative, ...]] | None = None) -> Plan:
    return lower(
        placed,
        TARGETS["sim"],
        Cluster("somewhere", ()),
        flow=compiled().flow,
        pipeline="bind,place",
        baseline=None,
        alternatives=others or {},
        digests={"source": "0" * 64},
        notes=("a note",),
    )


def edited(changes: dict[str, Attr]) -> Module:
    """Return the placed module with attributes of its own changed; None removes one."""
    placed = compiled().placed
    return replace(placed, attrs=attributes({**dict(placed.attrs), **changes}))


def test_what_is_given_stands_in_the_plan_as_it_is() -> None:
    plan = lowered(compiled().placed)
    assert (plan.schema, plan.kind, plan.workflow) == ("murakkab/plan/1", "job", "look")
    assert (plan.target, plan.cluster, plan.passes) == ("sim", "somewhere", "bind,place")
    assert (plan.notes, plan.digests, plan.baseline) == (("a note",), {"source": "0" * 64}, None)
    assert plan.module() == compiled().placed
    assert plan.written() == compiled().flow


def test_every_step_is_a_row_in_program_order() -> None:
    placed = compiled().placed
    rows = lowered(placed).steps
    ops = list(placed.sole().calls())
    assert [row.step for row in rows] == [op.out().name for op in ops]
    for row, op in zip(rows, ops, strict=True):
        assert (row.task, row.executor, row.engine) == (
            op.symbol,
            op.attr("executor"),
            op.attr("engine"),
        )
        assert row.calls == op.attr("predicted.calls")
        assert row.call_s == {q: op.attr(f"predicted.call_s.{q}") for q in PERCENTILES}
        assert row.knobs == {
            key.removeprefix("knob."): value
            for key, value in op.attrs
            if key.startswith("knob.")
        }  # fmt: skip


def test_work_left_out_has_no_executor_and_costs_nothing() -> None:
    text = print_module(compiled().placed)
    (line,) = (line for line in text.splitlines() if "%said = invoke" in line)
    start, end = line.index("{"), line.index("}") + 1
    without = line[:start] + "{optional, predicted.quality = 0.9, skip}" + line[end:]
    (row,) = (
        r for r in lowered(read_module(text.replace(line, without))).steps if r.step == "said"
    )
    assert (row.executor, row.engine, row.slot, row.items) == (None, None, "", None)
    assert (row.calls, row.energy_j, row.cost_usd, row.start_s, row.end_s) == (0, 0, 0, 0, 0)
    assert (row.quality, row.source) == (0.9, "declared")


@pytest.mark.parametrize("cluster", ["two-a100-nodes", "laptop-cpu"])
def test_every_engine_is_a_row_with_its_places(cluster: str) -> None:
    placed = compiled(cluster).placed
    rows = lowered(placed).engines
    assert [row.name for row in rows] == [engine.name for engine in placed.engines]
    for row in rows:
        assert len(row.places) == row.replicas
        taken = row.tp if row.device == "gpu" else 0
        assert all(len(set(place.gpus)) == taken for place in row.places)
        assert 0 <= row.start_s <= row.end_s


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0", Place("a100", 0, ())),
        ("1:0", Place("a100", 1, (0,))),
        ("12:4,5,6,7", Place("a100", 12, (4, 5, 6, 7))),
    ],
)
def test_places_are_read_from_their_short_form(text: str, place: Place) -> None:
    placed = compiled().placed
    engine = placed.engines[0]
    moved = replace(engine, attrs=attributes({**dict(engine.attrs), "places": (text,)}))
    assert tables(replace(placed, engines=(moved,))).engines[0].places == (place,)


def test_predictions_are_the_modules() -> None:
    found = prediction(edited({"predicted.gpus": 3, "predicted.breaks": ("cost <= $1",)}))
    attrs = dict(compiled().placed.attrs)
    assert (found.gpus, found.breaks) == (3, ("cost <= $1",))
    assert found.latency_s == {q: attrs[f"predicted.latency_s.{q}"] for q in PERCENTILES}
    assert (found.energy_j, found.accuracy) == (
        attrs["predicted.energy_j"],
        attrs["predicted.accuracy"],
    )


def test_proofs_keep_the_order_of_the_objectives() -> None:
    changes: dict[str, Attr] = {
        "solver.status": "feasible",
        "solver.objective_2": ("latency", 4.0, 3.0, 0.25),
        "solver.objective_1": ("energy", 2.0, 2.0, 0.0),
    }
    solver = tables(edited(changes)).solver
    assert solver.status == "feasible"
    assert [(p.metric, p.value, p.bound, p.gap) for p in solver.objectives] == [
        ("energy", 2.0, 2.0, 0.0),
        ("latency", 4.0, 3.0, 0.25),
    ]


def test_alternatives_go_to_their_step_with_nine_digits() -> None:
    other = Alternative("x", "a100/cpu", 1 / 3, 2e9 / 3, None, 0.1 + 0.2, "too slow")
    rows = {row.step: row for row in lowered(compiled().placed, {"said": (other,)}).steps}
    (kept,) = rows["said"].alternatives
    assert (kept.latency_s, kept.energy_j) == (0.333333333, 666666667.0)
    assert (kept.cost_usd, kept.accuracy, kept.why_not) == (None, 0.3, "too slow")
    assert all(not row.alternatives for step, row in rows.items() if step != "said")


@pytest.mark.parametrize(
    "changes",
    [
        {"solver.status": None},
        {"predicted.gpus": float("inf")},
        {"solver.objective_1": ("energy", 1.0)},
    ],
)
def test_a_module_that_no_placement_wrote_has_no_tables(changes: dict[str, Attr]) -> None:
    with pytest.raises((LookupError, ValueError, OverflowError)):
        tables(edited(changes))
