"""Pools of lanes: threads that take calls from one queue, shared by the engines of a run."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from queue import SimpleQueue
from typing import Any

from .entries import Source
from .lanes import InChild, InProcess, Job, Lane
from .worker import Seats


class LanePool:
    """At most `seats.size` lanes. Results reach the event loop in batches: one wake-up for all.

    A child that has made a value for the next call of a chain keeps it, and its lane takes no other
    call until those who wait for the value have heard of it. If they submit the next call there and
    then, it goes to that lane and the value does not travel; otherwise the lane is released.

    Lanes in this process (`cores` None) start when calls need them. Child processes, which give
    numeric libraries `cores` threads each, all start with the pool and get ready together, before
    the run's clock does.
    """

    def __init__(self, cores: int | None) -> None:
        """Hold no lane yet; engines enlist before the pool starts."""
        self.seats = Seats(0)
        self._cores = cores
        self._ahead: dict[Source, tuple[str, ...]] = {}
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._outcomes: deque[tuple[Job, Any, BaseException | None]] = deque()
        self._held: dict[str, Job] = {}  # by name: done, with the lane kept for what follows
        self._waking = False  # whether the loop has been told of outcomes
        self._threads: list[threading.Thread] = []
        self._lanes: list[Lane] = []
        self._serving = 0  # threads that take calls; one stuck in a call given up does not
        self._in_flight = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: asyncio.Future[None] | None = None
        self._warming = 0
        self._stopped = False

    def enlist(self, source: Source, packages: tuple[str, ...], concurrency: int) -> None:
        """Be ready for a function and the packages it imports, this many calls at once."""
        self._ahead.setdefault(source, packages)
        self.seats.size = max(self.seats.size, concurrency)

    async def start(self) -> None:
        """Start; returns when every child is ready. The first call of several does it."""
        if self._ready is None:
            self._loop = asyncio.get_running_loop()
            self._ready = self._loop.create_future()
            self._warming = self.seats.size if self._cores is not None else 0
            for _ in range(self._warming):
                self._add_lane()
            if not self._warming:
                self._ready.set_result(None)
        await asyncio.shield(self._ready)

    def submit(self, job: Job) -> None:
        """Queue a call for the next free lane, or for the one that holds an argument of it."""
        self._in_flight += 1
        if self._serving < min(self.seats.size, self._in_flight):
            self._add_lane()
        job.future.add_done_callback(lambda done: self._left(job))
        if job.feeds and self._cores is not None:
            job.following = SimpleQueue()
        if job.fed is None or job.fed.call not in self._held:
            self._jobs.put(job)
            return
        before = self._held.pop(job.fed.call)
        assert before.following is not None  # only such are held
        job.takes = job.fed.param
        before.following.put(job)

    def _left(self, job: Job) -> None:
        self._in_flight -= 1
        if job.future.cancelled() and job.lane is not None and not job.lane.kill():
            self._serving -= 1  # its thread ends with the call

    async def stop(self) -> None:
        """Kill what can be killed, and end the threads."""
        if self._stopped:
            return
        self._stopped = True
        for _ in self._threads:
            self._jobs.put(None)
        for lane in self._lanes:
            lane.kill()
        if self._cores is not None:
            for thread in self._threads:
                await asyncio.to_thread(thread.join)

    # ---- in the threads

    def _add_lane(self) -> None:
        lane: Lane = InProcess()
        if self._cores is not None:
            lane = InChild(tuple(self._ahead.items()), self._cores)
        self._serving += 1
        self._lanes.append(lane)
        # daemon: a call that hangs in a thread must not keep the whole program from ending
        thread = threading.Thread(target=self._serve, args=(lane,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, lane: Lane) -> None:
        lane.warm()
        self._tell(self._warmed)
        job = self._jobs.get()
        while job is not None:
            following = None
            if not job.future.cancelled():
                self._carry_out(job, lane)
                if job.future.cancelled() and isinstance(lane, InProcess):
                    return
                following = job.following.get() if job.following is not None else None
            job = following if following is not None else self._jobs.get()
        lane.close()

    def _carry_out(self, job: Job, lane: Lane) -> None:
        job.lane = lane
        try:
            value = lane.call(job)
        except BaseException as error:  # whatever it is, who waits for the call must hear of it
            self._deliver(job, None, error)  # one that is no `CallFailed` ends the run
        else:
            self._deliver(job, value, None)
        job.lane = None

    def _deliver(self, job: Job, value: Any, error: BaseException | None) -> None:
        self._outcomes.append((job, value, error))
        if not self._waking:
            self._waking = True
            self._tell(self._flush)

    def _tell(self, what: Any) -> None:
        assert self._loop is not None  # set before any thread was
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    # ---- in the event loop

    def _warmed(self) -> None:
        self._warming -= 1
        if self._warming <= 0 and self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _flush(self) -> None:
        self._waking = False  # before looking: what comes later wakes the loop again
        while self._outcomes:
            job, value, error = self._outcomes.popleft()
            cancelled = job.future.done()
            if not cancelled and error is None:
                job.future.set_result(value)
            elif not cancelled and error is not None:
                job.future.set_exception(error)
            if job.following is None:
                continue
            if cancelled or error is not None:
                job.following.put(None)
            else:
                self._hold(job)

    def _hold(self, job: Job) -> None:
        """Keep a lane until what waits for its value has run.

        The callbacks of the job's future have been scheduled, so the release comes behind them.
        """
        self._held[job.name] = job
        asyncio.get_running_loop().call_soon(self._release, job.name)

    def _release(self, name: str) -> None:
        job = self._held.pop(name, None)
        if job is not None and job.following is not None:
            job.following.put(None)
