"""The servers of one engine: which of them takes a call, and what happens when one ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from operator import attrgetter

from ...targets.failure_policy import USUAL
from ..errors import CallFailed
from .metrics import ServerMetrics
from .replica import Replica

WATCH_EVERY_S = 1.0
_FIRST_RESTART_S = 1.0  # doubled each time


class Replicas:
    """Equal servers; a call takes the one with the fewest calls."""

    def __init__(
        self,
        replicas: Sequence[Replica],
        on_change: Callable[[str], None],
        problem: CallFailed | None = None,
        restarts: int = USUAL.restarts,
    ) -> None:
        """Hold servers that are not up yet; `on_change` is told what becomes of them.

        `problem` is why there are none, or, later, none any more. Each is started again `restarts`
        times in a run.
        """
        self._restarts = restarts
        self.all = tuple(replicas)
        self.problem = problem
        self.risen = False  # brought up, and not parked since; servers may be down all the same
        self._on_change = on_change
        self._changed = asyncio.Event()
        self._watching: list[asyncio.Task[None]] = []

    @property
    def up(self) -> bool:
        """Whether a call can be sent now."""
        return any(replica.up for replica in self.all)

    async def rise(self) -> None:
        """Make all of them take calls, at the same time; raises `CallFailed`.

        Where some do and others do not, the engine runs on those that do.
        """
        if self.problem is not None:
            raise self.problem
        self._on_change(_rising(self.all))
        results = await asyncio.gather(*(r.rise() for r in self.all), return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        others = [error for error in failed if not isinstance(error, CallFailed)]
        if others:
            raise others[0]
        if failed and not self.up:
            assert isinstance(failed[0], CallFailed)
            self._give_up(failed[0])
            raise failed[0]
        self._on_change("up" if not failed else f"up, but for {len(failed)} of its servers")
        self._watching = [
            asyncio.create_task(self._watch(replica)) for replica in self.all if replica.up
        ]
        self.risen = True
        self._changed.set()

    async def pick(self) -> Replica:
        """Return the server for a call, waiting while one is doubted or being started again.

        Raises `CallFailed` where none will be.
        """
        while True:
            sound = [r for r in self.all if r.up and not r.doubted]
            if sound:
                return min(sound, key=attrgetter("in_flight"))
            if self.problem is not None:
                raise self.problem
            self._changed.clear()
            await self._changed.wait()

    def idle(self) -> Replica | None:
        """Return a server that has nothing to do, if there is one."""
        return next((r for r in self.all if r.up and not r.doubted and not r.in_flight), None)

    @staticmethod
    def suspect(replica: Replica) -> None:
        """Send no more calls to a server whose connections break, until it answers again.

        One that is ending would get them all: it has the fewest, because it refuses them at once.
        """
        replica.doubted = replica.origin != "attached"  # those may have nothing else to answer

    def metrics(self) -> ServerMetrics | None:
        """Return what the servers have told of themselves since the run began, added up."""
        found = [r.metrics.since(r.first) for r in self.all if r.metrics and r.first]
        if not found:
            return None
        total = ServerMetrics()
        for one in found:
            total = total.plus(one)
        return total

    # ---- watching

    async def _watch(self, replica: Replica) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            wrong = await replica.look()
            if wrong is not None and not await self._revive(replica, wrong):
                return
            if not replica.doubted:
                self._changed.set()

    async def _revive(self, replica: Replica, why: CallFailed) -> bool:
        """Start a server again, later each time; tell whether that was given up."""
        replica.up = False
        replica.abandon()
        while replica.restarts < self._restarts:
            replica.restarts += 1
            self._on_change(f"restarting ({why.message})")
            await asyncio.sleep(_FIRST_RESTART_S * 2.0 ** (replica.restarts - 1))
            try:
                await replica.restart()
            except CallFailed as error:
                why = error
                continue
            self._on_change("up again")
            self._changed.set()
            return True
        if not self.up:
            self._give_up(why)
        return False

    def _give_up(self, why: CallFailed) -> None:
        self.problem = why
        self._on_change(f"failed ({why.message})")
        self._changed.set()

    # ---- ending

    async def park(self, *, for_good: bool) -> None:
        """Give up what the servers hold; `rise` brings them back."""
        self.risen = False
        await self._end_watch()
        await asyncio.gather(*(replica.park(for_good=for_good) for replica in self.all))
        self._on_change("asleep" if any(r.asleep for r in self.all) else "stopped")

    async def close(self) -> None:
        """Read the last figures and stop what this run started."""
        await self._end_watch()
        await asyncio.gather(*(r.look() for r in self.all if r.up))
        await asyncio.gather(*(replica.close() for replica in self.all))

    async def _end_watch(self) -> None:
        watching, self._watching = self._watching, []
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


def _rising(replicas: Sequence[Replica]) -> str:
    if any(replica.asleep for replica in replicas):
        return "waking up"
    origins = {replica.origin for replica in replicas}
    if "own" in origins:
        return "starting"
    return "found running" if "warm" in origins else f"attaching to {replicas[0].endpoint.url}"
