"""The worker of `python` executors: a pool of threads, each with a lane of its own."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from queue import SimpleQueue
from typing import Any

from ..targets.library import Executor
from ..targets.plan import EnginePlan
from .calling import PythonFunction
from .entries import source_of
from .lanes import InChild, InProcess, Lane
from .state import Submit


class _Job:
    """A call on its way: what to call, whom to tell, and the lane that is at it."""

    __slots__ = ("call", "future", "lane")

    def __init__(self, call: Submit, future: asyncio.Future[Any]) -> None:
        self.call = call
        self.future = future
        self.lane: Lane | None = None


class PythonWorker:
    """Runs a library's Python function in threads or child processes, as the executor declares.

    Threads start when they are needed, at most as many as the engine's `concurrency`; where
    `pooling` is `process`, each drives one child process on `cores` cores, and the first starts
    with the run, so that its imports take place beside earlier steps. Results come back to the
    event loop in batches: one wake-up for all that are ready.
    """

    def __init__(self, engine: EnginePlan, executor: Executor) -> None:
        """Prepare; nothing runs before `start`."""
        self._engine = engine
        self._executor = executor
        self._source = source_of(executor)
        self._function = PythonFunction(self._source)
        self._settings = dict(executor.settings)
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._outcomes: deque[tuple[_Job, Any, Exception | None]] = deque()
        self._waking = False  # whether the loop has been told of outcomes
        self._threads: list[threading.Thread] = []
        self._serving = 0  # threads that take calls; one stuck in a call given up does not
        self._lanes: list[Lane] = []
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Start the first child process, without waiting for it."""
        self._loop = asyncio.get_running_loop()
        if self._executor.pooling == "process":
            self._add_thread()

    def submit(self, call: Submit) -> asyncio.Future[Any]:
        """Queue a call for the next free lane."""
        assert self._loop is not None  # the driver starts a worker first
        future = self._loop.create_future()
        self._in_flight.add(future)
        if self._serving < min(self._engine.concurrency, len(self._in_flight)):
            self._add_thread()
        job = _Job(call, future)
        future.add_done_callback(lambda done: self._left(job))
        self._jobs.put(job)
        return future

    def _left(self, job: _Job) -> None:
        self._in_flight.discard(job.future)
        if job.future.cancelled() and job.lane is not None and not job.lane.kill():
            self._serving -= 1  # its thread ends with the call

    def health(self) -> str | None:
        """A pool mends itself: every crash is the failure of one call."""
        return None

    async def drain(self) -> None:
        """Wait for the calls at work."""
        if self._in_flight:
            await asyncio.wait(set(self._in_flight))

    async def stop(self) -> None:
        """Kill what can be killed, and end the threads."""
        for future in list(self._in_flight):
            future.cancel()
        for _ in self._threads:
            self._jobs.put(None)
        if self._executor.pooling == "process":
            for lane in self._lanes:
                lane.kill()
            for thread in self._threads:
                await asyncio.to_thread(thread.join)

    # ---- in the threads

    def _add_thread(self) -> None:
        lane: Lane = InProcess(self._function)
        if self._executor.pooling == "process":
            lane = InChild(self._source, self._executor.requires, self._executor.cores)
        self._serving += 1
        self._lanes.append(lane)
        name = f"{self._engine.name}-{len(self._threads)}"
        # daemon: a call that hangs in a thread must not keep the whole program from ending
        thread = threading.Thread(target=self._serve, args=(lane,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, lane: Lane) -> None:
        lane.warm()
        while (job := self._jobs.get()) is not None:
            if job.future.cancelled():
                continue
            job.lane = lane
            step = job.call.step
            try:
                arguments = dict(zip(step.params, job.call.args, strict=True))
                value = lane.call(arguments, {**self._settings, **step.knobs})
            except Exception as error:
                self._deliver(job, None, error)  # one that is no `CallFailed` ends the run
            else:
                self._deliver(job, value, None)
            job.lane = None
            if job.future.cancelled() and isinstance(lane, InProcess):
                return
        lane.close()

    def _deliver(self, job: _Job, value: Any, error: Exception | None) -> None:
        assert self._loop is not None  # set before any thread was
        self._outcomes.append((job, value, error))
        if not self._waking:
            self._waking = True
            try:
                self._loop.call_soon_threadsafe(self._flush)
            except RuntimeError:
                return  # the loop is closed: nobody waits for this call any more

    def _flush(self) -> None:
        self._waking = False  # before looking: what comes later wakes the loop again
        while self._outcomes:
            job, value, error = self._outcomes.popleft()
            if job.future.done():
                continue  # cancelled
            if error is None:
                job.future.set_result(value)
            else:
                job.future.set_exception(error)
