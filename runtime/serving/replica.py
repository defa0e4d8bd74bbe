"""One server of an engine, through its life: started or attached to, asleep, awake, gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Literal, TypeVar

from ..errors import CallFailed
from .attach import check
from .client import HttpClient
from .command import ServerCommand
from .endpoint import Endpoint
from .metrics import ServerMetrics, read_metrics
from .server import Server, failure, start_server
from .sleep import fall_asleep, is_asleep, wake_up

T = TypeVar("T")
# A server that does not answer for so long hangs; one that is only busy answers.
HANGS_AFTER_S = 20.0

# `attached`: somebody else's. `warm`: kept by `mkb up`, and left as it is. `own`: of this run.
Origin = Literal["attached", "warm", "own"]


@dataclass
class Replica:
    """A server, or the place of one that is still to be started with `command`.

    `base` is its address without a path. `start_s`, `sleep_s` and `wake_s` are how long that took,
    the last time; None where it did not happen.
    """

    origin: Origin
    endpoint: Endpoint
    client: HttpClient
    base: str = ""
    command: ServerCommand | None = None
    log: Path | None = None
    any_model: bool = False  # attached: take the only model there, whatever its name
    lasting: bool = False  # a started server stays when this process ends
    # held by one at a time of those that start beside each other in a GPU's memory
    measuring: asyncio.Lock | None = None
    server: Server | None = None
    up: bool = False
    doubted: bool = False  # its connections break; it has not answered since
    asleep: bool = False
    slept: bool = False  # it was asleep when it was found
    in_flight: int = 0
    restarts: int = 0
    start_s: float | None = None
    sleep_s: float | None = None
    wake_s: float | None = None
    first: ServerMetrics | None = None  # of this run
    metrics: ServerMetrics | None = None
    _answered_s: float = 0.0
    _asking: set[asyncio.Task[Any]] = field(default_factory=set)  # at work on it
    _abandoned: set[asyncio.Task[Any]] = field(default_factory=set)

    async def answer(self, request: Awaitable[T]) -> T:
        """Wait for a request to this server; raises `CallFailed` where that is abandoned."""
        task = asyncio.current_task()
        assert task is not None  # this is a coroutine
        self.in_flight += 1
        self._asking.add(task)
        try:
            return await request
        except asyncio.CancelledError:
            if task not in self._abandoned or task.uncancel():
                raise  # whoever asked has given up
            message = f"the server at `{self.endpoint.url}` answers no more"
            raise CallFailed(message, retryable=True, kind="connection") from None
        finally:
            self.in_flight -= 1
            self._asking.discard(task)
            self._abandoned.discard(task)

    def abandon(self) -> None:
        """Fail the requests at work: a server that hangs, and is not ours to end, keeps them."""
        self._abandoned |= self._asking
        for task in self._asking:
            task.cancel()

    async def rise(self) -> None:
        """Make it take calls; raises `CallFailed` where that cannot be."""
        if self.up:
            return
        if self.asleep:
            await self._wake()
        elif self.origin == "warm" and await is_asleep(self.client, self.base):
            self.slept = True
            await self._wake()
        elif self.origin == "attached":
            self.endpoint = await check(self.client, self.endpoint, self.any_model)
        elif self.origin == "own":
            await self._start()
        self._answered_s = monotonic()
        await self.look()  # what it has counted before this run
        self.up, self.doubted = True, False

    async def _wake(self) -> None:
        """Wake it; what takes the place of one that does not wake is this run's own."""
        try:
            self.wake_s = await wake_up(self.client, self.base)
        except CallFailed:
            self.origin, self.slept = "own", False
            if self.server is not None:
                await self.server.stop()
                self.server = None
            await self._start()
        self.asleep = False

    async def _start(self) -> None:
        assert self.command is not None and self.log is not None  # of every one of our own
        # vLLM measures how much memory is free, and fails where another takes some meanwhile
        async with self.measuring or nullcontext():
            server = await start_server(
                self.command, self.log, self.client.answers, lasting=self.lasting
            )
        self.server, self.base, self.start_s = server, server.url, server.started_s
        self.endpoint = Endpoint(f"{server.url}/v1", self.command.served_model)
        self.first = self.metrics = None

    async def look(self) -> CallFailed | None:
        """Read its metrics; return what is wrong where it has ended or hangs.

        An attached server may have no metrics, and mending it is not our affair.
        """
        if self.server is not None and not self.server.alive:
            return failure(self.server)
        text = await self.client.text(f"{self.base}/metrics")
        if text is not None:
            self._answered_s = monotonic()
            self.doubted = False
            self.metrics = read_metrics(text)
            self.first = self.first or self.metrics
            return None
        if self.origin == "attached" or monotonic() - self._answered_s < HANGS_AFTER_S:
            return None
        return CallFailed(f"its server has not answered for {HANGS_AFTER_S:.0f} s", retryable=True)

    async def restart(self) -> None:
        """Start it again after its end, or instead of one that hangs; raises `CallFailed`.

        A warm server that is gone becomes this run's own.
        """
        self.up = False
        if self.server is not None:
            await self.server.stop()
            self.server = None
        self.origin = "own"
        await self.rise()

    async def park(self, *, for_good: bool) -> None:
        """Give up GPUs and memory: sleep where it may be needed again and vLLM can, else stop."""
        if not self.up or self.origin == "attached":
            return
        self.up = False
        if self.origin == "warm" or self.lasting or not for_good:
            self.sleep_s = await fall_asleep(self.client, self.base)
            self.asleep = self.sleep_s is not None
        if self.server is not None and not self.asleep:
            await self.server.stop()
            self.server = None

    async def close(self) -> None:
        """Stop it if it is this run's own; one that was found asleep sleeps again."""
        if self.up and self.slept:
            await fall_asleep(self.client, self.base)
        self.up = False
        if self.server is not None and not self.lasting:
            await self.server.stop()
            self.server = None
