"""An engine at run time: its worker, and the calls that wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..targets.failure_policy import USUAL, FailurePolicy
from .breaker import Breaker
from .messages import Submit
from .program import Step
from .worker import Worker


class EngineLane:
    """An engine at run time: its worker, how many calls it takes at once, what waits for it."""

    __slots__ = (
        *("breaker", "coming", "concurrency", "name", "running", "seats"),
        *("timeout_s", "waiting", "worker"),
    )

    def __init__(
        self,
        name: str,
        worker: Worker,
        concurrency: int,
        timeout_s: float | None,
        policy: FailurePolicy = USUAL,
    ) -> None:
        """Start with nothing running; `timeout_s` None lets a call take as long as it takes."""
        self.name = name
        self.worker = worker
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.seats = worker.seats
        self.running = 0
        self.waiting: deque[Submit] = deque()
        self.breaker = Breaker(concurrency, policy)
        self.coming: set[str] = set()  # steps on it whose calls have not all been done

    @property
    def free(self) -> bool:
        """Whether a call can begin now."""
        seats = self.seats
        if not self.breaker.lets_through:
            return False
        return self.running < self.concurrency and (seats is None or seats.taken < seats.size)

    def begin(self, call: int) -> None:
        """Give a call a place."""
        self.running += 1
        self.breaker.begun(call)
        if self.seats is not None:
            self.seats.taken += 1

    def end(self) -> None:
        """Take the place of a call back. Its outcome goes to the breaker, which may pause."""
        self.running -= 1
        if self.seats is not None:
            self.seats.taken -= 1

    def take(self) -> Submit:
        """Take the call that begins next from those that wait: that which has waited longest.

        On an engine that stays away, that which was tried most: it fails for good after its last
        attempt, and with it the run, which else would end once each of many calls had tried twice.
        """
        if self.breaker.patience:
            return self.waiting.popleft()
        call = max(self.waiting, key=lambda waiting: waiting.attempt)
        self.waiting.remove(call)
        return call


def next_ready(lanes: Sequence[EngineLane]) -> EngineLane | None:
    """Return which of the lanes that share their seats begins a call next; None: none can.

    What has waited longest goes first: items move on instead of piling up.
    """
    ready = [lane for lane in lanes if lane.waiting and lane.free]
    return min(ready, key=lambda lane: lane.waiting[0].id) if ready else None


def expect_calls(steps: Iterable[Step], engines: Mapping[str, EngineLane]) -> None:
    """Note which steps have calls on which engines, or may have as their substitutes."""
    for step, engine in _users(steps, engines):
        engine.coming.add(step.name)


def expect_no_calls(steps: Iterable[Step], engines: Mapping[str, EngineLane]) -> None:
    """Learn that no call of these steps will come any more; retire engines that get none."""
    for step, engine in _users(steps, engines):
        engine.coming.discard(step.name)
        if not engine.coming:
            engine.worker.retire()


def _users(
    steps: Iterable[Step], engines: Mapping[str, EngineLane]
) -> Iterator[tuple[Step, EngineLane]]:
    for step in steps:
        for doing in (step, step.substitute):
            if doing is not None:
                yield step, engines[doing.engine or ""]
