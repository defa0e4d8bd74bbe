"""The worker of model servers: one engine of the plan, its servers and its calls in flight."""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic
from typing import Any

from ...targets.plan import EnginePlan
from ..errors import CallFailed
from ..messages import Submit
from ..repeats import Repeats
from ..tracing import RunTrace
from ..worker import Offer, Seats
from .asking import Asker
from .hedging import Tail, hedged
from .replica import Replica
from .replicas import Replicas
from .turns import Turns


class ServedWorker:
    """Does the calls of one engine on its servers, which it brings up, parks and stops."""

    def __init__(
        self,
        engine: EnginePlan,
        asker: Asker,
        replicas: Replicas,
        turns: Turns,
        repeats: Repeats,
        tail: Tail | None,
        *,
        spare: bool = False,
    ) -> None:
        """Prepare; nothing is started before `start`, nor then where the engine only stands by.

        Calls are hedged by `tail`, where there is one, within the budget `repeats`.
        """
        self._spare = spare
        self._engine = engine
        self._asker = asker
        self._replicas = replicas
        self._turns = turns
        self._rising: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._idle_since_s = monotonic()
        self._in_flight: set[asyncio.Task[Any]] = set()
        self.retired = False
        self._repeats = repeats
        self._tail = tail
        turns.enlist(engine.name, self)

    # ---- as a worker

    @property
    def seats(self) -> Seats | None:
        """Servers share nothing that the plan does not know of."""
        return None

    async def start(self) -> None:
        """Get the servers ready, and asleep where the plan says so.

        Not those that the plan starts during the run.
        """
        if self._spare and self._replicas.problem is None:
            return  # whether it answers is seen when it is needed
        if self._engine.prestarted:
            await self._ready()
        elif self._engine.wake_s:
            try:
                await self._ready()
            finally:
                await self._turns.lay_down(self._engine.name)

    def begin(self, trace: RunTrace | None) -> None:
        """Learn that the run's clock starts: what the plan starts later is started then.

        `trace` is told of requests.
        """
        self._asker.trace = trace
        if not self._engine.prestarted:
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(self._engine.start_s, self._rise)

    def submit(self, call: Submit, offer: Offer | None = None) -> asyncio.Future[Any]:
        """Begin a call; cancelling it closes its connection, which ends it on the server too.

        A list is handed over item by item, as the model writes it.
        """
        task = asyncio.get_running_loop().create_task(self._call(call, offer))
        self._in_flight.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._in_flight.discard(task)
        if not self._in_flight:
            self._idle_since_s = monotonic()
            self._turns.look()

    def health(self) -> str | None:
        """Return why there is no server any more."""
        problem = self._replicas.problem
        return None if problem is None else problem.message

    def retire(self) -> None:
        """Give up the engine's places: the plan may have others wait for them."""
        self.retired = True
        if self._later is not None:
            self._later.cancel()
        self._turns.look()

    async def drain(self) -> None:
        """Wait for the calls at work."""
        if self._in_flight:
            await asyncio.wait(set(self._in_flight))

    async def stop(self) -> None:
        """Give up the calls at work and stop the servers that this run started."""
        if self._later is not None:
            self._later.cancel()
        tasks = [*self._in_flight, *([self._rising] if self._rising is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._replicas.close()

    # ---- as a tenant of its places

    @property
    def calls(self) -> int:
        """Calls that have begun, those that wait for a server included."""
        return len(self._in_flight)

    @property
    def idle_s(self) -> float:
        """For how long there has been no call."""
        return 0.0 if self._in_flight else monotonic() - self._idle_since_s

    async def park(self) -> None:
        """Give up GPUs, cores and memory to an engine that waits for them.

        Where no call waits for servers that are still being started, their start is given up.
        """
        if self._rising is not None:
            self._rising.cancel()
            await asyncio.wait([self._rising])
        await self._replicas.park(for_good=self.retired)

    # ---- servers

    async def _ready(self) -> None:
        if self._replicas.risen:
            return
        self._rise()
        assert self._rising is not None  # `_rise` made it
        await asyncio.shield(self._rising)

    def _rise(self) -> None:
        if self._rising is None or self._rising.done():
            self._rising = asyncio.create_task(self._take_turn())
            self._rising.add_done_callback(_seen)

    async def _take_turn(self) -> None:
        await self._turns.hold(self._engine.name)
        if not self._replicas.risen:
            await self._replicas.rise()

    # ---- calls

    async def _call(self, call: Submit, offer: Offer | None) -> Any:
        self._turns.look()
        try:
            await self._ready()
            replica = await self._replicas.pick()
        except CallFailed as error:
            raise CallFailed(error.message, help=error.help) from None
        ask = partial(self._ask, call, offer)
        if self._tail is None or offer is not None or call.step.task.effect:
            return await ask(replica)  # what is handed over twice, or done twice, is wrong
        began_s = monotonic()
        after_s = self._tail.after_s(call.step.name)
        if after_s is None:
            value = await ask(replica)
        else:
            value = await hedged(ask, replica, after_s, self._second)
        self._tail.note(call.step.name, monotonic() - began_s)
        return value

    def _second(self) -> Replica | None:
        """Return a server that may be asked as well, if one is idle and the budget is not used."""
        found = self._replicas.idle()
        return found if found is not None and self._repeats.hedge() else None

    async def _ask(self, call: Submit, offer: Offer | None, replica: Replica) -> Any:
        try:
            return await replica.answer(self._asker.ask(replica, call, offer))
        except CallFailed as error:
            if error.kind in ("connection", "cut"):
                self._replicas.suspect(replica)
            if replica.log is not None and error.retryable:
                error.message += f" (the server's log is `{replica.log}`)"
            raise


def _seen(task: asyncio.Task[None]) -> None:
    """Take note of an error, which every call that waits for the engine gets as well."""
    if not task.cancelled():
        task.exception()
