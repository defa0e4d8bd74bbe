"""A plan on virtual time: the same state machine and dispatch, workers that only let time pass."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..ir.workflow import Workflow
from ..targets.library import Executor, Library
from ..targets.plan import EnginePlan, Plan, StepPlan
from .clock import Clock, VirtualClock
from .driver import RunResult, run_plan
from .messages import Submit
from .progress import OnEvent
from .spending import UNBOUNDED, Bounds
from .synthetic import plain_value
from .worker import Offer, Seats


class SimulatedWorker:
    """Takes, for every call, the seconds the plan predicts at p50, and returns a made-up value.

    The value is of the task's type; a list has the length the plan expects. An engine that the
    plan starts during the run takes no call before it is up.
    """

    def __init__(self, engine: EnginePlan, steps: Mapping[str, StepPlan], clock: Clock) -> None:
        """Take the plan's steps by name, and the clock the whole simulation shares."""
        late = engine.start_s > 0.0 and engine.late_s > 0.0
        self._up_s = clock.now() + (engine.start_s + engine.late_s if late else 0.0)
        self._steps = steps
        self._clock = clock
        self._in_flight: set[asyncio.Future[Any]] = set()

    @property
    def seats(self) -> Seats | None:
        """Simulated engines share nothing."""
        return None

    async def start(self) -> None:
        """Nothing takes time before the first call: predictions count from running engines."""

    def submit(self, call: Submit, offer: Offer | None = None) -> asyncio.Future[Any]:
        """Set a timer for the end of the call."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._in_flight.add(future)
        future.add_done_callback(self._in_flight.discard)
        step = self._steps[call.step.name]
        wait_s = max(self._up_s - self._clock.now(), 0.0)
        timer = self._clock.later(
            wait_s + step.call_s["p50"], lambda: self._end(step, call, future)
        )
        future.add_done_callback(lambda done: timer.cancel())
        return future

    def _end(self, step: StepPlan, call: Submit, future: asyncio.Future[Any]) -> None:
        if future.done():
            return  # given up in the moment in which it would have ended
        length = 1 if step.items is None else round(step.items)
        future.set_result(plain_value(call.step.task.result, length))

    def health(self) -> str | None:
        """Nothing breaks in a simulation."""
        return None

    def retire(self) -> None:
        """Nothing is held that another engine waits for."""

    async def drain(self) -> None:
        """Wait for the calls at work."""
        if self._in_flight:
            await asyncio.wait(set(self._in_flight))

    async def stop(self) -> None:
        """Forget the calls at work."""
        for future in list(self._in_flight):
            future.cancel()


async def simulate_plan(
    plan: Plan,
    inputs: Mapping[str, Any] | None = None,
    *,
    record: Path | None = None,
    on_event: OnEvent | None = None,
    bounds: Bounds = UNBOUNDED,
) -> RunResult:
    """Run a plan for any cluster on virtual time; the record's times are the simulation's.

    Inputs are made up where none are given. Raises what `run_plan` raises.
    """
    clock = VirtualClock()
    steps = {step.step: step for step in plan.steps}

    def worker(engine: EnginePlan, executor: Executor | None) -> SimulatedWorker:
        return SimulatedWorker(engine, steps, clock)

    if inputs is None:
        inputs = _made_up(plan.module().sole())
    return await run_plan(
        plan,
        inputs,
        library=Library((), ""),
        record=record,
        on_event=on_event,
        workers={engine.runner: worker for engine in plan.engines},
        clock=clock,
        bounds=bounds,
    )


def _made_up(workflow: Workflow) -> dict[str, Any]:
    """Return inputs of the workflow's types; lists are as long as it expects, or hold one item."""
    facts = {expectation.fact: expectation.value for expectation in workflow.expectations}
    return {
        param.name: plain_value(param.type, round(facts.get(f"len({param.name})", 1)))
        for param in workflow.params
    }
