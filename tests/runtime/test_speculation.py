"""Branches that run ahead of their condition: what begins when, what counts, what is given up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murakkab.ir.ops import Op
from murakkab.ir.reader import read_module
from murakkab.ir.workflow import Module
from murakkab.passes.rewrite import TraitsOf
from murakkab.runtime.attempts import Limits
from murakkab.runtime.driver import run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.messages import (
    Cancel,
    Completed,
    Dropped,
    Due,
    Fail,
    Failed,
    Finish,
    Interrupted,
    Retry,
    Submit,
)
from murakkab.runtime.program import compile_program
from murakkab.runtime.progress import ProgressTracker, RunEvent
from murakkab.runtime.record import load_record
from murakkab.runtime.reference import run_reference
from murakkab.runtime.simulated import simulate_plan
from murakkab.runtime.state import RunState

from ..ir.modules import modules
from ..passes.properties import arguments
from .conftest import MakeLibrary, MakePlan

TASKS = """module placed
task @ask(%x: Int) -> Bool
task @f(%x: Int) -> Int
task @g(%x: Int) -> Int
task @list(%x: Int) -> [Int]
task @total(%xs: [Int]) -> Int
engine @e
"""
AT = "{engine = @e, executor = @x}"


class Hand:
    """Ends submitted steps by name; notes what was submitted and cancelled in which order."""

    def __init__(self, body: str, *inputs: Any) -> None:
        text = TASKS + "workflow @w(%x: Int, %xs: [Int]) -> " + body.replace("$AT", AT)
        self.state = RunState(compile_program(read_module(text, "test.mkir")), Limits())
        self.told: list[str] = []
        self.open: dict[str, Submit] = {}
        self.end: Finish | Fail | None = None
        self.take(self.state.start(inputs))

    def take(self, commands: Sequence[Any]) -> None:
        for command in commands:
            if isinstance(command, Submit):
                self.told.append(command.instance)
                self.open[command.instance] = command
            elif isinstance(command, Cancel):
                name = next(n for n, submit in self.open.items() if submit.id == command.id)
                self.told.append(f"-{name}")
            elif isinstance(command, (Finish, Fail)):
                assert self.end is None
                self.end = command

    def complete(self, **values: Any) -> None:
        for name, value in values.items():
            self.take(self.state.apply(Completed(self.open.pop(name).id, value)))

    def complete_item(self, name: str, value: Any) -> None:
        self.complete(**{name: value})

    def fail(self, name: str) -> None:
        self.take(self.state.apply(Failed(self.open.pop(name).id, f"{name} broke", False)))

    def drop(self, *names: str) -> None:
        for name in names:
            self.take(self.state.apply(Dropped(self.open.pop(name).id)))

    def result(self) -> Any:
        assert isinstance(self.end, Finish), self.end
        return self.end.value


TWO_SIDES = """Int
{
  %c = invoke @ask(%x) $AT : Bool
  %r = if(%c) {
    %a = invoke @f(%x) $AT : Int
    %b = invoke @g(%a) $AT : Int
    yield(%b)
  } {
    %d = invoke @g(%x) $AT : Int
    yield(%d)
  } {speculative} : Int
  %out = invoke @f(%r) $AT : Int
  return(%out)
}
"""


def test_both_branches_begin_with_the_condition_and_the_other_is_given_up() -> None:
    hand = Hand(TWO_SIDES, 1, [])
    assert sorted(hand.told) == ["a", "c", "d"]
    hand.complete(a=10)
    assert hand.told[-1] == "b"
    hand.complete(c=True)
    assert hand.told[-1] == "-d"
    hand.drop("d")
    hand.complete(b=100)
    assert hand.open["out"].args == (100,)
    hand.complete(out=7)
    assert hand.result() == 7


def test_a_branch_that_is_done_before_its_condition_gives_its_value_at_once() -> None:
    hand = Hand(TWO_SIDES, 1, [])
    hand.complete(d=5)
    assert "out" not in hand.told
    hand.complete(c=False)
    assert hand.told[-2:] == ["-a", "out"] and hand.open["out"].args == (5,)


def test_what_ends_although_it_was_given_up_changes_nothing() -> None:
    hand = Hand(TWO_SIDES, 1, [])
    hand.complete(c=False)
    hand.complete(a=3)  # it had ended before it could be stopped
    assert "b" not in hand.told
    hand.complete(d=5)
    hand.complete(out=6)
    assert hand.result() == 6


def test_a_run_is_over_when_what_was_given_up_has_ended() -> None:
    hand = Hand(TWO_SIDES, 1, [])
    hand.complete(d=5, c=False, out=6)
    assert hand.end is None
    hand.drop("a")
    assert hand.result() == 6


def test_a_failure_of_the_branch_that_is_not_chosen_does_not_count() -> None:
    hand = Hand(TWO_SIDES, 1, [])
    hand.fail("d")
    assert hand.state.failures == 0
    hand.complete(c=True, a=1, b=2, out=3)
    assert hand.result() == 3


def test_a_failure_of_the_chosen_branch_counts_when_it_is_chosen() -> None:
    hand = Hand(TWO_SIDES, 1, [])
    hand.fail("d")
    assert hand.end is None
    hand.complete(c=False)
    hand.drop("a")
    assert isinstance(hand.end, Fail)
    assert [(f.instance, f.message) for f in hand.end.failures] == [("d", "d broke")]


def test_a_failure_after_the_choice_counts_at_once() -> None:
    hand = Hand(TWO_SIDES, 1, [])
    hand.complete(c=False)
    hand.fail("d")
    assert hand.state.failures == 1


def test_a_computation_that_fails_ahead_counts_only_where_it_is_chosen() -> None:
    body = """Float
{
  %c = invoke @ask(%x) $AT : Bool
  %r = if(%c) {
    %q = div(%x, %x) : Float
    yield(%q)
  } {
    %one = const() {value = 1.0} : Float
    yield(%one)
  } {speculative} : Float
  return(%r)
}
"""
    hand = Hand(body, 0, [])
    hand.complete(c=False)
    assert hand.result() == 1.0
    hand = Hand(body, 0, [])
    hand.complete(c=True)
    assert isinstance(hand.end, Fail)
    assert hand.end.failures[0].message == "cannot compute this: division by zero"


def test_a_wait_for_a_repetition_is_given_up_too() -> None:
    hand = Hand(TWO_SIDES, 1, [])
    failed = hand.open.pop("d")
    (retry,) = hand.state.apply(Failed(failed.id, "busy", True))
    assert isinstance(retry, Retry)
    hand.open["d"] = retry.submit
    hand.complete(c=True)
    assert hand.told[-1] == "-d"
    assert hand.state.apply(Due(failed.id)) == []
    hand.complete(a=1, b=2, out=3)
    assert hand.result() == 3


def test_an_interrupted_run_begins_nothing_in_either_branch() -> None:
    hand = Hand(TWO_SIDES, 1, [])
    hand.take(hand.state.apply(Interrupted()))
    hand.complete(a=1)
    hand.fail("d")
    hand.complete(c=False)
    assert isinstance(hand.end, Fail) and hand.end.interrupted
    assert hand.end.failures == () and "b" not in hand.told


NESTED = """Int
{
  %c = invoke @ask(%x) $AT : Bool
  %r = if(%c) {
    %e = invoke @ask(%x) $AT : Bool
    %s = if(%e) {
      %a = invoke @f(%x) $AT : Int
      yield(%a)
    } {
      %b = invoke @g(%x) $AT : Int
      yield(%b)
    } {speculative} : Int
    yield(%s)
  } {
    yield(%x)
  } {speculative} : Int
  return(%r)
}
"""


def test_giving_a_branch_up_gives_up_what_runs_ahead_inside_it() -> None:
    hand = Hand(NESTED, 1, [])
    hand.complete(c=False)
    assert sorted(hand.told[-3:]) == ["-a", "-b", "-e"]
    hand.drop("a", "b", "e")
    assert hand.result() == 1


def test_a_branch_chosen_inside_another_belongs_to_the_other() -> None:
    hand = Hand(NESTED, 1, [])
    hand.complete(e=True)
    assert hand.told[-1] == "-b"
    hand.drop("b")
    hand.complete(c=False)
    assert hand.told[-1] == "-a"
    hand = Hand(NESTED, 1, [])
    hand.fail("a")
    hand.complete(e=True)
    assert hand.state.failures == 0  # it is that of a branch not chosen yet
    hand.complete(c=True)
    assert hand.state.failures == 1


STREAMED = """[Int]
{
  %row = invoke @list(%x) $AT : [Int]
  %c = invoke @ask(%x) $AT : Bool
  %r = if(%c) {
    %m = map(%row) { ^(%i: Int)
      %v = invoke @f(%i) $AT : Int
      yield(%v)
    } : [Int]
    yield(%m)
  } {
    yield(%row)
  } {speculative} : [Int]
  %out = map(%r) { ^(%j: Int)
    %w = invoke @g(%j) $AT : Int
    yield(%w)
  } : [Int]
  return(%out)
}
"""


def test_lists_stream_into_a_branch_and_out_of_the_chosen_one() -> None:
    hand = Hand(STREAMED, 1, [])
    hand.complete(row=[5, 6])
    assert hand.told[-2:] == ["v[0]", "v[1]"]
    hand.complete_item("v[1]", 60)
    assert "w[1]" not in hand.told
    hand.complete(c=True)
    assert hand.told[-1] == "w[1]" and hand.open["w[1]"].args == (60,)
    for name, value in {"v[0]": 50, "w[1]": 2, "w[0]": 1}.items():
        hand.complete_item(name, value)
    assert hand.result() == [1, 2]


def test_a_map_that_was_given_up_takes_no_more_items() -> None:
    hand = Hand(STREAMED, 1, [])
    hand.complete(c=False)
    hand.complete(row=[5, 6])
    assert hand.told[-2:] == ["w[0]", "w[1]"] and hand.open["w[0]"].args == (5,)


def test_each_iteration_decides_for_itself() -> None:
    body = """[Int]
{
  %out = map(%xs) { ^(%i: Int)
    %c = invoke @ask(%i) $AT : Bool
    %r = if(%c) {
      %a = invoke @f(%i) $AT : Int
      yield(%a)
    } {
      yield(%i)
    } {speculative} : Int
    yield(%r)
  } : [Int]
  return(%out)
}
"""
    hand = Hand(body, 1, [7, 8])
    assert sorted(hand.told) == ["a[0]", "a[1]", "c[0]", "c[1]"]
    hand.complete_item("c[0]", False)
    assert hand.told[-1] == "-a[0]"
    hand.complete_item("a[1]", 80)
    hand.drop("a[0]")
    hand.complete_item("c[1]", True)
    assert hand.result() == [7, 80]


# ---- the meaning of a program


def ahead(module: Module) -> Module:
    """Let every branch that may run ahead do so."""
    traits = TraitsOf(module)

    def rewritten(op: Op) -> Op:
        regions = tuple(replace(r, ops=tuple(map(rewritten, r.ops))) for r in op.regions)
        may = op.kind == "if" and not traits(op).effects
        return replace(op.with_attrs({"speculative": True}) if may else op, regions=regions)

    workflow = module.sole()
    body = replace(workflow.body, ops=tuple(map(rewritten, workflow.body.ops)))
    return replace(module, workflows=(replace(workflow, body=body),))


def outcome(module: Module, given: dict[str, Any], order: Random | None) -> Any:
    try:
        done = run_reference(module, given, order)
    except RunError:
        return "failed"
    return repr(done.value), done.effects


@settings(deadline=None)
@given(modules(), arguments, st.randoms(use_true_random=False))
def test_results_effects_and_failures_stay_in_any_order_of_completion(
    module: Module, given: dict[str, Any], order: Random
) -> None:
    assert outcome(ahead(module), given, order) == outcome(module, given, None)


# ---- with workers

TEXT = """module placed
task @slow_ask(%x: Int) -> Bool
task @slow(%x: Int) -> Int
task @quick(%x: Int) -> Int
engine @e_ask
engine @e_slow
engine @e_quick
workflow @w(%x: Int) -> Int
{
  %c = invoke @slow_ask(%x) {engine = @e_ask, executor = @slow_ask} : Bool
  %r = if(%c) {
    %y = invoke @slow(%x) {engine = @e_slow, executor = @slow} : Int
    yield(%y)
  } {
    %z = invoke @quick(%x) {engine = @e_quick, executor = @quick} : Int
    yield(%z)
  } {speculative} : Int
  return(%r)
}
"""
CODE = """
import os, time
from murakkab.runtime.executors.errors import ExecutorError

