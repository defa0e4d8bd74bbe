"""The worker of `python` executors: calls in threads or in child processes, as they declare."""

from __future__ import annotations

import asyncio
from typing import Any

from ..targets.library import Executor
from ..targets.plan import EnginePlan
from .calling import KEY, PythonFunction
from .entries import source_of
from .lane_pool import LanePool
from .lanes import Job
from .messages import Submit
from .worker import Offer, Seats


class LanePools:
    """The lane pools of one run: one of child processes for each number of cores."""

    def __init__(self) -> None:
        """Hold none yet."""
        self._children: dict[int, LanePool] = {}

    def worker(self, engine: EnginePlan, executor: Executor | None) -> PythonWorker:
        """Return the worker of an engine; its executor was found before."""
        assert executor is not None
        pool = LanePool(None)
        if executor.pooling == "process":
            pool = self._children.setdefault(executor.cores, LanePool(executor.cores))
        return PythonWorker(engine, executor, pool)


class PythonWorker:
    """Runs a library's Python function on a pool of lanes.

    Executors that declare `process` share the run's child processes: as many as the widest of
    their engines has calls in flight, so a plan that fits the cores keeps to them.
    """

    def __init__(self, engine: EnginePlan, executor: Executor, pool: LanePool) -> None:
        """Prepare; nothing runs before `start`."""
        self._function = PythonFunction(source_of(executor))
        self._settings = dict(executor.settings)
        self._pool = pool
        self._in_flight: set[asyncio.Future[Any]] = set()
        pool.enlist(self._function.source, executor.requires, engine.concurrency)

    @property
    def seats(self) -> Seats:
        """The pool's lanes: a call that has begun has one."""
        return self._pool.seats

    async def start(self) -> None:
        """Return when the pool is ready."""
        await self._pool.start()

    def submit(self, call: Submit, offer: Offer | None = None) -> asyncio.Future[Any]:
        """Queue a call for the next free lane."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._in_flight.add(future)
        future.add_done_callback(self._in_flight.discard)
        arguments = dict(zip(call.step.params, call.args, strict=True))
        knobs = {**self._settings, **call.step.knobs}
        if call.key:
            knobs.setdefault(KEY, call.key)
        step, fed = call.step, call.step.fed
        if fed is not None:
            fed = fed._replace(call=fed.call + call.instance.removeprefix(step.name))
        self._pool.submit(
            Job(
                call.instance,
                self._function,
                arguments,
                knobs,
                future,
                fed=fed,
                feeds=step.feeds,
            )
        )
        return future

    def health(self) -> str | None:
        """A pool mends itself: every crash is the failure of one call."""
        return None

    def retire(self) -> None:
        """Keep the pool: others may use it."""

    async def drain(self) -> None:
        """Wait for the calls at work."""
        if self._in_flight:
            await asyncio.wait(set(self._in_flight))

    async def stop(self) -> None:
        """Give up the calls at work and end the pool."""
        for future in list(self._in_flight):
            future.cancel()
        await self._pool.stop()
