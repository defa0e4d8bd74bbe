"""What the end of a call at work means: a value, a failure, or that it was stopped."""

from __future__ import annotations

import asyncio
from typing import Any

from .engine_lane import EngineLane
from .errors import CallFailed
from .messages import Completed, Dropped, Failed, Submit
from .worker import Measured, Usage

# Why a call was stopped.
NOT_CHOSEN = "stopped: its branch of the `if` was not chosen, or had failed"
ENDING = "stopped, because the run is ending"


def ended(
    engine: EngineLane,
    call: Submit,
    future: asyncio.Future[Any],
    *,
    timed_out: bool,
    unwanted: bool,
) -> tuple[Completed | Failed | Dropped, Usage | None]:
    """Return how a call ended, and what it used up, where its worker told.

    It may have been given up because it `timed_out`, or as `unwanted`: its branch was not chosen.
    """
    if future.cancelled():
        if timed_out:
            late = f"timed out after {engine.timeout_s:g} s"
            return Failed(call.id, late, True, cause="timeout"), None
        # What was stopped did not fail: why it was stopped is what the run tells.
        return Dropped(call.id, NOT_CHOSEN if unwanted else ENDING), None
    error = future.exception()
    if error is None:
        return _result(call, future.result())
    if not isinstance(error, CallFailed):
        raise error
    down = engine.worker.health()
    also = f" (engine `{engine.name}`: {down})" if down not in (None, error.message) else ""
    message = error.message + also
    failed = Failed(call.id, message, error.retryable, error.help, error.after_s, cause=error.cause)
    return failed, error.usage


def judged(
    engine: EngineLane, event: Completed | Failed | Dropped, future: asyncio.Future[Any]
) -> tuple[Completed | Failed | Dropped, float | None]:
    """Have an engine's breaker learn how a call ended; return that, and the pause, if it opens.

    What fails on an engine that has failed everything for long is no fault of the call.
    """
    sound = _is_sound(event, future)
    pause_s = engine.breaker.ended(event.id, sound)
    if sound is False and isinstance(event, Failed) and not engine.breaker.patience:
        event = event._replace(gone=True)
    return event, pause_s


def _is_sound(event: Completed | Failed | Dropped, future: asyncio.Future[Any]) -> bool | None:
    """Tell what the end of a call says of its engine: that it works, or not; None: neither.

    An answer that is no good says nothing, nor does a call that nobody could have carried out.
    """
    if type(event) is Completed:
        return True
    if not isinstance(event, Failed) or not event.retryable:
        return None
    error = None if future.cancelled() else future.exception()
    return None if isinstance(error, CallFailed) and error.kind == "malformed" else False


def _result(call: Submit, value: Any) -> tuple[Completed | Failed, Usage | None]:
    usage = None
    if type(value) is Measured:
        value, usage = value
    problem = call.step.check(value)
    if problem is None:
        return Completed(call.id, value), usage
    return Failed(call.id, f"returned a value of the wrong type: {problem}", False), usage
