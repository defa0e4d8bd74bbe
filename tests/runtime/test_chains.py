"""Chains of Python tools: the value between two steps stays in the process that made it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from murakkab.runtime.driver import RunResult, run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.progress import RunEvent
from murakkab.runtime.record import load_record
from murakkab.targets.library import Library
from murakkab.targets.plan import Plan

from .conftest import MakeLibrary, MakePlan

TEXT = """module placed
task @make(%x: Int) -> [Int]
task @change(%xs: [Int], %by: Int) -> [Int]
task @tell(%xs: [Int]) -> [Int]
engine @a
engine @b
engine @c
workflow @w(%xs: [Int]) -> [[Int]]
{
  %done = map(%xs) { ^(%x: Int)
    %m = invoke @make(%x) {chain = 1, engine = @a, executor = @make} : [Int]
    %h = invoke @change(%m, %x) {chain = 1, engine = @b, executor = @change} : [Int]
    %t = invoke @tell(%h) {chain = 1, engine = @c, executor = @tell} : [Int]
    yield(%t)
  } : [[Int]]
  return(%done)
}
"""
UNMARKED = TEXT.replace("chain = 1, ", "")
# `kept` leaves a value where the next function can see whether it is given that very object; each
# function has a module of its own, but `sys` is one for all.
KEPT = """
import os, sys, time
from pathlib import Path
from murakkab.runtime.executors.errors import ExecutorError
def kept(value):
    sys.kept = value
    return value
def is_kept(value):
    return int(value is getattr(sys, "kept", None))
"""
SAME = f"""{KEPT}
def make(x):
    return kept([x])
def change(xs, by):
    same = is_kept(xs)
    xs.append(-1)  # too late to be seen in what `make` has returned
    return kept([*xs, by, same])
def tell(xs):
    return [*xs, is_kept(xs)]
