"""When calls are written down: effects before they begin, results before others go on with them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

from ..errors import CallFailed
from ..messages import Completed, Dropped, Failed, Submit
from ..worker import Usage
from .codec import TooLong
from .journal import Begun, Journal

SETTLE = (
    "find out whether it happened, then say so: `--settle '{0}=RESULT'` with what it gave, as "
    "JSON, or `--settle '{0}=again'` to have it done"
)

_NOT_KEPT = "its result cannot be written to the journal: {}"
_SHORTER = "return less, or a file; or run it with `--no-journal`"
_ROOM = "what was completed before is safe; make room and go on with `mkb run --resume`"
Ended = Completed | Failed | Dropped


async def intended(
    journal: Journal, call: Submit, submit: Callable[[Submit], asyncio.Future[Any]]
) -> Any:
    """Do an effect once its intent is written down; raises `CallFailed` like a worker."""
    try:
        await journal.intend(call)
    except asyncio.CancelledError:
        journal.forget(call)
        raise
    except Exception as error:
        message = f"it was not begun, since the journal cannot be written: {error}"
        raise CallFailed(message, untouched=True) from error
    return await submit(call)


def key_of(call: Submit, run: str, journal: Journal | None) -> str:
    """Return the idempotency key of an effect: the same whenever this run does it."""
    name = journal.names(call) if journal is not None else call.instance
    return hashlib.sha256(f"{run} {name}".encode()).hexdigest()[:32]


def in_question(call: Submit, name: str, begun: Begun) -> Failed:
    """Return the failure of an effect that may have happened before, and must not be repeated."""
    if begun.done:
        why = "it was done before, and its result cannot be had any more"
    else:
        how = f", and failed: {begun.why}" if begun.why else ""
        why = f"it was begun before{how}; nobody can tell here whether it happened"
    return Failed(call.id, why, False, SETTLE.format(name))


def is_untouched(future: asyncio.Future[Any]) -> bool:
    """Tell whether a call that ended certainly changed nothing in the world."""
    error = None if future.cancelled() else future.exception()
    return isinstance(error, CallFailed) and error.untouched


def write_down(
    journal: Journal,
    call: Submit,
    event: Ended,
    usage: Usage | None,
    settle: Callable[[Ended], None],
    untouched: bool,
) -> None:
    """Have the end of a call written down; `settle` gets it when that is safe.

    `untouched` says that a call that failed certainly changed nothing in the world.
    """

    def written(error: Exception | None) -> None:
        if error is None:
            settle(event)
        else:
            if call.step.task.effect and not call.step.repeatable:
                journal.doubt(call)
            help = _SHORTER if isinstance(error, TooLong) else _ROOM
            settle(Failed(call.id, _NOT_KEPT.format(error), False, help))

    if type(event) is Completed:
        journal.keep(call, event.value, usage, written)
        return
    if call.step.task.effect and untouched:
        journal.forget(call)
    elif call.step.task.effect:
        event = _doubtful(journal, call, event)
    if call.step.streams:  # behind the items that are being written down
        journal.after(call, lambda error: settle(event))
    else:
        settle(event)


def _doubtful(journal: Journal, call: Submit, event: Ended) -> Ended:
    """Return the end of an effect that may have happened all the same, with what to do about it."""
    if not call.step.repeatable:
        journal.doubt(call)
    if not isinstance(event, Failed):
        return event
    journal.failed(call, event.error)
    if call.step.repeatable:
        return event
    help = SETTLE.format(journal.names(call))
    return event._replace(help=help if event.help is None else f"{event.help}; {help}")


def pass_on(
    journal: Journal | None,
    call: Submit,
    value: Any,
    give: Callable[[], None],
    fail: Callable[[Ended], None],
) -> None:
    """Have a result that another run has made written down, if there is a journal; then `give` it.

    `fail` gets how the call ends where it cannot be written.
    """
    if journal is None:
        give()
        return

    def settle(event: Ended) -> None:
        if type(event) is Completed:
            give()
        else:
            fail(event)

    write_down(journal, call, Completed(call.id, value), None, settle, False)
