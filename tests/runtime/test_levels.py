"""The levels mean the same when they run: plans of `-O0` and `-O2` under the whole driver.

Every call is answered by the reference interpreter's own table of values, after a while that is
drawn by chance, on a clock that jumps: steps overtake each other as they do on real engines.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from murakkab.ir.ops import Op, Region
from murakkab.ir.printer import print_module
from murakkab.ir.workflow import Module
from murakkab.passes.pipeline import LEVELS
from murakkab.runtime.clock import VirtualClock
from murakkab.runtime.driver import run_plan
from murakkab.runtime.errors import CallFailed, RunError
from murakkab.runtime.messages import Submit
from murakkab.runtime.worker import Offer, Seats
from murakkab.targets.library import Executor, Library
from murakkab.targets.lower import lower
from murakkab.targets.plan import EnginePlan, Plan
from murakkab.targets.sim import TARGET

from ..passes.compiling import AHEAD, UNORDERED, compiled, inputs, machine, runs_ahead, workflows
from ..passes.interpreter import Fails, Trace, attempt, make, wording
from ..passes.properties import failing, same


class ReferenceWorker:
    """Answers as the reference interpreter does, after 0 to 3 seconds of virtual time."""

    def __init__(self, trace: Trace, fails: Fails, clock: VirtualClock, chance: Random) -> None:
        self._trace = trace
        self._fails = fails
        self._clock = clock
        self._chance = chance
        self._at_work: set[asyncio.Future[Any]] = set()

    @property
    def seats(self) -> Seats | None:
        return None

    async def start(self) -> None:
        """There is nothing to start."""

    def submit(self, call: Submit, offer: Offer | None = None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._at_work.add(future)
        future.add_done_callback(self._at_work.discard)
        timer = self._clock.later(self._chance.randrange(4), lambda: self._end(call, future))
        future.add_done_callback(lambda _: timer.cancel())
        return future

    def _end(self, call: Submit, future: asyncio.Future[Any]) -> None:
        if future.done():
            return  # given up in the moment in which it would have ended
        task, trace = call.step.task, self._trace
        key = wording(task, call.args)
        if self._fails(key):
            future.set_exception(CallFailed(f"{key} fails"))
            return
        if task.effect:
            trace.effects.append((task.name, repr(list(call.args))))
            key += str(len(trace.effects))
        else:
            trace.calls[task.name] += 1
            trace.made[key] += 1
        future.set_result(make(task.result, key))

    def health(self) -> str | None:
        return None

    def retire(self) -> None:
        """Nothing is held."""

    async def drain(self) -> None:
        if self._at_work:
            await asyncio.wait(set(self._at_work))

    async def stop(self) -> None:
        for future in list(self._at_work):
            future.cancel()


def planned(flow: Module, pipeline: str) -> Plan:
    """Return the plan that a pipeline makes of a workflow."""
    context = machine()
    return lower(
        compiled(flow, pipeline),
        TARGET,
        context.cluster,
        flow=flow,
        pipeline=pipeline,
        baseline=None,
        alternatives={},
        digests={},
        notes=(),
    )


def carried_out(plan: Plan, inputs: dict[str, object], fails: Fails, seed: int) -> Trace:
    """Run a plan in the order of completion that a seed draws."""
    trace, clock, chance = Trace(), VirtualClock(), Random(seed)

    def worker(engine: EnginePlan, executor: Executor | None) -> ReferenceWorker:
        return ReferenceWorker(trace, fails, clock, chance)

    running = run_plan(
        plan, inputs, library=Library((), ""), workers={"python": worker}, clock=clock
    )
    try:
        trace.result = asyncio.run(running).value
    except RunError as error:
        trace.failure = str(error)
    return trace


def settled(region: Region) -> Region:
    """Return a region without samples, which depend on the order that calls are made in."""

    def plain(op: Op) -> Op:
        attrs = tuple((name, value) for name, value in op.attrs if name != "sampled")
        return replace(op, attrs=attrs, regions=tuple(map(settled, op.regions)))

    return replace(region, ops=tuple(map(plain, region.ops)))


@settings(
    deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(workflows(), inputs, st.none() | st.integers(0, 2**16), st.integers(0, 2**16))
def test_plans_of_all_levels_do_what_was_written(
    module: Module, given: dict[str, object], failure: int | None, order: int
) -> None:
    workflow = module.sole()
    flow = module.with_workflow(replace(workflow, body=settled(workflow.body)))
    note(print_module(flow, brief=True))
    fails = failing(failure)
    expected = attempt(flow, given, fails)
    plain = carried_out(planned(flow, LEVELS[0]), given, fails, order)
    same(expected, plain)
    if expected.failure is None:
        assert plain.made == expected.made
    for pipeline in (UNORDERED, AHEAD):
        optimised = planned(flow, pipeline)
        note(optimised.ir)
        found = carried_out(optimised, given, fails, order + 1)
        same(expected, found)
        if expected.failure is None and not runs_ahead(optimised.module()):
            assert found.made <= expected.made
