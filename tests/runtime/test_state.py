"""The state machine, driven by hand: what becomes ready when, and in which order."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.ir.reader import read_module
from murakkab.runtime.attempts import Limits
from murakkab.runtime.messages import (
    Completed,
    Due,
    Fail,
    Failed,
    Finish,
    Interrupted,
    Partial,
    Retry,
    Submit,
)
from murakkab.runtime.program import Program, compile_program
from murakkab.runtime.state import RunState
from murakkab.targets.failure_policy import FailurePolicy

TASKS = """module placed
task @f(%x: Int) -> Int
task @g(%x: Int) -> Int
task @list(%x: Int) -> [Int]
task @say(%x: Int) -> Int {effect}
task @total(%xs: [Int]) -> Int
engine @e
"""
AT = "{engine = @e, executor = @x}"


@cache
def program_of(body: str) -> Program:
    return compile_program(read_module(TASKS + body.replace("$AT", AT), "test.mkir"))


def state_of(body: str, window: int = 64, at_once: int | None = None) -> RunState:
    return RunState(program_of(body), Limits(window=window, at_once=at_once))


class Hand:
    """Completes submitted steps by name; notes what was submitted in which order."""

    def __init__(self, state: RunState, *inputs: Any) -> None:
        self.state = state
        self.submitted: list[str] = []
        self.open: dict[str, Submit] = {}
        self.end: Finish | Fail | None = None
        self.take(state.start(inputs))

    def take(self, commands: list[Any]) -> None:
        for command in commands:
            if isinstance(command, Submit):
                self.submitted.append(command.instance)
                self.open[command.instance] = command
            elif isinstance(command, (Finish, Fail)):
                assert self.end is None
                self.end = command

    def complete(self, instance: str, value: Any) -> None:
        self.take(self.state.apply(Completed(self.open.pop(instance).id, value)))

    def offer(self, instance: str, *items: Any) -> None:
        self.take(self.state.apply(Partial(self.open[instance].id, items)))

    def result(self) -> Any:
        assert isinstance(self.end, Finish), self.end
        return self.end.value


TWO_MAPS = """workflow @w(%xs: [Int]) -> [Int]
{
  %a = map(%xs) { ^(%x: Int)
    %y = invoke @f(%x) $AT : Int
    yield(%y)
  } : [Int]
  %b = map(%a) { ^(%z: Int)
    %v = invoke @g(%z) $AT : Int
    yield(%v)
  } : [Int]
  return(%b)
}
"""


def test_items_flow_on_before_their_list_is_complete_and_keep_their_order() -> None:
    hand = Hand(state_of(TWO_MAPS), [10, 20, 30])
    assert hand.submitted == ["y[0]", "y[1]", "y[2]"]
    hand.complete("y[2]", 300)
    assert hand.submitted[-1] == "v[2]"  # with y[0] and y[1] still at work
    assert hand.open["v[2]"].args == (300,)
    hand.complete("v[2]", 3)
    hand.complete("y[0]", 100)
    hand.complete("y[1]", 200)
    hand.complete("v[1]", 2)
    assert hand.end is None
    hand.complete("v[0]", 1)
    assert hand.result() == [1, 2, 3]


def test_an_empty_list_needs_no_step() -> None:
    hand = Hand(state_of(TWO_MAPS), [])
    assert hand.result() == []


def test_a_consumer_of_the_whole_list_waits_for_all_of_it() -> None:
    body = """workflow @w(%xs: [Int]) -> Int
{
  %a = map(%xs) { ^(%x: Int)
    %y = invoke @f(%x) $AT : Int
    yield(%y)
  } : [Int]
  %t = invoke @total(%a) $AT : Int
  return(%t)
}
"""
    hand = Hand(state_of(body), [1, 2])
    hand.complete("y[1]", 8)
    assert "t" not in hand.submitted
    hand.complete("y[0]", 7)
    assert hand.open["t"].args == ([7, 8],)


FILTERED = """workflow @w(%xs: [Int]) -> [Int]
{
  %kept = filter(%xs) { ^(%x: Int)
    %size = invoke @f(%x) $AT : Int
    %zero = const() {value = 0} : Int
    %big = gt(%size, %zero) : Bool
    yield(%big)
  } : [Int]
  %b = map(%kept) { ^(%z: Int)
    %v = invoke @g(%z) $AT : Int
    yield(%v)
  } : [Int]
  return(%b)
}
"""


def test_a_filter_passes_an_item_on_before_it_knows_the_ones_before() -> None:
    hand = Hand(state_of(FILTERED), [10, 20, 30])
    hand.complete("size[2]", 1)
    assert hand.open["v[2]"].args == (30,)
    hand.complete("size[1]", 0)
    hand.complete("size[0]", 1)
    assert "v[1]" not in hand.submitted
    hand.complete("v[2]", 3)
    hand.complete("v[0]", 1)
    assert hand.result() == [1, 3]


def test_a_step_in_a_branch_runs_only_if_it_is_taken() -> None:
    body = """workflow @w(%c: Bool, %xs: [Int]) -> [Int]
{
  %r = if(%c) {
    %a = map(%xs) { ^(%x: Int)
      %y = invoke @f(%x) $AT : Int
      yield(%y)
    } : [Int]
    yield(%a)
  } {
    yield(%xs)
  } : [Int]
  %b = map(%r) { ^(%z: Int)
    %v = invoke @g(%z) $AT : Int
    yield(%v)
  } : [Int]
  return(%b)
}
"""
    hand = Hand(state_of(body), False, [1])
    assert hand.submitted == ["v[0]"]
    taken = Hand(state_of(body), True, [1, 2])
    taken.complete("y[1]", 5)
    assert taken.submitted == ["y[0]", "y[1]", "v[1]"]  # a growing list leaves the branch


LOOP = """workflow @w(%x: Int) -> Int
{
  %r = loop(%x) { ^(%c: Int)
    %y = invoke @f(%c) $AT : Int
    %ten = const() {value = 10} : Int
    %enough = ge(%y, %ten) : Bool
    yield(%y, %enough, %y)
  } {limit = 3} : Int
  return(%r)
}
"""


@pytest.mark.parametrize(
    ("values", "result"),
    [([12], 12), ([3, 11], 11), ([1, 2, 3], 3)],
    ids=["at once", "when it holds", "at the limit"],
)
def test_a_loop_stops_when_its_condition_holds_or_at_its_limit(
    values: list[int], result: int
) -> None:
    hand = Hand(state_of(LOOP), 0)
    for iteration, value in enumerate(values):
        assert hand.end is None
        hand.complete(f"y[{iteration}]", value)
    assert hand.result() == result
    assert len(hand.submitted) == len(values)


def test_a_skipped_call_is_none_and_no_work() -> None:
    body = """workflow @w(%x: Int) -> Int
{
  %y = invoke @f(%x) {optional, skip} : Int?
  %r = coalesce(%y, %x) : Int
  return(%r)
}
"""
    hand = Hand(state_of(body), 4)
    assert hand.submitted == []
    assert hand.result() == 4


def test_work_in_an_iteration_begins_before_what_it_captures_exists() -> None:
    body = """workflow @w(%x: Int, %xs: [Int]) -> [Int]
{
  %late = invoke @f(%x) $AT : Int
  %b = map(%xs) { ^(%z: Int)
    %v = invoke @g(%z) $AT : Int
    %s = add(%v, %late) : Int
    yield(%s)
  } : [Int]
  return(%b)
}
"""
    hand = Hand(state_of(body), 1, [5])
    assert hand.submitted == ["late", "v[0]"]
    hand.complete("v[0]", 50)
    hand.complete("late", 7)
    assert hand.result() == [57]


EFFECTS = """workflow @w(%xs: [Int]) -> [Int]
{
  %first = invoke @say(%n) $AT : Int
  %a = map(%xs) { ^(%x: Int)
    %y = invoke @f(%x) $AT : Int
    %zero = const() {value = 0} : Int
    %odd = gt(%y, %zero) : Bool
    %s = if(%odd) {
      %told = invoke @say(%y) $AT : Int
      yield(%told)
    } {
      yield(%y)
    } : Int
    yield(%s)
  } : [Int]
  %last = invoke @say(%n) $AT : Int
  return(%a)
}
""".replace("{\n  %first", "{\n  %n = len(%xs) : Int\n  %first")


def test_effects_happen_in_program_order_and_item_order_one_at_a_time() -> None:
    hand = Hand(state_of(EFFECTS), [1, 2, 3])
    assert hand.submitted == ["first", "y[0]", "y[1]", "y[2]"]  # other work does not wait
    hand.complete("y[2]", 30)
    hand.complete("y[1]", 0)  # no effect in this iteration: the turn passes on
    assert "told[2]" not in hand.submitted
    hand.complete("first", 0)
    assert "told[2]" not in hand.submitted
    hand.complete("y[0]", 10)
    assert hand.submitted[-1] == "told[0]"
    hand.complete("told[0]", 1)
    assert hand.submitted[-1] == "told[2]"
    assert "last" not in hand.submitted
    hand.complete("told[2]", 3)
    hand.complete("last", 0)
    assert hand.result() == [1, 0, 3]


def test_a_map_keeps_at_most_its_window_of_iterations_alive() -> None:
    hand = Hand(state_of(TWO_MAPS, window=4), list(range(100)))
    assert len(hand.open) == 4
    most = 0
    while hand.end is None:
        instance = next(iter(hand.open))
        hand.complete(instance, 0)
        most = max(most, len(hand.open))
    assert most <= 8  # both maps together
    assert hand.result() == [0] * 100


def test_a_map_with_a_stated_concurrency_keeps_to_it() -> None:
    limited = TWO_MAPS.replace("  } : [Int]\n  %b", "  } {concurrency = 1} : [Int]\n  %b")
    hand = Hand(state_of(limited), [1, 2, 3])
    assert hand.submitted == ["y[0]"]
    hand.complete("y[0]", 5)
    assert hand.submitted == ["y[0]", "v[0]", "y[1]"]


def test_a_list_is_not_made_faster_than_its_only_reader_takes_it() -> None:
    hand = Hand(state_of(TWO_MAPS, window=4), list(range(100)))
    while any(name.startswith("y") for name in hand.open):  # the reader never finishes a step
        hand.complete(next(name for name in hand.open if name.startswith("y")), 0)
    assert sum(name.startswith("y") for name in hand.submitted) <= 12


slices = st.none() | st.integers(1, 9)


@given(st.randoms(use_true_random=False), st.integers(1, 5), st.integers(0, 12), slices)
def test_no_order_of_completion_hangs_a_run_or_changes_its_result(
    chance: Random, window: int, length: int, at_once: int | None
) -> None:
    """A filter between two maps, the last with effects: back-pressure against item order.

    Calls complete also while the state machine has more to do, a few operations at once.
    """
    body = """workflow @w(%xs: [Int]) -> [Int]
{
  %a = map(%xs) { ^(%x: Int)
    %y = invoke @f(%x) $AT : Int
    yield(%y)
  } : [Int]
  %kept = filter(%a) { ^(%k: Int)
    %size = invoke @g(%k) $AT : Int
    %four = const() {value = 4} : Int
    %big = gt(%size, %four) : Bool
    yield(%big)
  } : [Int]
  %b = map(%kept) { ^(%z: Int)
    %v = invoke @say(%z) $AT : Int
    yield(%v)
  } : [Int]
  return(%b)
}
"""
    state = state_of(body, window, at_once)
    hand = Hand(state, list(range(length)))
    said = []
    while hand.end is None:
        if state.unsettled and (not hand.open or chance.random() < 0.5):
            hand.take(state.go_on())
            continue
        instance = chance.choice(sorted(hand.open))
        value = hand.open[instance].args[0]
        if instance.startswith("v"):
            said.append(value)
            assert sum(name.startswith("v") for name in hand.open) == 1
        hand.complete(instance, value)
    wanted = [x for x in range(length) if x > 4]
    assert hand.result() == wanted
    assert said == wanted


NESTED = """workflow @w(%xs: [Int]) -> [Int]
{
  %rows = map(%xs) { ^(%x: Int)
    %row = invoke @list(%x) $AT : [Int]
    %cells = map(%row) { ^(%c: Int)
      %v = invoke @f(%c) $AT : Int
      %s = add(%v, %x) : Int
      yield(%s)
    } : [Int]
    yield(%cells)
  } : [[Int]]
  %flat = flatten(%rows) : [Int]
  return(%flat)
}
"""


def test_nested_maps_name_their_instances_by_the_path_to_them() -> None:
    hand = Hand(state_of(NESTED), [100, 200])
    hand.complete("row[1]", [1, 2])
    assert hand.submitted[-2:] == ["v[1][0]", "v[1][1]"]
    hand.complete("row[0]", [])
    hand.complete("v[1][1]", 2)
    hand.complete("v[1][0]", 1)
    assert hand.result() == [201, 202]


# ---- failures

ONE = """workflow @w(%x: Int) -> Int
{
  %y = invoke @f(%x) $AT : Int
  return(%y)
}
"""


def test_no_more_than_a_tenth_of_the_calls_are_repeated() -> None:
    calls = 200
    limits = Limits(window=calls, policy=FailurePolicy(retry_floor=5))
    state = RunState(program_of(TWO_MAPS), limits)
    commands = state.start([list(range(calls))])
    repeated = 0
    for submit in [c for c in commands if isinstance(c, Submit)]:
        failed = Failed(submit.id, "busy", retryable=True, cause="status")
        (found,) = state.apply(failed) or (None,)
        if not isinstance(found, Retry):
            break
        repeated += 1
    assert repeated == calls // 10
    assert state.closing


def test_a_cause_that_the_policy_does_not_retry_fails_at_once() -> None:
    limits = Limits(policy=FailurePolicy(retry=("connection",)))
    state = RunState(program_of(ONE), limits)
    (first,) = state.start([1])
    assert isinstance(first, Submit)
    (retry,) = state.apply(Failed(first.id, "gone", retryable=True, cause="connection"))
    assert isinstance(retry, Retry)
    state.apply(Due(first.id))
    (end,) = state.apply(Failed(first.id, "busy", retryable=True, cause="status"))
    assert isinstance(end, Fail)


def test_a_retryable_failure_is_repeated_at_most_three_times() -> None:
    state = state_of(ONE)
    (first,) = state.start([1])
    assert isinstance(first, Submit)
    for attempt in (2, 3):
        (retry,) = state.apply(Failed(first.id, "busy", retryable=True))
        assert isinstance(retry, Retry)
        (again,) = state.apply(Due(first.id))
        assert isinstance(again, Submit)
        assert (again.instance, again.args, again.attempt) == ("y", (1,), attempt)
    (end,) = state.apply(Failed(first.id, "busy", retryable=True))
    assert isinstance(end, Fail)
    assert [(f.instance, f.message, f.attempts) for f in end.failures] == [("y", "busy", 3)]


@pytest.mark.parametrize(("idempotent", "repeated"), [((), False), (("x",), True)])
def test_an_effect_is_repeated_only_by_an_idempotent_executor(
    idempotent: tuple[str, ...], repeated: bool
) -> None:
    module = read_module(TASKS + ONE.replace("@f", "@say").replace("$AT", AT), "test.mkir")
    state = RunState(compile_program(module, idempotent), Limits())
    (call,) = state.start([1])
    assert isinstance(call, Submit)
    (command,) = state.apply(Failed(call.id, "busy", retryable=True))
    assert isinstance(command, Retry if repeated else Fail)


def test_after_a_failure_nothing_begins_and_the_end_waits_for_what_is_at_work() -> None:
    hand = Hand(state_of(TWO_MAPS), [1, 2])
    hand.take(hand.state.apply(Failed(hand.open.pop("y[0]").id, "no", retryable=False)))
    assert hand.end is None
    hand.complete("y[1]", 5)
    assert "v[1]" not in hand.submitted
    assert isinstance(hand.end, Fail)
    assert [f.instance for f in hand.end.failures] == ["y[0]"]


def test_an_interrupt_ends_without_a_failure() -> None:
    hand = Hand(state_of(TWO_MAPS), [1])
    hand.take(hand.state.apply(Interrupted()))
    hand.complete("y[0]", 5)
    assert hand.end == Fail((), interrupted=True)
    assert hand.submitted == ["y[0]"]


def test_a_division_by_zero_names_its_place() -> None:
    body = """workflow @w(%xs: [Int]) -> [Float]
{
  %r = map(%xs) { ^(%x: Int)
    %q = div(%x, %x) : Float loc("w.mkb":3:9:3:14)
    yield(%q)
  } : [Float]
  return(%r)
}
"""
    hand = Hand(state_of(body), [1, 0])
    assert isinstance(hand.end, Fail)
    (failure,) = hand.end.failures
    assert failure.instance == "w.mkb:3:9, iteration 1"
    assert failure.message == "cannot compute this: division by zero"


STREAMED = """workflow @w(%x: Int) -> [Int]
{
  %row = invoke @list(%x) $AT : [Int]
  %cells = map(%row) { ^(%c: Int)
    %v = invoke @f(%c) $AT : Int
    yield(%v)
  } : [Int]
  return(%cells)
}
"""


def test_a_list_that_a_map_reads_flows_on_while_it_is_made() -> None:
    (row, _) = program_of(STREAMED).steps
    assert row.streams
    hand = Hand(state_of(STREAMED), 7)
    hand.offer("row", 1, 2)
    assert hand.submitted == ["row", "v[0]", "v[1]"]
    hand.complete("v[1]", 20)
    hand.offer("row", 3)
    hand.complete("row", [1, 2, 3, 4])
    assert hand.submitted == ["row", "v[0]", "v[1]", "v[2]", "v[3]"]
    assert hand.open["v[3]"].args == (4,)
    for index in (3, 0, 2):
        hand.complete(f"v[{index}]", 10 * (index + 1))
    assert hand.result() == [10, 20, 30, 40]


def test_a_list_that_only_a_call_reads_is_handed_over_whole() -> None:
    body = """workflow @w(%x: Int) -> Int
{
  %row = invoke @list(%x) $AT : [Int]
  %all = invoke @total(%row) $AT : Int
  return(%all)
}
"""
    assert not any(step.streams for step in program_of(body).steps)


def test_a_list_is_streamed_through_a_branch_and_read_whole_beside() -> None:
    body = """workflow @w(%x: Int, %long: Bool) -> Int
{
  %some = if(%long) {
    %row = invoke @list(%x) $AT : [Int]
    yield(%row)
  } {
    %none = list() : [Int]
    yield(%none)
  } : [Int]
  %cells = map(%some) { ^(%c: Int)
    %v = invoke @f(%c) $AT : Int
    yield(%v)
  } : [Int]
  %all = invoke @total(%some) $AT : Int
  %more = invoke @total(%cells) $AT : Int
  %sum = add(%all, %more) : Int
  return(%sum)
}
"""
    hand = Hand(state_of(body), 7, True)
    hand.offer("row", 1)
    assert hand.submitted == ["row", "v[0]"]
    hand.complete("row", [1, 2])
    assert hand.open["all"].args == ([1, 2],)
    hand.complete("v[0]", 10)
    hand.complete("v[1]", 20)
    assert hand.open["more"].args == ([10, 20],)
    hand.complete("all", 3)
    hand.complete("more", 30)
    assert hand.result() == 33


def test_a_further_attempt_at_a_list_knows_what_was_handed_over() -> None:
    hand = Hand(state_of(STREAMED), 7)
    hand.offer("row", 1, 2)
    (retry,) = hand.state.apply(Failed(hand.open["row"].id, "cut off", True))
    assert isinstance(retry, Retry) and retry.submit.given == (1, 2)
    (again,) = hand.state.apply(Due(retry.id))
    assert again == retry.submit
    hand.offer("row", 3)
    (retry,) = hand.state.apply(Failed(hand.open["row"].id, "cut off", True))
    assert isinstance(retry, Retry) and retry.submit.given == (1, 2, 3)
    hand.take(hand.state.apply(Due(retry.id)))
    hand.complete("row", [1, 2, 3])
    for index in range(3):
        hand.complete(f"v[{index}]", index)
    assert hand.submitted.count("v[0]") == 1 and hand.result() == [0, 1, 2]


def test_items_that_come_while_a_run_ends_begin_nothing() -> None:
    hand = Hand(state_of(STREAMED), 7)
    hand.offer("row", 1)
    hand.take(hand.state.apply(Failed(hand.open.pop("v[0]").id, "no", False)))
    hand.offer("row", 2)
    assert hand.submitted == ["row", "v[0]"] and hand.end is None
    hand.complete("row", [1, 2])
    assert isinstance(hand.end, Fail)
