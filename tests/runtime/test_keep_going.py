"""Runs that go on without items that fail: what is left out, and what is not touched by it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.ir.reader import read_module
from murakkab.runtime.attempts import Limits
from murakkab.runtime.driver import RunResult, run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.messages import Completed, Fail, Failed, Finish, Submit
from murakkab.runtime.program import compile_program
from murakkab.runtime.record import load_record
from murakkab.runtime.state import RunState
from murakkab.targets.failure_policy import FailurePolicy

from .conftest import MakeLibrary, MakePlan

HEAD = """module placed
task @f(%x: Int) -> Int
task @g(%x: Int) -> Int
task @say(%x: Int) -> Int {effect}
task @keep(%x: Int) -> Bool
task @total(%xs: [Int]) -> Int
engine @e
"""
CODE = """
def f(x):
    if x % 3 == 0:
        raise ValueError(f"no {x}")
    return x
def g(x):
    if x % 5 == 0:
        raise ValueError(f"nor {x}")
    return 10 * x
def keep(x):
    if x == 4:
        raise ValueError("cannot tell")
    return x != 2
def say(x):
    return f(x)
def total(xs):
    return sum(xs)
"""
AT = {
    name: f"{{engine = @e_{name}, executor = @{name}}}"
    for name in ("f", "g", "say", "keep", "total")
}
TWO = """workflow @w(%xs: [Int]) -> [Int]
{
  %a = map(%xs) { ^(%x: Int)
    %y = invoke @f(%x) $f : Int
    yield(%y)
  } : [Int]
  %b = map(%a) { ^(%z: Int)
    %v = invoke @g(%z) $g : Int
    yield(%v)
  } : [Int]
  return(%b)
}
"""
FILTERED = """workflow @w(%xs: [Int]) -> Int
{
  %a = filter(%xs) { ^(%x: Int)
    %y = invoke @keep(%x) $keep : Bool
    yield(%y)
  } : [Int]
  %b = invoke @total(%a) $total : Int
  return(%b)
}
"""
NESTED = """workflow @w(%xss: [[Int]]) -> [Int]
{
  %a = map(%xss) { ^(%xs: [Int])
    %b = map(%xs) { ^(%x: Int)
      %y = invoke @f(%x) $f : Int
      yield(%y)
    } : [Int]
    %c = invoke @total(%b) $total : Int
    %d = invoke @g(%c) $g : Int
    yield(%d)
  } : [Int]
  return(%a)
}
"""
EFFECTS = """workflow @w(%xs: [Int]) -> [Int]
{
  %a = map(%xs) { ^(%x: Int)
    %y = invoke @say(%x) $say : Int
    yield(%y)
  } : [Int]
  return(%a)
}
"""


def text(body: str) -> str:
    engines = "".join(f"engine @e_{name}\n" for name in AT)
    for name, attributes in AT.items():
        body = body.replace(f"${name}", attributes)
    return HEAD.replace("engine @e\n", engines) + body


@pytest.fixture
def run(make_plan: MakePlan, make_library: MakeLibrary) -> Any:
    library = make_library(CODE, **{name: {} for name in AT})

    def kept_going(body: str, given: Any, **more: Any) -> RunResult:
        plan = make_plan(text(body))
        (name,) = (param.name for param in plan.module().sole().params)
        return asyncio.run(run_plan(plan, {name: given}, library=library, keep_going=True, **more))

    return kept_going


def test_what_fails_is_left_out_and_the_rest_keeps_its_order(run: Any, tmp_path: Path) -> None:
    done = run(TWO, list(range(1, 12)), record=tmp_path / "run.json")
    assert done.value == [10, 20, 40, 70, 80, 110]
    assert done.lost_items == 5
    assert {f.instance for f in done.lost} == {"y[2]", "y[5]", "y[8]", "v[4]", "v[9]"}
    document = load_record(tmp_path / "run.json").document
    assert document["status"] == "partial" and len(document["failures"]) == 5


def test_an_engine_that_stays_away_ends_the_run_and_not_every_item(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    code = CODE.replace("if x % 3 == 0:", "if x > 100:").replace(
        'raise ValueError(f"no {x}")', 'raise ConnectionRefusedError("nobody is there")'
    )
    library = make_library(code, **{name: {} for name in AT})
    # without attempts left, calls fail one by one in the pauses of the breaker: for ever
    policy = FailurePolicy(pause_s=0.01, longest_pause_s=0.05, retry_floor=0, retry_share=0.0)
    plan = make_plan(text(TWO), failure=policy)
    running = run_plan(plan, {"xs": list(range(1, 1_000))}, library=library, keep_going=True)
    with pytest.raises(RunError, match="nobody is there; its engine stays away") as caught:
        asyncio.run(asyncio.wait_for(running, 30.0))
    assert len(caught.value.failures) < 5


@pytest.mark.parametrize("gone", [False, True])
def test_what_is_gone_ends_the_run_through_items_within_items(gone: bool) -> None:
    limits = Limits(keep_going=True)
    state = RunState(compile_program(read_module(text(NESTED), "test.mkir")), limits)
    first, other = (c for c in state.start([[[1], [2]]]) if isinstance(c, Submit))
    state.apply(Failed(first.id, "away", retryable=False, gone=gone))
    assert state.closing == gone
    commands = state.apply(Completed(other.id, 7))
    assert isinstance(commands[-1], Fail if gone else Submit)


def test_a_condition_that_fails_leaves_its_item_out(run: Any) -> None:
    assert run(FILTERED, [1, 2, 3, 4, 5]).value == 1 + 3 + 5


def test_the_innermost_item_is_left_out(run: Any) -> None:
    done = run(NESTED, [[1, 3], [6], [], [2, 3], [3, 5], [4]])
    # sums of what is left: 1, 0, 0, 2, 5, 4; and `g` fails for 0 and 5
    assert done.value == [10, 20, 40]
    assert done.lost_items == 4 + 3


def test_nothing_is_lost_where_nothing_fails(run: Any) -> None:
    done = run(TWO, [1, 2])
    assert (done.value, done.lost_items, done.lost) == ([10, 20], 0, ())
    assert done.record.document["status"] == "done"


def test_items_with_effects_and_steps_outside_lists_still_fail_the_run(run: Any) -> None:
    with pytest.raises(RunError, match="no 3"):
        run(EFFECTS, [1, 2, 3, 4])


@given(
    lost=st.sets(st.integers(0, 9)),
    again=st.sets(st.integers(0, 9)),
    order=st.randoms(use_true_random=False),
    count=st.integers(0, 10),
)
def test_in_any_order_of_events_just_the_failed_items_are_missing(
    lost: set[int], again: set[int], order: Any, count: int
) -> None:
    program = compile_program(read_module(text(TWO), "test.mkir"))
    state = RunState(program, Limits(window=4, keep_going=True))
    commands = list(state.start([list(range(count))]))
    at_work: list[Submit] = []
    while True:
        at_work += [command for command in commands if isinstance(command, Submit)]
        ends = [command for command in commands if isinstance(command, Finish)]
        if ends:
            break
        call = at_work.pop(order.randrange(len(at_work)))
        failing = lost if call.step.name == "y" else again
        if call.args[0] in failing:
            commands = state.apply(Failed(call.id, "no", retryable=False))
        else:
            commands = state.apply(Completed(call.id, call.args[0]))
    assert not at_work
    assert ends[0].value == [n for n in range(count) if n not in lost | again]
    failed = (lost | again) & set(range(count))
    assert ends[0].lost_items == len(failed)
