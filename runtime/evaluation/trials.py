"""Trials: a plan is run on items, several at a time, while its model servers stay up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...ir.diagnostics import InputError
from ...targets.library import Library
from ...targets.plan import EnginePlan, Plan
from ..driver import RunResult, run_plan
from ..errors import RunError
from ..kept import KeptWorkers
from ..serving.fleet import Serving
from ..serving.turns import conflicts
from ..serving.upkeep import bring_up
from ..serving.warm import WarmServer, end, warm_servers
from .dataset import Item
from .journal import Outcome
from .scoring import Score

Done = Callable[[Item, Outcome], None]


class CannotRun(Exception):
    """A plan that does not run here, whatever it is asked; the message says why."""


class Trials:
    """Runs plans on items; the servers it starts are its own, and end with it.

    `at_once` items are in flight. A server that the next plan needs as well is left running.
    """

    def __init__(self, library: Library, serving: Serving, at_once: int) -> None:
        """Start nothing yet.

        `serving.warm` is the folder of servers that are kept already; by `serving.logs`, a folder
        that nobody else writes to, the trials know their own.
        """
        assert serving.warm is not None
        self._library = library
        self._serving = serving
        self._folder = serving.warm
        self._at_once = at_once
        self._held: frozenset[int] = frozenset()
        self._standing: dict[str, EnginePlan] = {}
        self._at_work: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Task[None] | None = None
        self.stopping = False

    def stop(self) -> None:
        """Begin no further item nor server; the second time, give up the items at work."""
        if self.stopping:
            for task in self._at_work:
                task.cancel()
        if self._starting is not None:
            self._starting.cancel()
        self.stopping = True

    async def hold(self, plan: Plan) -> None:
        """Bring up the servers of a plan, to stay up beside those of others.

        Raises InputError and RunError where that cannot be.
        """
        await self._unless_stopped(self._start(plan))
        self._held = frozenset(server.pid for server in self._own())

    async def run(self, plan: Plan, items: Sequence[Item], score: Score, done: Done) -> None:
        """Run a plan on items and tell each outcome as it comes.

        Returns early where it was stopped. Raises `CannotRun`, and what `score` raises.
        """
        try:
            await self._unless_stopped(self._bring_up(plan))
        except (InputError, RunError) as error:
            raise CannotRun(str(error)) from None
        waiting = deque(items)

        async def take() -> None:
            kept = KeptWorkers()
            try:
                while waiting and not self.stopping:
                    item = waiting.popleft()
                    done(item, await self._outcome(plan, item, score, kept))
            finally:
                await kept.close()

        width = 1 if _one_at_a_time(plan) else self._at_once
        self._at_work = {asyncio.create_task(take()) for _ in range(min(width, len(items)))}
        try:
            await asyncio.gather(*self._at_work)
        except asyncio.CancelledError:
            if not self.stopping:
                raise
        finally:
            for task in self._at_work:
                task.cancel()
            await asyncio.gather(*self._at_work, return_exceptions=True)

    async def result(
        self, plan: Plan, inputs: dict[str, Any], kept: KeptWorkers | None = None
    ) -> RunResult:
        """Run a plan once; raises InputError and RunError as `run_plan`."""
        serving = replace(self._serving, lasting=False)
        return await run_plan(plan, inputs, library=self._library, serving=serving, kept=kept)

    async def _outcome(self, plan: Plan, item: Item, score: Score, kept: KeptWorkers) -> Outcome:
        try:
            result = await self.result(plan, dict(item.inputs), kept)
        except InputError as error:
            raise CannotRun(str(error)) from None
        except RunError as error:
            if any(failure.instance.startswith("engine `") for failure in error.failures):
                raise CannotRun(error.message) from None
            return Outcome(0.0, error=error.message)
        return Outcome(await score(item, result.value), _tokens(result))

    # ---- servers

    async def _unless_stopped(self, starting: Coroutine[Any, Any, None]) -> None:
        """Start servers; where that is stopped, what was started is ended in the end."""
        self._starting = asyncio.create_task(starting)
        if self.stopping:
            self._starting.cancel()
        try:
            await self._starting
        except asyncio.CancelledError:
            if not self.stopping:
                raise
        finally:
            self._starting = None

    async def _start(self, plan: Plan) -> None:
        await bring_up(plan, self._library, replace(self._serving, lasting=True))

    async def _bring_up(self, plan: Plan) -> None:
        needed = {e.name: e for e in plan.engines if e.runner == "vllm" and e.loads_model}
        kept = {n: e for n, e in needed.items() if self._standing.get(n) == _apart_from_times(e)}
        others = [s for s in self._own() if s.engine not in kept and s.pid not in self._held]
        await self._end(others)
        self._standing = {}
        if needed:
            await self._start(plan)
            self._standing = {name: _apart_from_times(e) for name, e in needed.items()}

    def _own(self) -> list[WarmServer]:
        logs = self._serving.logs.absolute()
        return [s for s in warm_servers(self._folder) if Path(s.log).is_relative_to(logs)]

    async def _end(self, servers: list[WarmServer]) -> None:
        if servers:
            await asyncio.to_thread(end, self._folder, servers)

    async def close(self) -> None:
        """End the servers that were started."""
        await self._end(self._own())


def _apart_from_times(engine: EnginePlan) -> EnginePlan:
    """Return what decides how an engine's servers are started."""
    return replace(engine, start_s=0.0, end_s=0.0, startup_s=0.0, concurrency=0)


def _one_at_a_time(plan: Plan) -> bool:
    """Tell whether runs would get in each other's way: over turns on GPUs, or models in process."""
    served = [e for e in plan.engines if e.runner == "vllm" and e.endpoint is None]
    return any(conflicts(served).values()) or any(e.runner == "torch" for e in plan.engines)


def _tokens(result: RunResult) -> tuple[int, int] | None:
    used = [s["usage"] for s in result.record.document["steps"] if s["usage"] is not None]
    if not used:
        return None
    return sum(u["prompt_tokens"] for u in used), sum(u["output_tokens"] for u in used)
