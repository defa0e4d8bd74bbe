"""Substitutes: what they do when an executor fails for good, or its engine stays away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from murakkab.ir.reader import read_module
from murakkab.runtime.attempts import Limits
from murakkab.runtime.driver import run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.messages import (
    Away,
    Completed,
    Fail,
    Failed,
    Finish,
    Interrupted,
    Partial,
    Retry,
    Submit,
)
from murakkab.runtime.program import compile_program
from murakkab.runtime.progress import RunEvent
from murakkab.runtime.record import load_record
from murakkab.runtime.spending import Bounds
from murakkab.runtime.state import RunState
from murakkab.targets.failure_policy import FailurePolicy

from .conftest import MakeLibrary, MakePlan

TEXT = """module placed
task @f(%x: Int) -> Int
engine @e
engine @other
workflow @w(%xs: [Int]) -> [Int]
{
  %ys = map(%xs) { ^(%x: Int)
    %y = invoke @f(%x) {engine = @e, executor = @f, substitute.engine = @other,
      substitute.executor = @g} : Int
    yield(%y)
  } : [Int]
  return(%ys)
}
"""
EFFECT = TEXT.replace("task @f(%x: Int) -> Int", "task @f(%x: Int) -> Int {effect}")
ODD = """
def f(x):
    if x % 2:
        raise ValueError("no odd ones")
    return x
def g(x):
    return 100 + x
"""
AWAY = """
from pathlib import Path
def f(x):
    tried = Path(__file__).with_name("tried")
    with tried.open("a") as file:
        file.write(".")
    if tried.stat().st_size <= AWAY_FOR:
        raise ConnectionRefusedError("nobody is there")
    return x
def g(x):
    return 100 + x
