"""Dispatch: carries out the commands of the state machine, in the event loop, with workers."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .at_work import AtWork
from .attempts import Limits
from .backoff import pause_before
from .clock import Clock, Timer
from .engine_lane import EngineLane, expect_calls, expect_no_calls, next_ready
from .faults import guarded
from .journal import keeping
from .journal.restoring import Restoring
from .messages import (
    Away,
    Cancel,
    Command,
    Completed,
    Dropped,
    Due,
    Event,
    Fail,
    Failed,
    Finish,
    HandOn,
    Interrupted,
    Partial,
    Retired,
    Retry,
    Stopped,
    Submit,
)
from .observers import Observers, class_of
from .outcomes import ended, judged
from .program import Program
from .progress import OnEvent, OnInterrupt
from .recorder import Recorder
from .repeats import Repeats
from .results import ResultLines
from .spending import Spending
from .state import RunState
from .tracing import RunTrace

if TYPE_CHECKING:
    from .cache.recalling import Recalling
    from .journal.journal import Journal, Restored

# How long calls at work may take to end once another step has failed the run.
_GRACE_S = 10.0


class Dispatcher:
    """One run of a program on engines."""

    def __init__(
        self,
        program: Program,
        engines: Mapping[str, EngineLane],
        clock: Clock,
        recorder: Recorder,
        limits: Limits,
        repeats: Repeats,
        on_event: OnEvent | None,
        trace: RunTrace | None = None,
        journal: Journal | None = None,
        spending: Spending | None = None,
        results: ResultLines | None = None,
        recalling: Recalling | None = None,
    ) -> None:
        """Prepare a run; the engines' workers have been started, and the journal is open."""
        self._state = RunState(program, limits, repeats)
        self._policy = limits.policy
        self._results = results
        self._journal = journal
        self._spending = spending
        self._recalling = recalling
        self._id = journal.header.id if journal is not None else os.urandom(16).hex()
        self._commands: deque[Command] = deque()
        self._obeying = self._going_on = False
        self._restoring = Restoring(self._restore_call, self._broken)
        self._ending: set[int] = set()  # have ended, which is being written down, or is restored
        self._engines = engines
        self._sharing: dict[int, list[EngineLane]] = {}
        expect_calls(program.steps, engines)
        for engine in engines.values():
            self._sharing.setdefault(id(engine.seats), []).append(engine)
        self._clock = clock
        self._recorder = recorder
        self._observers = Observers(on_event, trace)
        self._began_s = 0.0
        self._at_work = AtWork(clock)
        self._waits: dict[int, Timer] = {}
        self._stopping: Timer | None = None
        self._outcome: asyncio.Future[Finish | Fail] | None = None

    async def run(self, inputs: Sequence[Any]) -> Finish | Fail:
        """Run to the end; when this returns, nothing is at work any more."""
        self._outcome = asyncio.get_running_loop().create_future()
        self._began_s = self._clock.now()
        deadline = None
        if self._spending is not None and self._spending.until_s is not None:
            left_s = max(self._spending.until_s - self._began_s, 0.0)
            deadline = self._clock.later(left_s, self._too_late)
        self._obey(self._state.start(inputs))
        outcome = await self._outcome
        for timer in (self._stopping, deadline):
            if timer is not None:
                timer.cancel()
        return outcome

    def interrupt(self, told: OnInterrupt | None = None) -> None:
        """Begin nothing more and wait for what is at work; the second time, stop that too."""
        if self._state.closing:
            self._at_work.stop()
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
        """Carry commands out, each before those that it leads to."""
        self._commands.extend(commands)
        if self._obeying:
            return
        self._obeying = True
        try:
            while self._commands:
                self._carry_out(self._commands.popleft())
        finally:
            self._obeying = False
        if self._state.unsettled and not self._going_on:
            self._going_on = True
            asyncio.get_running_loop().call_soon(guarded(self._work_on, self._broken), None)

    def _work_on(self, _: None) -> None:
        self._going_on = False
        self._obey(self._state.go_on())
        if self._state.closing:
            self._wind_up()

    def _carry_out(self, command: Command) -> None:
        if type(command) is Submit:
            self._submit(command)
        elif type(command) is Retry:
            pause_s = pause_before(command, self._policy)
            self._waits[command.id] = self._clock.later(pause_s, partial(self._due, command.id))
        elif type(command) is Cancel:
            self._cancel(command)
        elif type(command) is Retired:
            expect_no_calls(command.steps, self._engines)
        elif type(command) is HandOn:
            assert self._results is not None  # the program was compiled for it
            problem = self._results.take(command)
            if problem is not None:
                self._take(problem)
        elif self._outcome is not None and not self._outcome.done():
            assert isinstance(command, (Finish, Fail))
            self._outcome.set_result(command)

    def _submit(self, call: Submit) -> None:
        if self._state.closing:
            self._obey(self._state.apply(Dropped(call.id)))
            return
        first = call.attempt == 1 and not call.instead
        if self._journal is not None and first:
            earlier = self._taken_up(self._journal, call)
            if earlier is None:
                return
            call = earlier
        if self._recalling is None or not self._recalling.ask(call, self._go_on, self._broken):
            self._line_up(call)

    def _line_up(self, call: Submit) -> None:
        engine = self._engines[call.step.engine or ""]
        if engine.free:
            self._launch(engine, call)
        elif call.step.substitute is not None and not engine.breaker.patience:
            self._take(Away(call.id, f"engine `{engine.name}` stays away"))
        else:
            engine.waiting.append(call)

    def _taken_up(self, journal: Journal, call: Submit) -> Submit | None:
        """Answer a call from the journal, and return None, or what is left of it to be done."""
        journal.names.begin(call, incomplete=self._state.losses.items > 0)
        found = journal.restored(call)
        if found is not None:
            self._restoring.add(call, found)
            self._ending.add(call.id)
            return None
        begun = journal.begun(call) if not call.step.repeatable else None
        if begun is not None:
            engine = self._engines[call.step.engine or ""]
            at_s = self._clock.now() - self._began_s
            self._settle(
                *(engine, call, at_s, "effect", None),
                keeping.in_question(call, journal.names(call), begun),
            )
            return None
        items = journal.items(call)
        if not items:
            return call
        self._obey(self._state.apply(Partial(call.id, items)))
        return call._replace(given=tuple(items))

    def _go_on(self, call: Submit, found: Restored | None) -> None:
        """Go on with a call that the cache was asked for; a journal keeps what was found too."""
        if self._state.closing:
            self._take(Dropped(call.id))
        elif found is None:
            self._line_up(call)
        else:
            self._ending.add(call.id)
            engine, at_s = self._engines[call.step.engine or ""], self._clock.now() - self._began_s
            fail = guarded(partial(self._settle, engine, call, at_s, "_OTHER", None), self._broken)
            give = partial(self._restoring.add, call, found)
            keeping.pass_on(self._journal, call, found.value, give, fail)

    def _restore_call(self, call: Submit, found: Restored) -> None:
        at_s = self._clock.now() - self._began_s
        engine = self._engines[call.step.engine or ""]
        event: Completed | Failed = Completed(call.id, found.value)
        problem = self._recorder.restored(call, engine.name, at_s, found.value, found.how)
        if problem is not None:
            event = Failed(call.id, problem, False)
        self._observers.restored(call, engine.name, at_s, found.how)
        self._ending.discard(call.id)
        self._take(event)

    def _cancel(self, command: Cancel) -> None:
        call, engine = command.id, self._engines[command.step.engine or ""]
        if call in self._ending:
            return  # the state machine hears of it, and knows that it is not wanted
        if call in self._at_work:
            self._at_work.give_up(call)
            return
        wait = self._waits.pop(call, None)
        if wait is not None:
            wait.cancel()
        elif self._recalling is None or not self._recalling.give_up(call):
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
        while self._waits:
            call, timer = self._waits.popitem()
            timer.cancel()
            self._obey(self._state.apply(Due(call)))
        wanted = self._state.interrupted or self._state.stopped is not None
        if self._stopping is None and self._state.in_flight and not wanted:
            self._stopping = self._clock.later(_GRACE_S, self._at_work.stop)

    # ---- calls

    def _too_late(self) -> None:
        assert self._spending is not None  # it has the deadline
        self._take(Stopped(self._spending.late()))
        self._at_work.stop()

    def _launch(self, engine: EngineLane, call: Submit) -> None:
        if self._spending is not None:
            why = self._spending.refusal(call.step, self._clock.now())
            if why is not None:
                self._take(Stopped(why))
                self._take(Dropped(call.id))
                return
            self._spending.begin(call.step)
        engine.begin(call.id)
        started_s = self._clock.now() - self._began_s
        self._observers.began(call, engine.name, started_s, self._began_s + started_s)
        future = self._begun(engine, call)
        self._at_work.add(call.id, future, engine.timeout_s)
        end = partial(self._end_call, engine, call, started_s)
        future.add_done_callback(guarded(end, self._broken))

    def _begun(self, engine: EngineLane, call: Submit) -> asyncio.Future[Any]:
        if call.step.task.effect:
            call = call._replace(key=keeping.key_of(call, self._id, self._journal))
            if self._journal is not None:
                doing = keeping.intended(self._journal, call, engine.worker.submit)
                return asyncio.get_running_loop().create_task(doing)
        offer = partial(self._offered, call) if call.step.streams else None
        return engine.worker.submit(call, offer)

    def _offered(self, call: Submit, items: Sequence[Any]) -> None:
        event = Partial(call.id, items)
        if self._journal is None:
            self._take(event)
        else:
            taken = guarded(partial(self._take_kept, event), self._broken)
            self._journal.keep_items(call, items, taken)

    def _take_kept(self, event: Partial, error: Exception | None) -> None:
        if error is None:  # else what is not written down fails with its call
            self._take(event)

    def _broken(self, error: Exception) -> None:
        """End the run by a fault of this program: else it would hang."""
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_exception(error)

    def _end_call(
        self, engine: EngineLane, call: Submit, started_s: float, future: asyncio.Future[Any]
    ) -> None:
        engine.end()
        timed_out, unwanted = self._at_work.remove(call.id)
        ended_s = self._clock.now() - self._began_s
        event, usage = ended(engine, call, future, timed_out=timed_out, unwanted=unwanted)
        event, pause_s = judged(engine, event, future)
        if pause_s is not None:
            self._clock.later(pause_s, partial(self._try_again, engine))
            self._line_up_again(engine)
        if self._spending is not None:
            self._spending.end(call.step, usage, completed=type(event) is Completed)
        problem = self._recorder.call(call, engine.name, started_s, ended_s, event, usage)
        if self._recalling is not None and type(event) is Completed:
            self._recalling.keep(call, event.value)
        what = None if type(event) is Completed else class_of(future, timed_out=timed_out)
        settle = partial(self._settle, engine, call, ended_s, what, problem)
        if self._journal is None:
            settle(event)
        else:
            lost = keeping.is_untouched(future)
            self._ending.add(call.id)
            keeping.write_down(
                self._journal, call, event, usage, guarded(settle, self._broken), lost
            )
        self._launch_waiting(engine)

    def _settle(
        self,
        engine: EngineLane,
        call: Submit,
        ended_s: float,
        what: str | None,
        problem: str | None,
        event: Completed | Failed | Dropped,
    ) -> None:
        """Tell the state machine how a call ended, and everybody else; do what follows.

        It has failed where there is a `problem`, whatever the journal has of it.
        """
        if problem is not None:
            event = Failed(call.id, problem, False)
        self._ending.discard(call.id)
        failures = self._state.failures
        commands = self._state.apply(event)
        counts = self._state.failures > failures
        self._observers.ended(call, engine.name, ended_s, event, commands, counts=counts)
        self._observers.traced(call, self._began_s + ended_s, event, commands, what)
        self._obey(commands)
        if self._state.closing:
            self._wind_up()

    def _line_up_again(self, engine: EngineLane) -> None:
        """Let what waits for an engine that has opened its breaker find substitutes."""
        waiting, engine.waiting = engine.waiting, deque()
        for call in waiting:
            self._line_up(call)

    def _try_again(self, engine: EngineLane) -> None:
        engine.breaker.half_open()
        self._launch_waiting(engine)

    def _launch_waiting(self, engine: EngineLane) -> None:
        """Begin what an engine's free place allows, there or where the same seats are shared."""
        lanes = [engine] if engine.seats is None else self._sharing[id(engine.seats)]
        while (ready := next_ready(lanes)) is not None:
            self._launch(ready, ready.take())
