"""Urgency: the seconds of the longest path from a step to the result, against all paths."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.ir.reader import read_module
from murakkab.runtime.urgency import remaining_s

_TASKS = """module placed
task @one(%a: Int) -> Int
task @two(%a: Int, %b: Int) -> Int
engine @e
"""
_AT = "{engine = @e, executor = @x}"


def remaining(body: str, call_s: dict[str, float], head: str = "%x: Int") -> dict[str, float]:
    text = f"{_TASKS}workflow @w({head}) -> Int\n{{\n{body}\n}}\n".replace("$AT", _AT)
    return remaining_s(read_module(text, "test.mkir").sole(), call_s)


@given(st.randoms(use_true_random=False), st.integers(1, 8))
def test_it_is_the_longest_of_all_paths(chance: Random, number: int) -> None:
    names = [f"s{i}" for i in range(number)]
    call_s = {name: float(chance.randint(0, 9)) for name in names}
    reads = {
        name: [chance.choice(["x", *names[:i]]) for _ in range(chance.randint(1, 2))]
        for i, name in enumerate(names)
    }
    lines = [
        f"%{name} = invoke @{'one' if len(args) == 1 else 'two'}"
        f"({', '.join('%' + a for a in args)}) $AT : Int"
        for name, args in reads.items()
    ]
    result = chance.choice(names)

    def longest(name: str) -> float:
        """Try every path from here; what does not lead to the result delays nothing but itself."""
        following = [longest(user) for user in names if name in reads[user]]
        return call_s[name] + max(following, default=0.0)

    found = remaining("\n".join([*lines, f"return(%{result})"]), call_s)
    assert found == {name: longest(name) for name in names}


def test_steps_of_an_iteration_have_before_them_what_follows_the_loop() -> None:
    body = """
  %before = invoke @one(%x) $AT : Int
  %out = map(%xs) { ^(%item: Int)
    %inner = invoke @two(%item, %before) $AT : Int
    %last = invoke @one(%inner) $AT : Int
    yield(%last)
  } : [Int]
  %size = len(%out) : Int
  %after = invoke @one(%size) $AT : Int
  return(%after)"""
    call_s = {"before": 1.0, "inner": 2.0, "last": 4.0, "after": 8.0}
    found = remaining(body, call_s, "%x: Int, %xs: [Int]")
    assert found == {"before": 15.0, "inner": 14.0, "last": 12.0, "after": 8.0}


def test_what_makes_a_list_has_the_whole_iteration_before_it() -> None:
    body = """
  %first = map(%xs) { ^(%i: Int)
    %a = invoke @one(%i) $AT : Int
    yield(%a)
  } : [Int]
  %second = map(%first) { ^(%j: Int)
    %b = invoke @one(%j) $AT : Int
    yield(%b)
  } : [Int]
  %size = len(%second) : Int
  return(%size)"""
    assert remaining(body, {"a": 1.0, "b": 5.0}, "%xs: [Int]") == {"a": 6.0, "b": 5.0}


@pytest.mark.parametrize(("long", "short"), [("left", "right"), ("right", "left")])
def test_a_condition_waits_for_the_longer_side(long: str, short: str) -> None:
    body = """
  %asked = invoke @one(%x) $AT : Int
  %zero = const() {value = 0} : Int
  %some = gt(%asked, %zero) : Bool
  %out = if(%some) {
    %left = invoke @one(%x) $AT : Int
    yield(%left)
  } {
    %right = invoke @one(%x) $AT : Int
    yield(%right)
  } : Int
  return(%out)"""
    found = remaining(body, {"asked": 1.0, long: 5.0, short: 2.0})
    assert found == {"asked": 6.0, long: 5.0, short: 2.0}


def test_a_step_of_unknown_time_takes_none() -> None:
    assert remaining("%a = invoke @one(%x) $AT : Int\nreturn(%a)", {}) == {"a": 0.0}
