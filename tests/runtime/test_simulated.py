"""Simulated runs: the times are those a hand computes, from the same state machine and dispatch."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from murakkab.runtime.clock import VirtualClock
from murakkab.runtime.messages import Submit
from murakkab.runtime.program import compile_program
from murakkab.runtime.record import load_record
from murakkab.runtime.simulated import SimulatedWorker, simulate_plan

from .conftest import MakePlan

PIPELINE = """module placed
task @items(%x: Int) -> [Int]
task @f(%x: Int) -> Int
task @g(%x: Int) -> Text
task @all(%xs: [Text]) -> Text
engine @split
engine @one
engine @two
engine @end
workflow @w(%x: Int) -> Text
{
  %xs = invoke @items(%x) {engine = @split, executor = @s} : [Int]
  %texts = map(%xs) { ^(%i: Int)
    %y = invoke @f(%i) {engine = @one, executor = @f} : Int
    %z = invoke @g(%y) {engine = @two, executor = @g} : Text
    yield(%z)
  } : [Text]
  %out = invoke @all(%texts) {engine = @end, executor = @h} : Text
  return(%out)
}
"""
CALL_S = {"xs": 5.0, "y": 2.0, "z": 3.0, "out": 1.0}


@pytest.mark.parametrize(
    ("concurrency", "makespan_s"),
    [
        # 4 items, one at a time on each engine: the first leaves `one` after 2 s, then `two` is
        # never idle: 5 + 2 + 4 * 3 + 1
        (1, 20.0),
        # two at a time: at 7 and 9 two each leave `one`; `two` works 7-10 and 10-13
        (2, 14.0),
        (8, 11.0),  # no item waits: 5 + 2 + 3 + 1
    ],
)
def test_the_makespan_is_the_one_computed_by_hand(
    make_plan: MakePlan, concurrency: int, makespan_s: float
) -> None:
    plan = make_plan(
        PIPELINE, concurrency=concurrency, call_s=CALL_S, items={"xs": 4.0}, runner="vllm"
    )
    done = asyncio.run(simulate_plan(plan))
    assert done.record.document["totals"]["measured"]["latency_s"] == pytest.approx(makespan_s)
    assert done.record.document["totals"]["measured"]["cpu_energy_j"] is None


def test_a_step_is_recorded_from_its_first_call_to_its_last(make_plan: MakePlan) -> None:
    plan = make_plan(PIPELINE, concurrency=1, call_s=CALL_S, items={"xs": 4.0})
    steps = asyncio.run(simulate_plan(plan)).record.document["steps"]
    found = {s["step"]: (s["calls"], s["start_s"], s["end_s"], s["busy_s"]) for s in steps}
    assert found == {
        "xs": (1, 0.0, 5.0, 5.0),
        "y": (4, 5.0, 13.0, 8.0),
        "z": (4, 7.0, 19.0, 12.0),
        "out": (1, 19.0, 20.0, 1.0),
    }


def test_an_engine_that_is_started_during_the_run_takes_calls_when_it_is_up(
    make_plan: MakePlan,
) -> None:
    plan = make_plan(PIPELINE, concurrency=8, call_s=CALL_S, items={"xs": 4.0})
    engines = tuple(
        replace(e, start_s=6.0, startup_s=10.0, prestarted=False) if e.name == "two" else e
        for e in plan.engines
    )
    done = asyncio.run(simulate_plan(replace(plan, engines=engines)))
    # `two` is up at 16 s: 16 + 3 + 1
    assert done.record.document["totals"]["measured"]["latency_s"] == pytest.approx(20.0)


def test_a_simulation_is_recorded_like_a_run_and_the_same_every_time(
    make_plan: MakePlan, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plan = make_plan(PIPELINE, concurrency=2, call_s=CALL_S, items={"xs": 6.0})
    seen = []
    for name in ("first", "second"):
        path = tmp_path_factory.mktemp(name) / "run.json"
        asyncio.run(simulate_plan(plan, {"x": 3}, record=path))
        record = load_record(path)
        seen.append(list(record.calls()))
    assert seen[0] == seen[1]
    assert len(seen[0]) == 14


def test_chains_are_predicted_as_their_steps_one_by_one(make_plan: MakePlan) -> None:
    marked = PIPELINE.replace("engine = @one,", "chain = 1, engine = @one,")
    marked = marked.replace("engine = @two,", "chain = 1, engine = @two,")
    plan = make_plan(marked, concurrency=1, call_s=CALL_S, items={"xs": 4.0}, runner="vllm")
    measured = asyncio.run(simulate_plan(plan)).record.document["totals"]["measured"]
    assert measured["latency_s"] == pytest.approx(20.0)  # the one computed by hand above


def test_made_up_lists_are_as_long_as_the_workflow_expects(make_plan: MakePlan) -> None:
    text = """module placed
task @f(%x: Int) -> Int
engine @one
workflow @w(%xs: [Int], %ys: [Int]) -> [Int]
expect "len(xs)" = 4
{
  %r = map(%xs) { ^(%x: Int)
    %y = invoke @f(%x) {engine = @one, executor = @f} : Int
    yield(%y)
  } : [Int]
  return(%r)
}
"""
    done = asyncio.run(simulate_plan(make_plan(text, runner="vllm")))
    assert len(done.value) == 4
    assert len(done.record.document["inputs"]["ys"]["value"]) == 1


def test_a_call_given_up_in_the_moment_of_its_end_does_not_stop_the_clock(
    make_plan: MakePlan,
) -> None:
    plan = make_plan(PIPELINE, call_s=CALL_S)
    step = next(s for s in compile_program(plan.module()).steps if s.name == "xs")

    async def main() -> float:
        clock = VirtualClock()
        worker = SimulatedWorker(plan.engines[0], {s.step: s for s in plan.steps}, clock)
        ended = asyncio.get_running_loop().create_future()

        def give_up() -> None:
            call.cancel()

        clock.later(5.0, give_up)
        call = worker.submit(Submit(1, "xs", step, (0,), 1))
        clock.later(6.0, lambda: ended.set_result(clock.now()))
        async with asyncio.timeout(10.0):
            return float(await ended)

    assert asyncio.run(main()) == 6.0
