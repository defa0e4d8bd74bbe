"""Dispatch: carries out the commands of the state machine, in the event loop, with workers."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from .clock import Clock, Timer
from .errors import CallFailed
from .messages import (
    Cancel,
    Command,
    Completed,
    Dropped,
    Due,
    Event,
    Fail,
    Failed,
    Finish,
    Interrupted,
    Partial,
    Retired,
    Retry,
    Submit,
)
from .program import Program
from .progress import OnEvent, OnInterrupt, RunEvent
from .recorder import Recorder
from .state import Limits, RunState
from .tracing import RunTrace
from .worker import Measured, Usage, Worker

# Waits before attempts 2, 3, … double from the first to the last of these, in seconds, and are
# shortened by up to half at random, so that steps that failed together do not return together.
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
# Why a call was stopped.
NOT_CHOSEN = "stopped: its branch of the `if` was not chosen, or had failed"
ENDING = "stopped, because the run is ending"
# How long calls at work may take to end once another step has failed the run.
_GRACE_S = 10.0


class EngineLane:
    """An engine at run time: its worker, how many calls it takes at once, what waits for it."""

    __slots__ = (
        *("coming", "concurrency", "name", "running", "seats"),
        *("timeout_s", "waiting", "worker"),
    )

    def __init__(
        self, name: str, worker: Worker, concurrency: int, timeout_s: float | None
    ) -> None:
        """Start with nothing running; `timeout_s` None lets a call take as long as it takes."""
        self.name = name
        self.worker = worker
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.seats = worker.seats
        self.running = 0
        self.waiting: deque[Submit] = deque()
        self.coming: set[str] = set()  # steps on it whose calls have not all been done

    @property
    def free(self) -> bool:
        """Whether a call can begin now."""
        seats = self.seats
        return self.running < self.concurrency and (seats is None or seats.taken < seats.size)


class Dispatcher:
    """One run of a program on engines."""

    def __init__(
        self,
        program: Program,
        engines: Mapping[str, EngineLane],
        clock: Clock,
        recorder: Recorder,
        limits: Limits,
        on_event: OnEvent | None,
        trace: RunTrace | None = None,
    ) -> None:
        """Prepare a run; the engines' workers have been started."""
        self._state = RunState(program, limits)
        self._engines = engines
        self._sharing: dict[int, list[EngineLane]] = {}
        for step in program.steps:
            engines[step.engine or ""].coming.add(step.name)
        for engine in engines.values():
            self._sharing.setdefault(id(engine.seats), []).append(engine)
        self._clock = clock
        self._recorder = recorder
        self._on_event = on_event
        self._trace = trace
        self._began_s = 0.0
        self._at_work: dict[int, tuple[asyncio.Future[Any], Timer | None]] = {}
        self._timed_out: set[int] = set()
        self._cancelled: set[int] = set()  # at work for a branch that was given up
        self._waits: dict[int, Timer] = {}
        self._stopping: Timer | None = None
        self._outcome: asyncio.Future[Finish | Fail] | None = None

    async def run(self, inputs: Sequence[Any]) -> Finish | Fail:
        """Run to the end; when this returns, nothing is at work any more."""
        self._outcome = asyncio.get_running_loop().create_future()
        self._began_s = self._clock.now()
        self._obey(self._state.start(inputs))
        outcome = await self._outcome
        if self._stopping is not None:
            self._stopping.cancel()
        return outcome

    def interrupt(self, told: OnInterrupt | None = None) -> None:
        """Begin nothing more and wait for what is at work; the second time, stop that too."""
        if self._state.closing:
            self._stop_calls()
            return
        at_work = len(self._at_work)
        self._take(Interrupted())
        if told is not None and at_work:
            told(at_work)

    # ---- commands

    def _take(self, event: Event) -> None:
        self._obey(self._state.apply(event))
        if self._state.closing:
            self._wind_up()

    def _obey(self, commands: list[Command]) -> None:
        for command in commands:
            if type(command) is Submit:
                engine = self._engines[command.step.engine or ""]
                if engine.free:
                    self._launch(engine, command)
                else:
                    engine.waiting.append(command)
            elif type(command) is Retry:
                wait_s = max(_wait_s(command.submit.attempt), command.after_s)
                self._waits[command.id] = self._clock.later(wait_s, partial(self._due, command.id))
            elif type(command) is Cancel:
                self._cancel(command)
            elif type(command) is Retired:
                self._retire(command)
            elif self._outcome is not None and not self._outcome.done():
                assert isinstance(command, (Finish, Fail))
                self._outcome.set_result(command)

    def _retire(self, command: Retired) -> None:
        for step in command.steps:
            engine = self._engines[step.engine or ""]
            engine.coming.discard(step.name)
            if not engine.coming:
                engine.worker.retire()

    def _cancel(self, command: Cancel) -> None:
        call, engine = command.id, self._engines[command.step.engine or ""]
        if call in self._at_work:
            self._cancelled.add(call)
            self._at_work[call][0].cancel()
            return
        wait = self._waits.pop(call, None)
        if wait is not None:
            wait.cancel()
        else:
            engine.waiting = deque(submit for submit in engine.waiting if submit.id != call)
        self._obey(self._state.apply(Dropped(call)))

    def _due(self, call: int) -> None:
        del self._waits[call]
        self._take(Due(call))

    def _wind_up(self) -> None:
        """Give back what has not begun; calls at work may end, for a while."""
        for engine in self._engines.values():
            while engine.waiting:
                self._obey(self._state.apply(Dropped(engine.waiting.popleft().id)))
        for call, timer in list(self._waits.items()):
            timer.cancel()
            self._due(call)
        if self._stopping is None and self._state.in_flight and not self._state.interrupted:
            self._stopping = self._clock.later(_GRACE_S, self._stop_calls)

    def _stop_calls(self) -> None:
        for future, _ in list(self._at_work.values()):
            future.cancel()

    # ---- calls

    def _launch(self, engine: EngineLane, call: Submit) -> None:
        engine.running += 1
        if engine.seats is not None:
            engine.seats.taken += 1
        started_s = self._clock.now() - self._began_s
        if self._on_event is not None:
            self._tell("started", started_s, call, engine)
        if self._trace is not None:
            self._trace.begin(call, self._began_s + started_s)
        offer = partial(self._offered, call.id) if call.step.streams else None
        future = engine.worker.submit(call, offer)
        timer = None
        if engine.timeout_s is not None:
            timer = self._clock.later(engine.timeout_s, partial(self._time_out, call.id, future))
        self._at_work[call.id] = (future, timer)
        future.add_done_callback(partial(self._done, engine, call, started_s))

    def _offered(self, call: int, items: Sequence[Any]) -> None:
        self._take(Partial(call, items))

    def _time_out(self, call: int, future: asyncio.Future[Any]) -> None:
        self._timed_out.add(call)
        future.cancel()

    def _done(
        self, engine: EngineLane, call: Submit, started_s: float, future: asyncio.Future[Any]
    ) -> None:
        try:
            self._end_call(engine, call, started_s, future)
        except Exception as error:
            # A fault of this program: without this it would be logged, and the run would hang.
            if self._outcome is not None and not self._outcome.done():
                self._outcome.set_exception(error)

    def _end_call(
        self, engine: EngineLane, call: Submit, started_s: float, future: asyncio.Future[Any]
    ) -> None:
        engine.running -= 1
        if engine.seats is not None:
            engine.seats.taken -= 1
        _, timer = self._at_work.pop(call.id)
        if timer is not None:
            timer.cancel()
        ended_s = self._clock.now() - self._began_s
        timed_out = call.id in self._timed_out
        event, usage = self._event(engine, call, future)
        try:
            self._recorder.call(call, engine.name, started_s, ended_s, event, usage)
        except OSError as error:  # a medium that is not there, a full disk
            event = Failed(call.id, f"what it returned cannot be recorded: {error}", False)
            self._recorder.call(call, engine.name, started_s, ended_s, event, usage)
        failures = self._state.failures
        commands = self._state.apply(event)
        if self._on_event is not None:
            counts = self._state.failures > failures
            self._tell_end(event, commands, ended_s, call, engine, counts)
        if self._trace is not None and not any(type(c) is Retry for c in commands):
            what = _class_of(event, future, timed_out)
            self._trace.end(call, self._began_s + ended_s, what)
        self._obey(commands)
        if self._state.closing:
            self._wind_up()
        self._launch_waiting(engine)

    def _launch_waiting(self, engine: EngineLane) -> None:
        """Begin what an engine's free place allows, there or where the same seats are shared."""
        if engine.seats is None:
            while engine.waiting and engine.free:
                self._launch(engine, engine.waiting.popleft())
            return
        sharing = self._sharing[id(engine.seats)]
        while ready := [e for e in sharing if e.waiting and e.free]:
            # what has waited longest goes first: items move on instead of piling up
            oldest = min(ready, key=lambda e: e.waiting[0].id)
            self._launch(oldest, oldest.waiting.popleft())

    def _event(
        self, engine: EngineLane, call: Submit, future: asyncio.Future[Any]
    ) -> tuple[Completed | Failed | Dropped, Usage | None]:
        unwanted = call.id in self._cancelled
        self._cancelled.discard(call.id)
        if future.cancelled():
            if call.id in self._timed_out:
                self._timed_out.discard(call.id)
                return Failed(call.id, f"timed out after {engine.timeout_s:g} s", True), None
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
        return Failed(call.id, message, error.retryable, error.help, error.after_s), error.usage

    # ---- telling

    def _tell(self, kind: Any, at_s: float, call: Submit, engine: EngineLane, **more: Any) -> None:
        assert self._on_event is not None
        self._on_event(
            RunEvent(kind, at_s, call.instance, call.step.name, engine.name, call.attempt, **more)
        )

    def _tell_end(
        self,
        event: Completed | Failed | Dropped,
        commands: list[Command],
        at_s: float,
        call: Submit,
        engine: EngineLane,
        counts: bool,
    ) -> None:
        """Tell of a call's end; `counts`: what went wrong with it has failed the run."""
        if type(event) is Completed:
            items = len(event.value) if isinstance(event.value, list) else None
            self._tell("completed", at_s, call, engine, items=items)
            return
        again = any(type(c) is Retry for c in commands)
        if type(event) is Failed and (again or counts):
            self._tell("retried" if again else "failed", at_s, call, engine, reason=event.error)
        else:
            self._tell("cancelled", at_s, call, engine)


