"""What becomes of a call that failed: another attempt, its substitute's, or a failure."""

from __future__ import annotations

from dataclasses import dataclass

from .messages import Failed, Failure, Retry, Submit


@dataclass(frozen=True, slots=True)
class Limits:
    """`window`: iterations alive of one `for`. `attempts`: how often a step is tried in all.

    Of all calls, `repeats` and a tenth may be repeated: when more fail, repeating them would only
    add to what ails their engines. With `keep_going`, an item of a `for` or `where` that fails is
    left out, unless it holds an effect, and the rest goes on.
    """

    window: int = 64
    attempts: int = 3
    repeats: int = 64
    keep_going: bool = False


class Attempts:
    """Counts the calls of a run and their repetitions, and decides on further attempts."""

    def __init__(self, limits: Limits) -> None:
        """Begin with none."""
        self._limits = limits
        self._submitted = self._repeated = 0

    def first(self) -> int:
        """Count a call that is submitted for the first time; returns its number, from 1."""
        self._submitted += 1
        return self._submitted

    def after(self, call: Submit, event: Failed, *, closing: bool) -> Retry | Submit | Failure:
        """Return what follows a failed attempt; nothing begins any more in a run that is closing.

        A call is repeated where that may help; what its executor then still fails, or cannot do,
        its substitute does, as often as anyone.
        """
        again = event.retryable and call.step.repeatable and not closing
        again = again and call.attempt - call.spent < self._limits.attempts
        following = call._replace(attempt=call.attempt + 1)
        if again and self._repeated < self._limits.repeats + self._submitted // 10:
            self._repeated += 1
            return Retry(call.id, following, event.error, event.after_s)
        if call.step.substitute is not None and not closing:
            return substituted(following, event.error)
        error, help = event.error, event.help
        if again:
            help = f"not tried again: {self._repeated} calls of this run were repeated already"
        if call.instead:
            error = f"{error}; it stood in, because {call.instead}"
        return Failure(call.instance, call.step, error, call.attempt, help)


def substituted(call: Submit, error: str) -> Submit:
    """Return the next attempt at a call as its substitute makes it, because of an error."""
    step = call.step
    assert step.substitute is not None  # who asks has looked
    instead = f"`{step.executor}` failed: {error}"
    return call._replace(step=step.substitute, instead=instead, spent=call.attempt - 1)
