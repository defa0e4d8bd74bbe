"""The state machine hands a result on item by item: in order, and with few items waiting."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.ir.reader import read_module
from murakkab.runtime.attempts import Limits
from murakkab.runtime.messages import Completed, Fail, Failed, Finish, HandOn, NotTaken, Submit
from murakkab.runtime.program import compile_program
from murakkab.runtime.state import RunState

from .test_state import AT, TASKS

WINDOW = 4
MAP = """%{0} = map(%{1}) {{ ^(%i{0}: Int)
    %y{0} = invoke @f(%i{0}) $AT : Int
    yield(%y{0})
  }} : [Int]"""
EFFECT = MAP.replace("@f", "@say")
FILTER = """%{0} = filter(%{1}) {{ ^(%i{0}: Int)
    %y{0} = invoke @f(%i{0}) $AT : Int
    %two{0} = const() {{value = 2}} : Int
    %big{0} = gt(%y{0}, %two{0}) : Bool
    yield(%big{0})
  }} : [Int]"""
EITHER = """%{0} = if(%p) {{
    %a{0} = map(%{1}) {{ ^(%i{0}: Int)
      %y{0} = invoke @f(%i{0}) $AT : Int
      yield(%y{0})
    }} : [Int]
    yield(%a{0})
  }} {{
    yield(%{1})
  }} : [Int]"""
CALL = "%{0} = invoke @list(%n) $AT : [Int]"
FORMS = {"map": MAP, "filter": FILTER, "effect": EFFECT, "if": EITHER, "call": CALL}


def state_of(*forms: str, keep_going: bool = False) -> RunState:
    """Return a run of lists, each made of the one before in one of the `FORMS`."""
    names = ["xs", *"abcd"]
    ops = [FORMS[form].format(names[n + 1], names[n]) for n, form in enumerate(forms)]
    text = (
        "workflow @w(%xs: [Int], %p: Bool, %n: Int) -> [Int]\n{\n  "
        + "\n  ".join([*ops, f"return(%{names[len(forms)]})"])
        + "\n}\n"
    )
    module = read_module(TASKS + text.replace("$AT", AT), "test.mkir")
    limits = Limits(window=WINDOW, keep_going=keep_going)
    return RunState(compile_program(module, handed_on=True), limits)


class Taker:
    """Completes steps on demand, each with its argument plus 1, and takes what is handed on."""

    def __init__(self, state: RunState, items: list[int], p: bool = True) -> None:
        self.state = state
        self.taken: list[Any] = []
        self.open: dict[str, Submit] = {}
        self.submitted = 0
        self.end: Finish | Fail | None = None
        self.take(state.start((items, p, 3)))

    def take(self, commands: list[Any]) -> None:
        for command in commands:
            if isinstance(command, Submit):
                self.submitted += 1
                self.open[command.instance] = command
            elif isinstance(command, HandOn):
                assert self.end is None
                self.taken += command.items
            elif isinstance(command, (Finish, Fail)):
                self.end = command

    def complete(self, instance: str) -> None:
        call = self.open.pop(instance)
        made: Any = call.args[0] + 1
        if call.step.task.name == "list":
            made = list(range(made))
        self.take(self.state.apply(Completed(call.id, made)))

    def fail(self, instance: str) -> None:
        call = self.open.pop(instance)
        self.take(self.state.apply(Failed(call.id, "no", retryable=False)))


def expected(forms: list[str], items: list[int], p: bool) -> list[int]:
    for form in forms:
        if form == "filter":
            items = [item for item in items if item + 1 > 2]
        elif form == "call":
            items = list(range(4))
        elif form != "if" or p:
            items = [item + 1 for item in items]
    return items


@given(
    st.lists(st.sampled_from(sorted(FORMS)), min_size=0, max_size=4),
    st.lists(st.integers(0, 3), max_size=30),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_whatever_ends_first_the_result_comes_in_order(
    forms: list[str], items: list[int], p: bool, chance: Any
) -> None:
    hand = Taker(state_of(*forms), items, p)
    while hand.end is None:
        hand.complete(chance.choice(sorted(hand.open)))
        assert hand.taken == expected(forms, items, p)[: len(hand.taken)]
    assert isinstance(hand.end, Finish)
    assert hand.taken == expected(forms, items, p)


@pytest.mark.parametrize("forms", [("map",), ("effect",), ("map", "map"), ("filter", "map")])
def test_an_item_that_takes_long_holds_back_those_behind_it(forms: tuple[str, ...]) -> None:
    hand = Taker(state_of(*forms), list(range(2, 202)))
    slow = next(iter(hand.open))
    while others := [name for name in hand.open if name != slow]:
        hand.complete(others[0])
    assert not hand.taken
    assert hand.submitted <= 4 * WINDOW * len(forms)
    while hand.end is None:
        hand.complete(next(iter(hand.open)))
    assert len(hand.taken) == 200


def test_nothing_of_a_long_list_is_kept() -> None:
    state = state_of("map")
    hand = Taker(state, list(range(50)))
    while hand.end is None:
        hand.complete(next(iter(hand.open)))
    assert state.result is None and hand.end == Finish(None)


@given(st.sets(st.integers(0, 19)), st.randoms(use_true_random=False))
def test_items_that_are_left_out_leave_no_gap(failing: set[int], chance: Any) -> None:
    hand = Taker(state_of("map", "map", keep_going=True), list(range(20)))
    while hand.end is None:
        name = chance.choice(sorted(hand.open))
        if name.startswith("yb") and hand.open[name].args[0] - 1 in failing:
            hand.fail(name)
        else:
            hand.complete(name)
    assert hand.taken == [item + 2 for item in range(20) if item not in failing]
    assert isinstance(hand.end, Finish) and hand.end.lost_items == len(failing)


def test_a_result_that_cannot_be_taken_ends_the_run() -> None:
    hand = Taker(state_of("map"), list(range(50)))
    hand.complete("ya[0]")
    hand.take(hand.state.apply(NotTaken("`out`", "no space", "make room")))
    begun = hand.submitted
    while hand.open:
        hand.complete(next(iter(hand.open)))
    assert hand.submitted == begun
    assert isinstance(hand.end, Fail)
    (failure,) = hand.end.failures
    assert (failure.instance, failure.message, failure.help) == ("`out`", "no space", "make room")
