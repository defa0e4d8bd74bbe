"""What servers may be asked: requests and tokens a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from murakkab.runtime.serving.endpoint import Allowance
from murakkab.runtime.worker import Usage
from murakkab.targets.endpoint import EndpointPlan


class Hurried(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped_s = 0.0

    def time(self) -> float:
        return super().time() + self.skipped_s

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        if not ready and scheduled:
            self.skipped_s += max(0.0, scheduled[0].when() - self.time())
        super()._run_once()  # type: ignore[misc]


def seconds(work: Callable[[], Coroutine[Any, Any, None]]) -> float:
    """Return how long something takes by the loop's clock."""
    loop = Hurried()
    try:
        loop.run_until_complete(work())
        return loop.skipped_s
    finally:
        loop.close()


def test_without_limits_nobody_waits() -> None:
    async def work() -> None:
        allowance = Allowance(None)
        await asyncio.gather(*(allowance.ask(1e9) for _ in range(100)))

    assert seconds(work) == 0.0


@pytest.mark.parametrize(("per_min", "wanted_s"), [(60.0, 19.0), (30.0, 38.0), (600.0, 1.0)])
def test_requests_are_spread_over_the_minute(per_min: float, wanted_s: float) -> None:
    async def work() -> None:
        allowance = Allowance(EndpointPlan("http://x", requests_per_min=per_min))
        await asyncio.gather(*(allowance.ask(0.0) for _ in range(20)))

    assert seconds(work) == pytest.approx(wanted_s, abs=0.2)


def test_every_token_of_a_long_prompt_counts() -> None:
    """A request may want more than a second's share, even more than a minute's."""

    async def work() -> None:
        allowance = Allowance(EndpointPlan("http://x", tokens_per_min=6000.0))
        await asyncio.gather(*(allowance.ask(2000.0) for _ in range(6)))

    assert seconds(work) == pytest.approx(119.0, abs=2.0)


def test_answers_are_taken_to_be_as_long_as_those_so_far() -> None:
    async def work() -> None:
        allowance = Allowance(EndpointPlan("http://x", tokens_per_min=6000.0))
        allowance.used(Usage(requests=2, prompt_tokens=1, output_tokens=1000))
        for _ in range(3):
            await allowance.ask(100.0)

    assert seconds(work) == pytest.approx(17.0, abs=1.0)
