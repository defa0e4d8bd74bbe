"""Who is told of the calls of a run: whoever shows its progress, and its trace."""

from __future__ import annotations

import asyncio
from typing import Any

from .errors import CallFailed
from .messages import Command, Completed, Dropped, Failed, Retry, Submit
from .progress import EventKind, Known, OnEvent, RunEvent
from .tracing import RunTrace


class Observers:
    """Passes on what happens to calls; `at_s` are seconds into the run, `now_s` of its clock."""

    def __init__(self, on_event: OnEvent | None, trace: RunTrace | None) -> None:
        """Tell these, where they are there."""
        self._on_event = on_event
        self._trace = trace

    def began(self, call: Submit, engine: str, at_s: float, now_s: float) -> None:
        """Tell that an attempt at a call has begun."""
        self._tell("started", at_s, call, engine)
        if self._trace is not None:
            self._trace.begin(call, now_s)

    def restored(self, call: Submit, engine: str, at_s: float, how: Known) -> None:
        """Tell that a call was done by an earlier run, and how its result is known."""
        self._tell(how, at_s, call, engine)

    def ended(
        self,
        call: Submit,
        engine: str,
        at_s: float,
        event: Completed | Failed | Dropped,
        commands: list[Command],
        *,
        counts: bool,
    ) -> None:
        """Tell of a call's end; `counts`: what went wrong with it has failed the run."""
        if type(event) is Completed:
            items = len(event.value) if isinstance(event.value, list) else None
            self._tell("completed", at_s, call, engine, items=items)
            return
        again = _goes_on(call, commands)
        if type(event) is Failed and (again or counts):
            self._tell("retried" if again else "failed", at_s, call, engine, reason=event.error)
        else:
            self._tell("cancelled", at_s, call, engine)

    def traced(
        self,
        call: Submit,
        now_s: float,
        event: Completed | Failed | Dropped,
        commands: list[Command],
        what: str | None,
    ) -> None:
        """End a call's span, unless it is tried again; `what` is a word for what went wrong."""
        if self._trace is not None and not _goes_on(call, commands):
            self._trace.end(call, now_s, None if type(event) is Completed else what)

    def _tell(self, kind: EventKind, at_s: float, call: Submit, engine: str, **more: Any) -> None:
        if self._on_event is not None:
            event = RunEvent(
                kind, at_s, call.instance, call.step.name, engine, call.attempt, **more
            )
            self._on_event(event)


def _goes_on(call: Submit, commands: list[Command]) -> bool:
    """Tell whether a call is attempted again, by its executor or its substitute."""
    return any(isinstance(c, (Retry, Submit)) and c.id == call.id for c in commands)


def class_of(future: asyncio.Future[Any], *, timed_out: bool) -> str:
    """Return a word for what went wrong with a call, which quotes nothing."""
    if timed_out:
        return "timeout"
    if future.cancelled():
        return "cancelled"
    error = future.exception()
    return error.kind if isinstance(error, CallFailed) else "_OTHER"
