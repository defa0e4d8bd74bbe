"""What a run may use up: it ends before it would cross a bound, and says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from murakkab.runtime.driver import run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.program import compile_program
from murakkab.runtime.record import load_record
from murakkab.runtime.simulated import simulate_plan
from murakkab.runtime.spending import Bounds, Spending
from murakkab.runtime.worker import Usage
from murakkab.targets.library import Library
from murakkab.targets.plan import Plan

from .conftest import MakeLibrary, MakePlan

# every call of a plan of `make_plan` is predicted to take 1 s and 2 J
TEXT = """module placed
task @first(%x: Int) -> Int
task @second(%x: Int) -> Int
engine @a
engine @b
workflow @w(%xs: [Int]) -> [Int]
{
  %ys = map(%xs) { ^(%x: Int)
    %y = invoke @first(%x) {engine = @a, executor = @first} : Int
    %z = invoke @second(%y) {engine = @b, executor = @second} : Int
    yield(%z)
  } : [Int]
  return(%ys)
}
"""
CODE = """
from pathlib import Path
from time import monotonic
def first(x):
    with Path(__file__).with_name("log").open("a") as file:
        file.write(f"first {x}\\\\n")
    return x + 1
def second(x):
    return first(x)
"""
INPUTS = {"xs": list(range(10))}


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan(TEXT)


def stopped(plan: Plan, bounds: Bounds, record: Path | None = None) -> tuple[RunError, Any]:
    events: list[Any] = []
    with pytest.raises(RunError) as caught:
        asyncio.run(
            simulate_plan(plan, INPUTS, bounds=bounds, on_event=events.append, record=record)
        )
    assert caught.value.state == "stopped"
    return caught.value, [event for event in events if event.kind == "completed"]


@pytest.mark.parametrize("joules", [0.0, 1.9, 2.0, 7.0, 39.9])
def test_no_call_begins_that_would_cross_the_budget(plan: Plan, joules: float) -> None:
    error, completed = stopped(plan, Bounds(joules=joules))
    assert len(completed) == joules // 2.0
    assert "would be crossed" in error.message
    assert error.calls == (len(completed), 2)  # the plan expects one item


def test_what_fits_the_budget_is_done_whole(plan: Plan) -> None:
    done = asyncio.run(simulate_plan(plan, INPUTS, bounds=Bounds(joules=40.0, seconds=60.0)))
    assert len(done.value) == 10


def test_calls_at_work_count(plan: Plan) -> None:
    error, completed = stopped(plan, Bounds(joules=3.0))  # two would begin at once
    assert len(completed) == 1
    assert "calls at work take about" in error.message


def test_no_call_begins_that_would_end_after_the_deadline(plan: Plan) -> None:
    error, completed = stopped(plan, Bounds(seconds=2.5))
    # two at once on each engine, a second each: two of `first`, then four together
    assert len(completed) == 6
    assert "the deadline of 2.5 s would be crossed: 0.5 s are left" in error.message


def test_the_record_says_that_the_run_was_stopped(plan: Plan, tmp_path: Path) -> None:
    stopped(plan, Bounds(joules=4.0), tmp_path / "run.json")
    document = load_record(tmp_path / "run.json").document
    assert (document["status"], document["failures"]) == ("stopped", [])


SLOW = """
import time
def first(x):
    time.sleep(30)
    return x
def second(x):
    return x
"""


def test_what_is_at_work_is_stopped_when_the_deadline_comes(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    plan = make_plan(TEXT, call_s={"y": 0.01, "z": 0.01})
    library = make_library(SLOW, first={"pooling": "process"}, second={})
    with pytest.raises(RunError, match="what was at work was stopped") as caught:
        asyncio.run(run_plan(plan, INPUTS, library=library, bounds=Bounds(seconds=1.5)))
    assert caught.value.state == "stopped"


def test_a_call_with_a_price_counts_what_it_was_charged(plan: Plan) -> None:
    spending = Spending(plan, Bounds(usd=1.0), 0.0, {})
    y = compile_program(plan.module()).steps[0]
    spending.begin(y)
    spending.end(y, Usage(requests=1, usd=0.7), completed=True)
    assert spending.refusal(y, 0.0) is None
    spending.before([y], [("y", Usage(requests=1, usd=0.4))])
    assert "the budget of $1 would be crossed: $1.1 is spent" in str(spending.refusal(y, 0.0))


def test_an_attempt_that_failed_counts_what_it_was_charged_alone(plan: Plan) -> None:
    spending = Spending(plan, Bounds(usd=1.0, joules=3.0), 0.0, {})
    y = compile_program(plan.module()).steps[0]
    for usage in (None, Usage(requests=1, usd=0.5)):
        spending.begin(y)
        spending.end(y, usage, completed=False)
    assert spending.refusal(y, 0.0) is None
    spending.before([y], [("y", None)])
    assert "0.0005556 Wh is spent" in str(spending.refusal(y, 0.0))


def test_an_engine_spends_at_its_endpoint_what_it_may_and_others_go_on(plan: Plan) -> None:
    spending = Spending(plan, Bounds(), 0.0, {"a": 1.0})
    y, z = compile_program(plan.module()).steps
    spending.before([y, z], [("y", Usage(requests=1, usd=5.0))])  # by another command
    for step in (y, z):
        spending.begin(step)
        spending.end(step, Usage(requests=1, usd=1.5), completed=True)
    assert spending.refusal(y, 0.0) == (
        "the `max_usd` of `a` of $1 would be crossed: $1.5 is spent, and a call of `y` takes about "
        "$0"
    )
    assert spending.refusal(z, 0.0) is None


BUSY = """module placed
workflow @w(%xs: [Int]) -> [Int]
{
  %ys = filter(%xs) { ^(%x: Int)
    %limit = const() {value = 1} : Int
    %more = gt(%x, %limit) : Bool
    yield(%more)
  } : [Int]
  return(%ys)
}
"""


def test_a_deadline_comes_while_nothing_is_called(make_plan: MakePlan) -> None:
    plan, inputs = make_plan(BUSY), {"xs": list(range(200_000))}
    running = run_plan(plan, inputs, library=Library((), ""), bounds=Bounds(seconds=0.02))
    with pytest.raises(RunError, match=r"the deadline of 0\.02 s has come") as caught:
        asyncio.run(running)
    assert caught.value.state == "stopped"


def test_a_deadline_counts_from_when_the_command_began(
    plan: Plan, make_library: MakeLibrary
) -> None:
    library = make_library(CODE, first={}, second={})
    long_ago = Bounds(seconds=60.0, began_s=monotonic() - 100.0)
    with pytest.raises(RunError, match="the deadline of 60 s") as caught:
        asyncio.run(run_plan(plan, INPUTS, library=library, bounds=long_ago))
    assert caught.value.state == "stopped"