"""
TOOLS = ("make", "change", "tell")
STAYED, TRAVELLED = [7, -1, 7, 1, 1], [7, -1, 7, 0, 0]


def in_children(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: {"pooling": "process", **changes.get(name, {})} for name in TOOLS}


def carried_out(plan: Plan, library: Library, xs: list[int], **options: Any) -> RunResult:
    return asyncio.run(run_plan(plan, {"xs": xs}, library=library, **options))


def test_each_step_is_given_the_object_that_the_one_before_returned(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    library = make_library(SAME, **in_children())
    assert carried_out(make_plan(TEXT), library, [7]).value == [STAYED]
    assert carried_out(make_plan(UNMARKED), library, [7]).value == [TRAVELLED]


def test_chains_of_many_items_keep_apart_and_to_their_processes(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    library = make_library(SAME, **in_children())
    done = carried_out(make_plan(TEXT, concurrency=2), library, list(range(200)))
    # a step that ends frees the lane that the next one needs, so none has to go elsewhere
    assert done.value == [[x, -1, x, 1, 1] for x in range(200)]


def test_a_marked_run_is_recorded_as_an_unmarked_one(
    make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path
) -> None:
    library = make_library(SAME.replace("is_kept(xs)", "0"), **in_children())
    kept = []
    for name, text in (("marked", TEXT), ("unmarked", UNMARKED)):
        path = tmp_path / name / "run.json"
        done = carried_out(make_plan(text), library, [1, 2, 3], record=path)
        calls = sorted(load_record(path).calls(), key=lambda call: str(call["instance"]))
        steps = [(s["calls"], s["attempts"], s["items"]) for s in done.record.document["steps"]]
        kept.append(([(c["instance"], c["engine"], c["result"]) for c in calls], steps))
        for x in range(3):
            m, h, t = (next(c for c in calls if c["instance"] == f"{s}[{x}]") for s in "mht")
            assert m["result"]["value"] == [x + 1]
            assert m["start_s"] <= m["end_s"] <= h["start_s"] <= h["end_s"] <= t["start_s"]
    assert kept[0] == kept[1]


def test_processes_of_other_numbers_of_cores_are_not_joined(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    library = make_library(SAME, **in_children(tell={"cores": 2}))
    assert carried_out(make_plan(TEXT), library, [7]).value == [[7, -1, 7, 1, 0]]


def test_a_step_in_a_thread_takes_the_value_from_here(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    library = make_library(SAME, **in_children(change={"pooling": "thread"}))
    assert carried_out(make_plan(TEXT), library, [7]).value == [TRAVELLED]


FAILING = SAME.replace("    xs.append(-1)", "    fail()\n    xs.append(-1)")


def test_a_failure_in_the_middle_leaves_what_was_before_it_done(
    make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path
) -> None:
    code = FAILING + "def fail():\n    raise ValueError('broken')\n"
    path = tmp_path / "run.json"
    with pytest.raises(RunError) as caught:
        library = make_library(code, **in_children())
        carried_out(make_plan(TEXT), library, [7], record=path)
    assert [(f.instance, f.attempts) for f in caught.value.failures] == [("h[0]", 1)]
    steps = load_record(path).document["steps"]
    assert [(s["calls"], s["failed"]) for s in steps] == [(1, 0), (1, 1), (0, 0)]


def test_a_crash_in_the_middle_is_the_failure_of_the_step_that_was_running(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    with pytest.raises(RunError) as caught:
        library = make_library(FAILING + "def fail():\n    os._exit(7)\n", **in_children())
        carried_out(make_plan(TEXT), library, [7])
    (failure,) = caught.value.failures
    assert failure.instance == "h[0]" and "exit code 7" in failure.reason


def test_a_repetition_goes_alone_and_the_chain_goes_on_from_it(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    code = (
        FAILING + "def fail():\n    mark = Path(__file__).with_name('tried')\n"
        "    if not mark.exists():\n        mark.touch()\n"
        "        raise ExecutorError('busy', retryable=True)\n"
    )
    events: list[RunEvent] = []
    library = make_library(code, **in_children())
    done = carried_out(make_plan(TEXT), library, [7], on_event=events.append)
    assert done.value == [[7, -1, 7, 0, 1]]
    assert [(e.instance, e.kind) for e in events] == [
        *(("m[0]", "started"), ("m[0]", "completed")),
        *(("h[0]", "started"), ("h[0]", "retried"), ("h[0]", "started"), ("h[0]", "completed")),
        *(("t[0]", "started"), ("t[0]", "completed")),
    ]


def test_a_value_of_the_wrong_type_does_not_reach_the_next_step(
    make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path
) -> None:
    code = FAILING.replace("kept([x])", "kept(['x'])")
    code += "def fail():\n    Path(__file__).with_name('reached').touch()\n"
    with pytest.raises(RunError, match="wrong type"):
        carried_out(make_plan(TEXT), make_library(code, **in_children()), [7])
    assert not (tmp_path / "reached").exists()


def test_a_time_out_is_that_of_the_step_that_took_too_long(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    code = FAILING + "def fail():\n    time.sleep(60)\n"
    text = TEXT.replace(
        "by: Int) -> [Int]", "by: Int) -> [Int] {effect}"
    )  # so that it is tried once
    library = make_library(code, **in_children(change={"settings": (("timeout_s", 0.5),)}))
    with pytest.raises(RunError) as caught:
        carried_out(make_plan(text), library, [7])
    (failure,) = caught.value.failures
    assert (failure.instance, failure.reason) == ("h[0]", "timed out after 0.5 s")


LATE = """module placed
task @make(%x: Int) -> [Int]
task @change(%xs: [Int], %by: Int) -> [Int]
task @tell(%xs: [Int]) -> [Int]
task @slow(%x: Int) -> Int
engine @a
engine @b
engine @c
engine @d
workflow @w(%xs: [Int]) -> [[Int]]
{
  %done = map(%xs) { ^(%x: Int)
    %s = invoke @slow(%x) {engine = @d, executor = @slow} : Int
    %m = invoke @make(%x) {chain = 1, engine = @a, executor = @make} : [Int]
    %h = invoke @change(%m, %s) {chain = 1, engine = @b, executor = @change} : [Int]
    %t = invoke @tell(%h) {chain = 1, engine = @c, executor = @tell} : [Int]
    yield(%t)
  } : [[Int]]
  return(%done)
}
"""


def test_a_step_whose_other_argument_is_late_takes_the_value_from_here(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    code = SAME + "def slow(x):\n    time.sleep(0.3)\n    return x\n"
    library = make_library(code, **in_children(), slow={"pooling": "thread"})
    assert carried_out(make_plan(LATE), library, [7]).value == [[7, -1, 7, 0, 1]]


def test_an_engine_takes_no_more_calls_than_planned_of_a_chain_either(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    code = FAILING + "def fail():\n    time.sleep(0.02)\n"
    running: set[str] = set()
    most = 0

    def see(event: RunEvent) -> None:
        nonlocal most
        if event.step != "h":
            return
        (running.add if event.kind == "started" else running.discard)(event.instance)
        most = max(most, len(running))

    plan = make_plan(TEXT, concurrency=3)
    engines = {engine.name: engine for engine in plan.engines}
    narrow = (engines["a"], replace(engines["b"], concurrency=1), engines["c"])
    library = make_library(code, **in_children())
    done = carried_out(replace(plan, engines=narrow), library, list(range(12)), on_event=see)
    assert [value[0] for value in done.value] == list(range(12))
    assert most == 1


POOLINGS: tuple[dict[str, Any], ...] = (
    {"pooling": "process"},
    {"pooling": "process", "cores": 2},
    {"pooling": "thread"},
)
MIX = """def {tool}(a, b):
    return [(31 * sum(a) + 17 * sum(b) + {number}) % 1009]