"""


def test_what_an_executor_cannot_do_its_substitute_does(
    make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path
) -> None:
    plan, library = make_plan(TEXT), make_library(ODD, f={}, g={})
    events: list[RunEvent] = []
    record = tmp_path / "run.json"
    running = run_plan(
        plan, {"xs": [1, 2, 3, 4]}, library=library, record=record, on_event=events.append
    )
    assert asyncio.run(running).value == [101, 2, 103, 4]
    (step,) = load_record(record).document["steps"]
    assert (step["calls"], step["attempts"], step["failed"]) == (4, 6, 2)
    assert step["substituted"] == 2
    assert step["substitute"] == {"executor": "g", "engine": "other", "quality": 0.8}
    assert step["energy_j"] == 2 * 2.0 + 2 * 5.0
    told = [f"{event.kind} on {event.engine}" for event in events if event.instance == "y[0]"]
    assert told == ["started on e", "retried on e", "started on other", "completed on other"]


def test_where_it_fails_as_well_both_reasons_are_told(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    code = ODD.replace("return 100 + x", "raise KeyError('nor me')")
    plan, library = make_plan(TEXT), make_library(code, f={}, g={})
    with pytest.raises(RunError) as caught:
        asyncio.run(run_plan(plan, {"xs": [1]}, library=library))
    (failure,) = caught.value.failures
    assert (failure.executor, failure.engine, failure.attempts) == ("g", "other", 2)
    assert "nor me" in failure.reason
    assert "it stood in, because `f` failed: raised ValueError: no odd ones" in failure.reason


def test_effects_have_no_substitute(make_plan: MakePlan, make_library: MakeLibrary) -> None:
    plan, library = make_plan(EFFECT), make_library(ODD, f={}, g={})
    with pytest.raises(RunError, match="no odd ones"):
        asyncio.run(run_plan(plan, {"xs": [1]}, library=library))


# breakers that lose their patience within a tenth of a second
IMPATIENT = FailurePolicy(pause_s=0.01, longest_pause_s=0.05)


def test_calls_for_an_engine_that_stays_away_go_elsewhere_at_once(
    make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path
) -> None:
    plan = make_plan(TEXT, concurrency=1, failure=IMPATIENT)
    library = make_library(AWAY.replace("AWAY_FOR", "10_000"), f={}, g={})
    inputs = {"xs": list(range(200))}
    assert asyncio.run(run_plan(plan, inputs, library=library)).value == list(range(100, 300))
    assert (tmp_path / "tried").stat().st_size < 60  # not three times each


def test_an_engine_that_comes_back_is_used_again(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    plan = make_plan(TEXT, concurrency=1, failure=IMPATIENT)
    code = AWAY.replace("AWAY_FOR", "12").replace(
        "def g(x):", "def g(x):\n    __import__('time').sleep(0.01)"
    )
    library = make_library(code, f={}, g={})
    inputs = {"xs": list(range(100))}
    values = asyncio.run(run_plan(plan, inputs, library=library)).value
    assert [value % 100 for value in values] == inputs["xs"]
    assert any(value >= 100 for value in values)
    assert values[-1] == 99


def test_a_budget_counts_what_the_substitute_takes(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    plan = make_plan(TEXT, concurrency=1)
    library = make_library(ODD.replace("if x % 2", "if True"), f={}, g={})
    bounds = Bounds(usd=0.6)  # a quarter of a dollar each
    with pytest.raises(RunError, match=r"the budget of \$0.6 would be crossed: \$0.5 is spent"):
        asyncio.run(run_plan(plan, {"xs": [1, 2, 3]}, library=library, bounds=bounds))


# ---- the state machine

LIST = """module placed
task @f(%x: Int) -> [Int]
task @h(%x: Int) -> Int
engine @e
engine @other
workflow @w(%x: Int) -> [Int]
{
  %ys = invoke @f(%x) {engine = @e, executor = @f, substitute.engine = @other,
    substitute.executor = @g, substitute.knob.k = 3} : [Int]
  %zs = map(%ys) { ^(%y: Int)
    %z = invoke @h(%y) {engine = @e, executor = @h} : Int
    yield(%z)
  } : [Int]
  return(%zs)
}
"""


def begun(text: str = LIST, **policy: Any) -> tuple[RunState, Submit]:
    limits = Limits(policy=FailurePolicy(**policy))
    state = RunState(compile_program(read_module(text, "test.mkir")), limits)
    (call,) = state.start([7])
    assert isinstance(call, Submit)
    return state, call


def test_a_substitute_goes_on_with_the_items_that_are_there() -> None:
    state, call = begun()
    (one,) = state.apply(Partial(call.id, [5]))
    (other,) = state.apply(Failed(call.id, "gone", retryable=False))
    assert isinstance(other, Submit)
    assert (other.id, other.given, other.attempt) == (call.id, (5,), 2)
    assert (other.step.engine, other.step.executor, other.step.knobs) == ("other", "g", {"k": 3})
    assert isinstance(one, Submit)
    state.apply(Completed(one.id, 50))
    two = next(c for c in state.apply(Completed(call.id, [5, 6])) if isinstance(c, Submit))
    assert two.args == (6,)
    assert state.apply(Completed(two.id, 60))[-1] == Finish([50, 60])


def test_it_may_try_as_often_as_anyone_and_then_no_more() -> None:
    state, call = begun(attempts=2)
    tried = []
    for _ in range(3):
        (following,) = state.apply(Failed(call.id, "busy", retryable=True))
        assert isinstance(following, (Retry, Submit))
        submit = following.submit if isinstance(following, Retry) else following
        tried.append((submit.step.executor, submit.attempt))
    assert tried == [("f", 2), ("g", 3), ("g", 4)]
    (end,) = state.apply(Failed(call.id, "busy", retryable=True))
    assert isinstance(end, Fail)
    assert end.failures[0].attempts == 4


def test_a_call_that_was_not_begun_counts_no_attempt() -> None:
    state, call = begun()
    (other,) = state.apply(Away(call.id, "engine `e` stays away"))
    assert isinstance(other, Submit)
    assert (other.attempt, other.step.executor) == (1, "g")


def test_a_run_that_ends_asks_no_substitute() -> None:
    state, call = begun()
    state.apply(Interrupted())
    (end,) = state.apply(Failed(call.id, "gone", retryable=False))
    assert isinstance(end, Fail)
    state, call = begun()
    state.apply(Interrupted())
    (end,) = state.apply(Away(call.id, "gone"))
    assert isinstance(end, Fail)
