"""The one error an executor raises for what its user can understand and act on."""

from __future__ import annotations


class ExecutorError(Exception):
    """A call failed for a reason told in its message: what, why, and what to do.

    `retryable` says whether the same call may succeed later (a refused connection, a busy server);
    the run state machine repeats only those. `untouched` says that the call certainly changed
    nothing in the world, so that an effect may be done again.
    """

    def __init__(self, message: str, *, retryable: bool = False, untouched: bool = False) -> None:
        """Keep the message for the user and what a repetition can help and harm."""
        super().__init__(message)
        self.message = message
        self.retryable = retryable
        self.untouched = untouched

    def __str__(self) -> str:
        """Return the message alone."""
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from message and flags: the default would drop the keyword arguments."""
        return _rebuild, (self.message, self.retryable, self.untouched)


def _rebuild(message: str, retryable: bool, untouched: bool) -> ExecutorError:
    return ExecutorError(message, retryable=retryable, untouched=untouched)
