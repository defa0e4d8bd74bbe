"""Workers that outlive a run: the next run of the same plan finds what they started."""

from __future__ import annotations

import asyncio
from typing import Any

from ..targets.library import Executor
from ..targets.plan import EnginePlan
from .messages import Submit
from .worker import Offer, Seats, Worker, WorkerFactory


class KeptWorkers:
    """The workers of one plan, for runs of it one after the other; never for two at a time."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._kept: dict[str, _Kept] = {}

    def keeping(self, make: WorkerFactory) -> WorkerFactory:
        """Return a factory that makes a worker only for the first run."""

        def worker(engine: EnginePlan, executor: Executor | None) -> Worker:
            if engine.name not in self._kept:
                self._kept[engine.name] = _Kept(make(engine, executor))
            return self._kept[engine.name]

        return worker

    async def close(self) -> None:
        """End everything that the workers started."""
        await asyncio.gather(*(kept.worker.stop() for kept in self._kept.values()))


class _Kept:
    """A worker that starts once and does not end with a run."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._started = False

    @property
    def seats(self) -> Seats | None:
        return self.worker.seats

    async def start(self) -> None:
        if not self._started:
            await self.worker.start()
        self._started = True

    def submit(self, call: Submit, offer: Offer | None = None) -> asyncio.Future[Any]:
        return self.worker.submit(call, offer)

    def health(self) -> str | None:
        return self.worker.health()

    def retire(self) -> None:
        """Give up nothing: the next run has calls again."""

    async def drain(self) -> None:
        await self.worker.drain()

    async def stop(self) -> None:
        """Stop nothing: a run that has ended has no calls at work."""
