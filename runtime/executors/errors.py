"""The one error an executor raises for what its user can understand and act on."""

from __future__ import annotations


class ExecutorError(Exception):
    """A call failed for a reason told in its message: what, why, and what to do.

    `retryable` says whether the same call may succeed later (a refused connection, a busy server);
    the run state machine repeats only those.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        """Keep the message for the user and whether a repetition can help."""
        super().__init__(message, retryable)  # both in `args`, so that pickling keeps both
        self.message = message
        self.retryable = retryable

    def __str__(self) -> str:
        """Return the message alone."""
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from message and flag: the default would drop the keyword argument."""
        return _rebuild, (self.message, self.retryable)


def _rebuild(message: str, retryable: bool) -> ExecutorError:
    return ExecutorError(message, retryable=retryable)
