"""The driver: checks inputs and executors, starts the workers, runs a plan, keeps the record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import Diagnostic, InputError
from ..targets.failure_policy import FailurePolicy
from ..targets.library import Executor, Library
from ..targets.plan import EnginePlan, Plan
from .attempts import Limits
from .binding import bind_inputs, changed_executors, plan_executors
from .clock import Clock, RealClock
from .dispatch import Dispatcher
from .engine_lane import EngineLane
from .errors import CallFailed, Ending, RunError, StepFailure
from .interrupts import Interrupts
from .messages import Fail, Failure, Finish, NotTaken
from .program import compile_program
from .progress import OnEvent, OnInterrupt
from .record import RunRecord
from .recorder import Recorder
from .repeats import Repeats
from .results import ResultLines, lines_of
from .serving.fleet import Fleet, Serving
from .spending import UNBOUNDED, Bounds, Spending
from .tracing import RunTrace, Tracing
from .worker import Seats, WorkerFactory

if TYPE_CHECKING:
    from .cache.recalling import Cache, Recalling
    from .journal.journal import Journal
    from .kept import KeptWorkers

# What turns Ctrl-C and SIGTERM into a call while it is entered, or nothing into anything.
Listen = Callable[[Callable[[], None]], AbstractContextManager[object]]
# Iterations alive of one `for`: enough to keep every engine busy with some waiting, and a floor
# for plans whose steps need little.
_LEAST_WINDOW = 64
# Operations of the state machine between two looks at signals, deadlines and servers: milliseconds.
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class RunResult:
    """The workflow's result, and the record of the run.

    `lost_items` counts the items that the run went on without, where it may; `lost` are the
    failures of the first of them. `unrecorded` is why the record could not be written.
    """

    value: Any
    record: RunRecord
    lost: tuple[StepFailure, ...] = ()
    lost_items: int = 0
    unrecorded: str | None = None


async def run_plan(
    plan: Plan,
    inputs: Mapping[str, Any],
    *,
    library: Library,
    record: Path | None = None,
    on_event: OnEvent | None = None,
    signals: bool = False,
    on_interrupt: OnInterrupt | None = None,
    serving: Serving | None = None,
    tracing: Tracing | None = None,
    workers: Mapping[str, WorkerFactory] | None = None,
    clock: Clock | None = None,
    kept: KeptWorkers | None = None,
    journal: Journal | None = None,
    bounds: Bounds = UNBOUNDED,
    keep_going: bool = False,
    results: Path | None = None,
    cache: Cache | None = None,
    allow_changed: bool = False,
) -> RunResult:
    """Run a plan on values of its workflow's parameters, by name.

    `record` is where the record goes, kept on failure too. `signals` has Ctrl-C and SIGTERM end
    the run in order (main thread only); `on_interrupt` is then told, the first time, how many calls
    are at work. `serving` says where model servers are and where their logs go, `tracing` takes
    spans. `workers` are by runner, the real ones unless given; `clock` belongs to them.
    `kept` keeps those that run in processes here for the next run of the plan. `journal` is of this
    plan and these inputs; it is closed when this returns or raises `RunError`. `bounds` end the run
    before it uses up more. With `keep_going`, items of a `for` that fail are left out. A result
    that is a list goes to the JSON Lines file `results`, where one is named, and the value is then
    a `ListFile`: with an input that is `JsonLines`, memory does not grow with the list. What
    `cache` has is not done again, and what it may keep goes there; it needs the real workers.
    `allow_changed` goes on with a journal though executors are not those of the plan any more.
    Raises `InputError` where the plan cannot be run here, `RunError` where inputs do not fit, or
    the run fails or is interrupted.
    """
    with _written_down(journal) as ended:
        module = plan.module()
        workflow = module.sole()
        values = bind_inputs(workflow, inputs)
        resumed = journal is not None and journal.resumed
        executors: dict[str, Executor] = {}
        if workers is None:
            executors = plan_executors(plan, library, resumed=resumed, allow_changed=allow_changed)
        serving = serving if serving is not None else Serving()
        window = max(_LEAST_WINDOW, 2 * sum(e.concurrency for e in plan.engines))
        clock = clock if clock is not None else RealClock()
        real = isinstance(clock, RealClock)  # else no time passes while something is to be done
        at_once = _AT_ONCE if real else None
        limits = Limits(window, plan.failure, keep_going, at_once)
        repeats = Repeats(plan.failure, window)
        fleet = Fleet(plan, executors, serving, repeats)
        factories = workers if workers is not None else _factories(plan, fleet, kept)
        idempotent = [e.name for e in executors.values() if e.idempotent]
        engines = {e.name: _lane(e, executors, factories, plan.failure) for e in plan.engines}
        if dict(module.attrs).get("sequential") is True:
            turn = Seats(1)  # one call at a time, whatever engine it is on
            for engine in engines.values():
                engine.seats = turn
        program = compile_program(module, idempotent, handed_on=results is not None)
        spending = None
        if bounds != UNBOUNDED or fleet.max_usd:
            began_s = bounds.began_s if real and bounds.began_s is not None else clock.now()
            spending = Spending(plan, bounds, began_s, fleet.max_usd)
            if journal is not None:
                spending.before(program.steps, journal.paid())
        recorder = _recorder(plan, record, clock, dict(zip(program.params, values, strict=True)))
        if journal is not None and journal.resumed:
            recorder.resumed(journal.path, changed_executors(plan, executors))
        taking = None
        if results is not None:
            taking = lines_of(workflow, inputs, results, recorder.keep_media)
        recalling = _recalling(cache, plan, executors, serving) if cache is not None else None
        spans: AbstractContextManager[RunTrace | None] = nullcontext()
        if tracing is not None:
            spans = tracing.run(plan.workflow, plan.target, recorder.plan_sha256, clock.now)
        listen: Listen = Interrupts if signals else lambda action: nullcontext()
        with spans as trace:

            async def work() -> Finish | Fail:
                fleet.begin(trace)
                dispatcher = Dispatcher(
                    program,
                    engines,
                    clock,
                    recorder,
                    limits,
                    repeats,
                    on_event,
                    trace,
                    journal,
                    spending,
                    taking,
                    recalling,
                )
                interrupt = partial(dispatcher.interrupt, on_interrupt)
                with listen(interrupt):
                    return await dispatcher.run(values)

            start = partial(_start, engines.values(), listen, clock, spending)
            try:
                outcome, elapsed_s = await _carry_out(engines, fleet, recorder, clock, start, work)
                if taking is not None and isinstance(outcome, Finish):
                    outcome = _named(outcome, taking)
                return ended(_report(outcome, recorder, record, elapsed_s))
            finally:
                if taking is not None:
                    taking.leave()
                if recalling is not None:
                    await recalling.close()


@contextmanager
def _written_down(journal: Journal | None) -> Iterator[Callable[[RunResult], RunResult]]:
    """Have a journal, if there is one, say how its run ended; what is yielded takes the result."""
    state: str = "failed"
    why: str | None = None
    failed: RunError | None = None
    if journal is not None:
        journal.open()

    def ended(result: RunResult) -> RunResult:
        nonlocal state
        state = "done" if not result.lost_items else "partial"
        return result

    try:
        yield ended
    except RunError as error:
        state, why, failed = error.state, error.message, error
        raise
    except InputError as error:
        why = error.diagnostics[0].message
        raise
    finally:
        if journal is not None:
            journal.close(state, why)
            if failed is not None:
                failed.journal, failed.in_doubt = journal.path, journal.doubts()


async def _carry_out(
    engines: Mapping[str, EngineLane],
    fleet: Fleet,
    recorder: Recorder,
    clock: Clock,
    start: Callable[[], Awaitable[Fail | None]],
    work: Callable[[], Awaitable[Finish | Fail]],
) -> tuple[Finish | Fail, float]:
    """Start the engines, do the work, stop what was started; return how long the work took."""
    began_s = clock.now()
    try:
        fleet.open()
        failed = await start()
        recorder.started(clock.now() - began_s)
        if failed is not None:
            return failed, 0.0
        began_s = clock.now()  # latency counts with the engines running
        outcome = await work()
        await asyncio.gather(*(engine.worker.drain() for engine in engines.values()))
        return outcome, clock.now() - began_s
    finally:
        await asyncio.gather(*(engine.worker.stop() for engine in engines.values()))
        await fleet.close()
        recorder.engines(fleet.report(), fleet.gpus())


def _recalling(
    cache: Cache, plan: Plan, executors: Mapping[str, Executor], serving: Serving
) -> Recalling:
    from .cache.key import Surroundings
    from .cache.recalling import Recalling

    engines = {engine.name: engine for engine in plan.engines}
    met = Surroundings(engines, executors, serving.endpoints, serving.environ)
    return Recalling(cache, met)


def _factories(plan: Plan, fleet: Fleet, kept: KeptWorkers | None) -> dict[str, WorkerFactory]:
    runners = {engine.runner for engine in plan.engines}
    here: dict[str, WorkerFactory] = {}
    # imported where a plan has calls for them: the first call of model servers waits for imports
    if "python" in runners:
        from .python_worker import LanePools

        here["python"] = LanePools().worker
    if "torch" in runners:
        from .torch_worker import torch_worker

        here["torch"] = torch_worker
    if kept is not None:
        here = {runner: kept.keeping(make) for runner, make in here.items()}
    return {
        **here,
        "vllm": fleet.worker,
        "openai": fleet.worker,
    }


def _recorder(plan: Plan, path: Path | None, clock: Clock, inputs: Mapping[str, Any]) -> Recorder:
    if path is not None and path.exists() and not path.is_file():
        what = "folder" if path.is_dir() else "file of its own"
        message = f"cannot keep a record at `{path}`: it is {'a' if path.is_dir() else 'no'} {what}"
        raise InputError(Diagnostic("unusable-record", message))
    try:
        recorder = Recorder(plan, path, measured=isinstance(clock, RealClock))
    except OSError as error:
        message = f"cannot keep a record at `{path}`: {error.strerror}"
        raise InputError(Diagnostic("unusable-record", message)) from None
    try:
        recorder.inputs(inputs)
    except OSError as error:
        raise RunError(f"an input cannot be read: {error}") from None
    return recorder


def _named(outcome: Finish, results: ResultLines) -> Finish | Fail:
    value = results.finish()
    if isinstance(value, NotTaken):
        return Fail((Failure(value.place, None, value.error, 1, value.help),))
    return outcome._replace(value=value)


def _lane(
    engine: EnginePlan,
    executors: Mapping[str, Executor],
    factories: Mapping[str, WorkerFactory],
    policy: FailurePolicy,
) -> EngineLane:
    factory = factories.get(engine.runner)
    if factory is None:
        message = f"engine `{engine.name}` needs runner `{engine.runner}`, which does not run here"
        hint = "compile for this machine: `--target local`"
        raise InputError(Diagnostic("unknown-runner", message, help=hint))
    executor = executors.get(engine.executor)
    timeout_s = dict(executor.settings).get("timeout_s") if executor is not None else None
    limit_s = float(timeout_s) if isinstance(timeout_s, (int, float)) else None
    if engine.runner in ("vllm", "openai"):
        limit_s = None  # its worker minds it: waiting for a server does not count
    worker = factory(engine, executor)
    return EngineLane(engine.name, worker, engine.concurrency, limit_s, policy)


async def _start(
    engines: Iterable[EngineLane], listen: Listen, clock: Clock, spending: Spending | None
) -> Fail | None:
    """Start every worker, all at the same time; returns why the run ends here, if it does."""
    lanes = list(engines)
    starting = asyncio.gather(*(e.worker.start() for e in lanes), return_exceptions=True)
    given_up: Fail | None = None

    def give_up(why: Fail) -> None:
        nonlocal given_up
        given_up = why
        starting.cancel()

    deadline = None
    if spending is not None and spending.until_s is not None:
        late = Fail((), stopped=f"{spending.late()}, while its engines started")
        left_s = max(spending.until_s - clock.now(), 0.0)
        # not on the run's clock: what starts takes real time, or in a simulation none
        deadline = asyncio.get_running_loop().call_later(left_s, give_up, late)
    try:
        with listen(partial(give_up, Fail((), interrupted=True))):
            results = await starting
    except asyncio.CancelledError:
        if given_up is None:
            raise
        return given_up
    finally:
        if deadline is not None:
            deadline.cancel()
    failures = []
    for engine, error in zip(lanes, results, strict=True):
        if isinstance(error, CallFailed):
            failures.append(_not_started(engine.name, error))
        elif isinstance(error, BaseException):
            raise error
    return Fail(tuple(failures)) if failures else None


def _not_started(engine: str, error: CallFailed) -> Failure:
    return Failure(f"engine `{engine}`", None, error.message, 1, error.help)


def _report(
    outcome: Finish | Fail, recorder: Recorder, path: Path | None, elapsed_s: float
) -> RunResult:
    if isinstance(outcome, Finish):
        lost = tuple(_step_failure(failure) for failure in outcome.lost)
        status = "partial" if lost else "done"
        document = recorder.finish(status, outcome.value, lost, elapsed_s)
        kept = RunRecord(document, path if recorder.unwritten is None else None)
        return RunResult(outcome.value, kept, lost, outcome.lost_items, recorder.unwritten)
    failures = tuple(_step_failure(failure) for failure in outcome.failures)
    state: Ending = "failed"
    said = [str(failure) for failure in failures]
    if outcome.interrupted:
        state, said = "interrupted", ["interrupted", *said]
    elif outcome.stopped is not None:
        state, said = "stopped", [outcome.stopped, *said]
    totals = recorder.finish(state, None, failures, elapsed_s)["totals"]
    if recorder.unwritten is not None:
        said.append(f"the record `{path}` cannot be written: {recorder.unwritten}")
        path = None
    error = RunError("; ".join(said), failures, path, state=state)
    error.calls = (totals["measured"]["calls"], round(totals["predicted"]["calls"]))
    raise error


def _step_failure(failure: Failure) -> StepFailure:
    step = failure.step
    return StepFailure(
        instance=failure.instance,
        step=step.name if step is not None else None,
        executor=step.executor if step is not None else None,
        engine=step.engine if step is not None else None,
        reason=failure.message,
        attempts=failure.attempts,
        help=failure.help,
    )
