"""Load on a model server: so many requests at once, or arrivals at random, kept up while counting.

The first requests warm the server up. Those counted follow without a break, and more follow them
until the last one counted is answered, so that every one of them meets the whole load. What is
still under way then is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from random import Random
from time import perf_counter
from typing import Literal

from .lengths import Length, Lengths
from .requests import Sample

# One request of so many is answered token by token, the others as a whole, as runs ask for them:
# telling every token by itself costs a small model's server more than making it.
STREAMED_OF = 4
_DRAWN_AT_ONCE = 64

Ask = Callable[[Length, Random, bool], Awaitable[Sample]]


@dataclass(frozen=True, slots=True)
class Load:
    """`closed`: `level` requests at once; `open`: `level` arrivals a second, a Poisson process."""

    kind: Literal["closed", "open"]
    level: float

    def __str__(self) -> str:
        """Return `16 at once`, `2.5 requests/s`."""
        return f"{self.level:g} " + ("at once" if self.kind == "closed" else "requests/s")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure: `requests` in each of `repeats` stretches; None: as the load asks for.

    A load is counted for at most `limit_s` seconds, and for one round of requests at least. `seed`
    decides lengths, prompts and arrivals.
    """

    requests: int | None = None
    repeats: int = 5
    warmup: int | None = None
    limit_s: float = 120.0
    seed: int = 0

    def counted(self, load: Load) -> int:
        """Return how many requests are counted."""
        wanted = self.requests if self.requests is not None else max(8, self._round(load))
        return max(wanted * self.repeats, 2 * self._round(load), 4)

    def before(self, load: Load) -> int:
        """Return how many requests come before those."""
        return self.warmup if self.warmup is not None else max(self._round(load), 4)

    def _round(self, load: Load) -> int:
        return round(load.level) if load.kind == "closed" else 1


@dataclass(frozen=True, slots=True)
class Observed:
    """What came of a load between `begin_s` and `end_s`, when the last request counted was sent.

    `counted` are the requests sent in between, `others` those before and behind that ended.
    """

    load: Load
    counted: tuple[Sample, ...]
    others: tuple[Sample, ...]
    begin_s: float
    end_s: float

    def tokens_between(self, begin_s: float, end_s: float) -> float:
        """Return the output tokens that were made in a stretch of time."""
        return sum(s.tokens_within(begin_s, end_s) for s in (*self.counted, *self.others))

    @property
    def in_flight(self) -> float:
        """Return the requests in flight, on average over the time."""
        whole_s = self.end_s - self.begin_s
        busy_s = (
            min(s.end_s, self.end_s) - max(s.sent_s, self.begin_s)
            for s in (*self.counted, *self.others)
        )
        return sum(max(b, 0.0) for b in busy_s) / whole_s


class Traffic:
    """Puts one load on a server."""

    def __init__(self, ask: Ask, lengths: Lengths, load: Load, effort: Effort) -> None:
        """Send nothing yet."""
        self._ask = ask
        self._lengths = lengths
        self._load = load
        self._first = effort.before(load)
        self._behind = self._first + effort.counted(load)  # the first that is not counted again
        self._round = self._behind - self._first if load.kind == "open" else round(load.level)
        self._limit_s = effort.limit_s
        self._chance = Random(f"{effort.seed} {load}")
        self._numbers = count()
        self._drawn: list[Length] = []
        self._samples: dict[int, Sample] = {}
        self._answered = 0  # of those that count
        self._window: tuple[float, float | None] | None = None
        self._over: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, began: Callable[[], None], ended: Callable[[], None]) -> Observed:
        """Return what came of it; raises `CallFailed` of the first request that went wrong.

        `began` and `ended` are called when counting begins and when the last one counted is sent.
        """
        self._over = asyncio.get_running_loop().create_future()
        self._began, self._ended = began, ended
        if self._load.kind == "closed":
            for _ in range(round(self._load.level)):
                self._start(self._one_after_another)
        else:
            self._start(self._arrivals)
        try:
            await self._over
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        return self._observed()

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.ensure_future(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        assert self._over is not None  # `run` made it
        try:
            await work()
        except Exception as error:
            if not self._over.done():
                self._over.set_exception(error)

    async def _one_after_another(self) -> None:
        while True:
            await self._send(next(self._numbers))

    async def _arrivals(self) -> None:
        due_s = perf_counter()
        for number in self._numbers:
            self._start(partial(self._send, number))
            due_s += self._chance.expovariate(self._load.level)
            await asyncio.sleep(due_s - perf_counter())

    async def _send(self, number: int) -> None:
        self._mark(number)
        length = self._length()
        chance = Random(self._chance.random())
        sample = await self._ask(length, chance, number % STREAMED_OF == 0)
        self._samples[number] = sample
        self._answered += self._first <= number < self._behind
        self._look()

    def _mark(self, number: int) -> None:
        """Note when counting begins and ends."""
        now_s = perf_counter()
        if number == self._first:
            self._window = (now_s, None)
            self._began()
        if self._window is None or self._window[1] is not None:
            return
        late = now_s - self._window[0] > self._limit_s
        if late and number - self._first >= max(self._round, 4):
            self._behind = min(self._behind, number)
            self._answered = sum(self._first <= n < self._behind for n in self._samples)
        if number >= self._behind - 1:
            self._window = (self._window[0], now_s)
            self._ended()

    def _look(self) -> None:
        assert self._over is not None  # `run` made it
        if self._answered >= self._behind - self._first and not self._over.done():
            self._over.set_result(None)

    def _length(self) -> Length:
        if not self._drawn:
            self._drawn = self._lengths.draw(_DRAWN_AT_ONCE, self._chance)
        return self._drawn.pop()

    def _observed(self) -> Observed:
        assert self._window is not None and self._window[1] is not None  # all counted were sent
        begin_s, end_s = self._window[0], self._window[1]
        inside = range(self._first, self._behind)
        counted = tuple(self._samples[n] for n in inside)
        others = tuple(s for n, s in self._samples.items() if n not in inside)
        return Observed(self._load, counted, others, begin_s, end_s)