def _result(call: Submit, value: Any) -> tuple[Completed | Failed, Usage | None]:
    usage = None
    if type(value) is Measured:
        value, usage = value
    problem = call.step.check(value)
    if problem is None:
        return Completed(call.id, value), usage
    return Failed(call.id, f"returned a value of the wrong type: {problem}", False), usage


def _class_of(
    event: Completed | Failed | Dropped, future: asyncio.Future[Any], timed_out: bool
) -> str | None:
    """Return a word for what went wrong, which quotes nothing; None where nothing did."""
    if type(event) is Completed:
        return None
    if timed_out:
        return "timeout"
    if future.cancelled():
        return "cancelled"
    error = future.exception()
    return error.kind if isinstance(error, CallFailed) else "_OTHER"


def _wait_s(attempt: int) -> float:
    longest_s = min(_FIRST_WAIT_S * 2.0 ** (attempt - 2), _LONGEST_WAIT_S)
    return longest_s * random.uniform(0.5, 1.0)


class Interrupts:
    """Turns Ctrl-C and SIGTERM into a call, while it is entered (main thread only)."""

    def __init__(self, action: Callable[[], None]) -> None:
        """Take what to do at each signal."""
        self._action = action

    def __enter__(self) -> None:
        """Take the signals over."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._action)

    def __exit__(self, *error: object) -> None:
        """Give the signals back."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