"""


def drawn(chance: Random, tools: list[str]) -> str:
    """Return a workflow of calls that are marked at random, several readers of a value included."""
    values, calls, used = ["x"], [], set()
    for number in range(12):
        tool = chance.choice(tools)
        used.add(tool)
        operands = f"%{chance.choice(values[-3:])}, %{chance.choice(values)}"
        mark = f"chain = {chance.randrange(1, 3)}, " if chance.random() < 0.8 else ""
        attrs = f"{{{mark}engine = @{tool}, executor = @{tool}}}"
        values.append(f"v{number}")
        calls.append(f"    %v{number} = invoke @{tool}({operands}) {attrs} : [Int]\n")
    head = "".join(f"task @{tool}(%a: [Int], %b: [Int]) -> [Int]\n" for tool in sorted(used))
    head += "".join(f"engine @{tool}\n" for tool in sorted(used))
    return (
        f"module placed\n{head}workflow @w(%xs: [[Int]]) -> [[Int]]\n{{\n"
        f"  %done = map(%xs) {{ ^(%x: [Int])\n{''.join(calls)}    yield(%{values[-1]})\n"
        "  } : [[Int]]\n  return(%done)\n}\n"
    )


@pytest.mark.parametrize("seed", range(4))
def test_marks_wherever_they_stand_change_no_result(
    make_plan: MakePlan, make_library: MakeLibrary, seed: int
) -> None:
    chance = Random(seed)
    tools = [f"f{number}" for number in range(5)]
    text = drawn(chance, tools)
    code = "".join(MIX.format(tool=tool, number=number) for number, tool in enumerate(tools))
    library = make_library(code, **{tool: chance.choice(POOLINGS) for tool in tools})
    inputs = {"xs": [[x] for x in range(20)]}
    marked = asyncio.run(run_plan(make_plan(text), inputs, library=library))
    bare = make_plan(text.replace("chain = 1, ", "").replace("chain = 2, ", ""))
    assert marked.value == asyncio.run(run_plan(bare, inputs, library=library)).value
    assert len({tuple(value) for value in marked.value}) > 1
