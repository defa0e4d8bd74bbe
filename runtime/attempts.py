"""What becomes of a call that failed: another attempt, its substitute's, or a failure."""

from __future__ import annotations

from dataclasses import dataclass

from ..targets.failure_policy import USUAL, FailurePolicy
from .messages import Failed, Failure, Retry, Submit
from .repeats import Repeats


@dataclass(frozen=True, slots=True)
class Limits:
    """`window`: iterations alive of one `for`. `policy`: what is done about calls that fail.

    With `keep_going`, an item of a `for` or `where` that fails is left out, unless it holds an
    effect or its engine stays away, and the rest goes on. `at_once`: operations in a row, after
    which the state machine lets others have a look; None: as many as there are.
    """

    window: int = 64
    policy: FailurePolicy = USUAL
    keep_going: bool = False
    at_once: int | None = None


class Attempts:
    """Decides on further attempts at calls that failed, within the budget of the run."""

    def __init__(self, policy: FailurePolicy, repeats: Repeats) -> None:
        """Begin with none."""
        self._policy = policy
        self._repeats = repeats

    def after(self, call: Submit, event: Failed, *, closing: bool) -> Retry | Submit | Failure:
        """Return what follows a failed attempt; nothing begins any more in a run that is closing.

        A call is repeated where that may help; what its executor then still fails, or cannot do,
        its substitute does, as often as anyone.
        """
        again = event.retryable and call.step.repeatable and not closing
        again = again and event.cause in self._policy.retry
        again = again and call.attempt - call.spent < self._policy.attempts
        following = call._replace(attempt=call.attempt + 1)
        if again and self._repeats.take(event.cause):
            return Retry(call.id, following, event.error, event.after_s)
        if call.step.substitute is not None and not closing:
            return substituted(following, event.error)
        error, help = event.error, event.help
        if again:
            help = f"not tried again: {self._repeats.made} calls of this run were repeated already"
        if event.gone:
            error = f"{error}; its engine stays away"
        if call.instead:
            error = f"{error}; it stood in, because {call.instead}"
        return Failure(call.instance, call.step, error, call.attempt, help, event.gone)


def substituted(call: Submit, error: str) -> Submit:
    """Return the next attempt at a call as its substitute makes it, because of an error."""
    step = call.step
    assert step.substitute is not None  # who asks has looked
    instead = f"`{step.executor}` failed: {error}"
    return call._replace(step=step.substitute, instead=instead, spent=call.attempt - 1)
