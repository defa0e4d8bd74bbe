"""A circuit breaker: what an engine is spared while it fails every call."""

from __future__ import annotations

from typing import Literal

from ..targets.failure_policy import USUAL, FailurePolicy


class Breaker:
    """Closed, open, or half open; it has no clock: its owner ends a pause by `half_open`.

    Closed, it lets everything through and counts failures in a row. After as many as an engine has
    calls at work, and the policy's number at least, it opens: nothing begins, so that repetitions
    do not keep a server down, and calls keep their attempts for when it is back. After a pause one
    call may try: when that fails it opens again, for twice as long. A
    call that succeeds closes it, whichever it is. Once the pauses are at their longest its
    `patience` is over: waiting has not helped.
    """

    __slots__ = ("_failures", "_pause_s", "_policy", "_state", "_tolerated", "_trying")

    def __init__(self, concurrency: int, policy: FailurePolicy = USUAL) -> None:
        """Start closed."""
        self._policy = policy
        self._tolerated = max(policy.breaker_failures, concurrency)
        self._state: Literal["closed", "open", "half"] = "closed"
        self._failures = 0
        self._pause_s = policy.pause_s
        self._trying: int | None = None  # the call that is let through while half open

    @property
    def lets_through(self) -> bool:
        """Whether a call may begin."""
        return self._state == "closed" or (self._state == "half" and self._trying is None)

    @property
    def patience(self) -> bool:
        """Whether calls may still be spared: an engine may be away for about half a minute."""
        return self._state == "closed" or self._pause_s < self._policy.longest_pause_s

    def begun(self, call: int) -> None:
        """Learn that a call begins."""
        if self._state == "half":
            self._trying = call

    def ended(self, call: int, sound: bool | None) -> float | None:
        """Learn how a call ended; returns for how many seconds nothing may begin, where it opens.

        `sound` is False where the engine failed it, None where that says nothing of the engine.
        """
        tried = call == self._trying
        if tried:
            self._trying = None
        if sound:
            self._state, self._failures, self._pause_s = "closed", 0, self._policy.pause_s
        if sound is not False or self._state == "open":
            return None
        if self._state == "closed":
            self._failures += 1
            return self._open() if self._failures >= self._tolerated else None
        return self._open() if tried else None

    def half_open(self) -> None:
        """Let one call through: the pause is over."""
        if self._state == "open":
            self._state = "half"

    def _open(self) -> float:
        pause_s = self._pause_s
        self._state, self._failures = "open", 0
        self._pause_s = min(2.0 * pause_s, self._policy.longest_pause_s)
        return pause_s
