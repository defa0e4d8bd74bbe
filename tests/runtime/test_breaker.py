"""What an engine is spared that fails every call: the breaker alone, and in a run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from murakkab.runtime.breaker import Breaker
from murakkab.runtime.driver import run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.progress import RunEvent
from murakkab.targets.failure_policy import FailurePolicy

from .conftest import MakeLibrary, MakePlan


def opened(breaker: Breaker) -> float:
    """Fail calls until it opens; return the pause."""
    for call in range(100):
        breaker.begun(call)
        pause_s = breaker.ended(call, False)
        if pause_s is not None:
            return pause_s
    raise AssertionError("it stays closed")


def test_it_opens_after_failures_in_a_row_alone() -> None:
    breaker = Breaker(2)
    for call in range(50):
        assert breaker.ended(call, call % 5 == 0) is None  # one of five succeeds
    assert breaker.lets_through
    assert [breaker.ended(call, None) for call in range(50)] == [None] * 50
    assert opened(breaker) == 1.0
    assert not breaker.lets_through


def test_as_many_failures_as_calls_are_at_work_are_one_event() -> None:
    breaker = Breaker(32)
    assert [breaker.ended(call, False) for call in range(31)] == [None] * 31
    assert breaker.ended(31, False) == 1.0


def test_it_opens_and_waits_as_the_policy_says() -> None:
    breaker = Breaker(1, FailurePolicy(breaker_failures=2, pause_s=3.0, longest_pause_s=5.0))
    assert breaker.ended(1, False) is None
    assert breaker.ended(2, False) == 3.0
    for call in (3, 4):
        breaker.half_open()
        breaker.begun(call)
        assert breaker.ended(call, False) == 5.0


def test_one_call_may_try_and_each_pause_is_longer_until_one_succeeds() -> None:
    breaker = Breaker(1)
    pauses = [opened(breaker)]
    for call in range(100, 107):
        breaker.half_open()
        assert breaker.lets_through
        breaker.begun(call)
        assert not breaker.lets_through
        assert breaker.ended(7, False) is None  # one from before says nothing new
        pause_s = breaker.ended(call, False)
        assert pause_s is not None
        pauses.append(pause_s)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    breaker.half_open()
    breaker.begun(200)
    assert breaker.ended(200, True) is None
    assert breaker.lets_through
    assert opened(breaker) == 1.0


def test_a_call_that_says_nothing_lets_another_try() -> None:
    breaker = Breaker(1)
    opened(breaker)
    breaker.half_open()
    breaker.begun(9)
    assert breaker.ended(9, None) is None
    assert breaker.lets_through


def test_a_late_success_closes_it() -> None:
    breaker = Breaker(1)
    opened(breaker)
    assert breaker.ended(3, True) is None
    assert breaker.lets_through
    breaker.half_open()  # the pause that was under way ends: nothing changes
    assert breaker.lets_through


TEXT = """module placed
task @f(%x: Int) -> Int
engine @e
workflow @w(%xs: [Int]) -> [Int]
{
  %ys = map(%xs) { ^(%x: Int)
    %y = invoke @f(%x) {engine = @e, executor = @f} : Int
    yield(%y)
  } : [Int]
  return(%ys)
}
"""
# fails until it has been tried a number of times in all
CODE = """
from pathlib import Path
def f(x):
    tried = Path(__file__).with_name("tried")
    with tried.open("a") as file:
        file.write(".")
    if tried.stat().st_size <= 6:
        raise ConnectionRefusedError("nobody is there")
    return x
"""


def test_a_run_outlasts_an_engine_that_is_away_for_a_while(
    make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path
) -> None:
    plan, library = make_plan(TEXT, concurrency=1), make_library(CODE, f={})
    events: list[RunEvent] = []
    running = run_plan(plan, {"xs": list(range(40))}, library=library, on_event=events.append)
    assert asyncio.run(running).value == list(range(40))
    # without a pause every one of the forty would have met the failure, and some three times
    assert (tmp_path / "tried").stat().st_size == 46
    assert max(event.attempt for event in events) <= 3


def test_a_run_ends_where_an_engine_stays_away_however_many_calls_it_has(
    make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path
) -> None:
    """The call that was tried most goes first then: else each of them would try a second time."""
    policy = FailurePolicy(pause_s=0.6, longest_pause_s=1.0)
    plan = make_plan(TEXT, concurrency=40, failure=policy)
    library = make_library(CODE.replace("<= 6", "< 10_000"), f={})
    with pytest.raises(RunError, match="nobody is there"):
        asyncio.run(run_plan(plan, {"xs": list(range(40))}, library=library))
    assert (tmp_path / "tried").stat().st_size < 60