def slow_ask(x):
    while not os.path.exists(f"{HERE}/quick"):
        time.sleep(0.005)
    return x > 5

def slow(x):
    open(f"{HERE}/slow", "w").close()
    time.sleep(60)

def quick(x):
    open(f"{HERE}/quick", "w").close()
    if x == 2:
        raise ExecutorError("broken")
    return 10 * x
"""


@pytest.fixture
def run(make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path) -> Any:
    """Return a function that runs the plan, with the slow branch in child processes or here."""

    def run(x: int, pooling: str, events: list[RunEvent]) -> Any:
        library = make_library(
            CODE.replace("{HERE}", str(tmp_path)),
            slow_ask={},
            slow={"pooling": pooling},
            quick={},
        )
        return asyncio.run(
            run_plan(
                make_plan(TEXT),
                {"x": x},
                library=library,
                record=tmp_path / "run.json",
                on_event=events.append,
            )
        )

    return run


@pytest.mark.parametrize("pooling", ["process", "thread"])
def test_a_call_that_is_not_wanted_is_stopped_and_recorded(
    run: Any, make_plan: MakePlan, pooling: str, tmp_path: Path
) -> None:
    events: list[RunEvent] = []
    done = run(1, pooling, events)
    assert done.value == 10
    record = load_record(tmp_path / "run.json")
    slow = record.step("y")
    assert (slow["calls"], slow["attempts"], slow["failed"], slow["cancelled"]) == (1, 1, 0, 1)
    assert 0.0 < slow["busy_s"] < 50.0
    # the plan's joules of a call (2 J, 1 s), for the time it took
    assert slow["energy_j"] == pytest.approx(2.0 * min(slow["busy_s"], 1.0))
    (line,) = record.calls("y")
    assert line["cancelled"] is True and "not chosen" in line["error"]
    assert record.document["failures"] == []
    tracker = ProgressTracker(make_plan(TEXT))
    for event in events:
        tracker.see(event)
    now = tracker.snapshot(1.0)
    assert (now.done, now.running, now.expected, now.failures) == (2, 0, 2, ())


def test_the_failure_of_the_chosen_branch_fails_the_run_and_the_other_is_stopped(
    run: Any, tmp_path: Path
) -> None:
    events: list[RunEvent] = []
    with pytest.raises(RunError) as caught:
        run(2, "process", events)
    assert [str(f) for f in caught.value.failures] == [
        "step `z` failed with executor `quick`: broken"
    ]
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "failed"


def test_a_simulation_runs_ahead_too(make_plan: MakePlan) -> None:
    call_s = {"c": 3.0, "y": 9.0, "z": 2.0}
    plan = make_plan(TEXT, call_s=call_s, runner="vllm")
    done = asyncio.run(simulate_plan(plan)).record.document  # conditions are false there
    assert done["totals"]["measured"]["latency_s"] == pytest.approx(3.0)
    slow = next(step for step in done["steps"] if step["step"] == "y")
    assert (slow["cancelled"], slow["busy_s"]) == (1, pytest.approx(3.0))
    waiting = make_plan(TEXT.replace(" {speculative}", ""), call_s=call_s, runner="vllm")
    done = asyncio.run(simulate_plan(waiting)).record.document
    assert done["totals"]["measured"]["latency_s"] == pytest.approx(5.0)
