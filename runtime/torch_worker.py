"""The worker of `torch` executors: models run by `transformers`, a child process per replica.

Calls that wait together go to a replica as one batch. A replica that dies fails the calls it was
at, as retryable, and is started anew; a call that is repeated goes alone, so that one which kills
its process takes no other with it again. Nothing here loads torch.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..ir.diagnostics import did_you_mean
from ..targets.library import Executor
from ..targets.model_folder import model_location
from ..targets.plan import EnginePlan
from .child_process import ChildProcess, pickled, unpickled
from .errors import CallFailed
from .messages import Submit
from .torch_models import FAMILIES
from .worker import Offer

_DEFAULT_BATCH = 8
# Settings that are this worker's own, or the driver's; the model gets the others with the knobs.
_NOT_THE_MODELS = frozenset({"batch", "timeout_s"})


def torch_worker(engine: EnginePlan, executor: Executor | None) -> TorchWorker:
    """Return the worker of an engine; its executor was found before."""
    assert executor is not None
    return TorchWorker(engine, executor)


@dataclass(eq=False, slots=True)
class _Call:
    """A call on its way, and the batch that it is at work in."""

    future: asyncio.Future[Any]
    interface: str
    arguments: Mapping[str, Any]
    knobs: Mapping[str, Any]
    alone: bool
    batch: _Batch | None = None

    def goes_with(self, other: _Call) -> bool:
        """Tell whether one pass can answer both."""
        if self.alone or other.alone:
            return False
        return self.interface == other.interface and self.knobs == other.knobs


@dataclass(eq=False, slots=True)
class _Batch:
    replica: _Replica
    calls: list[_Call] = field(default_factory=list)

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for any of it."""
        return all(call.future.done() for call in self.calls)


class _Replica:
    """A child process that holds the model. Its methods block; `kill` may come from any thread."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self._asked = asked
        self._child: ChildProcess | None = None
        self._ended = False

    @property
    def standing(self) -> bool:
        return self._child is not None

    def start(self) -> None:
        """Start the process and load the model; raises `CallFailed`."""
        child = ChildProcess("torch_child", self._asked, cores=self._asked["cores"])
        self._child = child
        if self._ended:  # `end` may have come before there was anything to kill
            child.kill()
        try:
            ready, failure = unpickled(child.receive())
        except CallFailed:
            self._child = None
            raise
        if not ready:
            self.close()
            raise _failed(failure)

    def ask(self, batch: object) -> Sequence[tuple[bool, Any]]:
        """Have a batch answered; raises `CallFailed`, retryable where the process dies of it."""
        assert self._child is not None  # only standing replicas are asked
        message = pickled(batch)
        try:
            answer = self._child.ask(message)
        except CallFailed as error:
            self._child = None
            raise CallFailed(error.message, retryable=True) from None
        answers: Sequence[tuple[bool, Any]] = unpickled(answer)
        return answers

    def kill(self) -> None:
        """Kill the process, with what it is at."""
        if self._child is not None:
            self._child.kill()

    def end(self) -> None:
        """Kill the process, or the one that is about to be."""
        self._ended = True
        self.kill()

    def close(self) -> None:
        """Let the process end; it is at no work."""
        if self._child is not None:
            self._child.close()
        self._child = None


class TorchWorker:
    """Runs one model for an engine, in as many processes as the engine has replicas."""

    def __init__(self, engine: EnginePlan, executor: Executor) -> None:
        """Prepare; nothing runs before `start`."""
        self._executor = executor
        self._settings = dict(executor.settings)
        self._concurrency = engine.concurrency
        self._replicas = [_Replica(_asked(engine, executor, i)) for i in range(engine.replicas)]
        self._threads = ThreadPoolExecutor(engine.replicas, thread_name_prefix=engine.name)
        self._batch = _DEFAULT_BATCH
        self._idle: list[_Replica] = []
        self._waiting: deque[_Call] = deque()
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._filling = False
        self._lost: CallFailed | None = None  # why the last replica could not be started anew
        self._retired = self._stopped = False

    @property
    def seats(self) -> None:
        """Nothing is shared: the engine's concurrency is all there is."""

    async def start(self) -> None:
        """Load the model in every replica at once; raises `CallFailed`."""
        self._batch = self._checked_batch()
        _check_interface(self._executor.interface)
        loads = [self._in_thread(replica.start) for replica in self._replicas]
        outcomes = await asyncio.gather(*loads, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        self._idle = list(self._replicas)

    def _checked_batch(self) -> int:
        batch = self._settings.get("batch", _DEFAULT_BATCH)
        if type(batch) is not int or batch < 1:
            raise CallFailed(
                f"`settings.batch` is `{batch}`", help="give how many calls make a batch, from 1"
            )
        # more are never in flight than the plan allows, and the replicas share those out
        return max(1, min(batch, math.ceil(self._concurrency / len(self._replicas))))

    def submit(self, call: Submit, offer: Offer | None = None) -> asyncio.Future[Any]:
        """Queue a call; those queued in the same turn of the event loop can share a batch."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        task = call.step.task
        knobs = {**self._settings, **call.step.knobs}
        waiting = _Call(
            future,
            task.interface or task.name,
            dict(zip(call.step.params, call.args, strict=True)),
            {name: knobs[name] for name in knobs if name not in _NOT_THE_MODELS},
            alone=call.attempt > 1,
        )
        self._in_flight.add(future)
        future.add_done_callback(lambda done: self._left(waiting))
        self._waiting.append(waiting)
        if not self._filling:
            self._filling = True
            loop.call_soon(self._fill)
        return future

    def _left(self, call: _Call) -> None:
        self._in_flight.discard(call.future)
        batch = call.batch
        if call.future.cancelled() and batch is not None and batch.given_up:
            batch.replica.kill()

    def health(self) -> str | None:
        """A replica mends itself, unless its model can no longer be loaded."""
        gone = sum(not replica.standing for replica in self._replicas) if self._lost else 0
        return f"{gone} of {len(self._replicas)} replicas could not be restarted" if gone else None

    def retire(self) -> None:
        """Give the memory of idle replicas up, and of the others when they are done."""
        self._retired = True
        self._fill()

    async def drain(self) -> None:
        """Wait for the calls at work."""
        if self._in_flight:
            await asyncio.wait(set(self._in_flight))

    async def stop(self) -> None:
        """Give up the calls at work and kill every process."""
        self._stopped = True
        for future in list(self._in_flight):
            future.cancel()
        for replica in self._replicas:
            replica.end()
        if self._serving:
            await asyncio.wait(set(self._serving))
        await asyncio.to_thread(self._threads.shutdown)
        for replica in self._replicas:
            replica.close()

    # ---- batches

    def _fill(self) -> None:
        """Give what waits to the idle replicas, in equal shares."""
        self._filling = False
        self._waiting = deque(call for call in self._waiting if not call.future.done())
        if not self._idle and not self._serving and self._lost is not None:
            self._refuse(self._lost)
        while self._idle and self._waiting:
            share = math.ceil(len(self._waiting) / len(self._idle))
            batch = _Batch(self._idle.pop())
            batch.calls = self._next_calls(min(share, self._batch))
            for call in batch.calls:
                call.batch = batch
            task = asyncio.get_running_loop().create_task(self._serve(batch))
            self._serving.add(task)
            task.add_done_callback(self._served)
        if self._retired and not self._waiting:
            while self._idle:
                self._in_thread(self._idle.pop().close)

    def _next_calls(self, limit: int) -> list[_Call]:
        """Take the call that has waited longest and others that go with it, in their order."""
        first = self._waiting.popleft()
        taken, left = [first], deque[_Call]()
        for call in self._waiting:
            (taken if len(taken) < limit and call.goes_with(first) else left).append(call)
        self._waiting = left
        return taken

    def _refuse(self, why: CallFailed) -> None:
        while self._waiting:
            _settle(self._waiting.popleft(), CallFailed(why.message, help=why.help))

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if not self._stopped:
            self._fill()

    async def _serve(self, batch: _Batch) -> None:
        """Have a batch answered, and get the replica ready for the next."""
        first, replica = batch.calls[0], batch.replica
        question = (first.interface, first.knobs, [call.arguments for call in batch.calls])
        outcomes: list[Any]
        try:
            answers = await self._in_thread(replica.ask, question)
            outcomes = [value if good else _failed(value) for good, value in answers]
        except Exception as error:  # one that is no `CallFailed` ends the run
            outcomes = [error] * len(batch.calls)
        for call, outcome in zip(batch.calls, outcomes, strict=True):
            _settle(call, outcome)
        for call in batch.calls:
            call.batch = None  # giving it up from now on kills nothing
        if replica.standing:
            self._idle.append(replica)
        elif not self._stopped:
            await self._restart(replica)

    async def _restart(self, replica: _Replica) -> None:
        """Start a replica anew before anything waits for it."""
        try:
            await self._in_thread(replica.start)
        except CallFailed as error:
            self._lost = error
        else:
            self._idle.append(replica)

    def _in_thread(self, work: Any, *arguments: Any) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def _asked(engine: EnginePlan, executor: Executor, replica: int) -> dict[str, Any]:
    """Return what the child of a replica is told."""
    return {
        "interface": executor.interface,
        "location": model_location(executor),
        "revision": executor.revision,
        "gpus": list(engine.places[replica].gpus) if engine.device == "gpu" else None,
        "cores": max(1, engine.cores),
    }


def _check_interface(interface: str) -> None:
    if interface in FAMILIES:
        return
    known = ", ".join(f"`{name}`" for name in FAMILIES)
    raise CallFailed(
        f"runner `torch` has no models for `{interface}`",
        help=did_you_mean(interface, FAMILIES) or f"it has them for {known}",
    )


def _settle(call: _Call, outcome: Any) -> None:
    if call.future.done():
        return
    if isinstance(outcome, Exception):
        call.future.set_exception(outcome)
    else:
        call.future.set_result(outcome)


def _failed(failure: tuple[str, bool, str | None]) -> CallFailed:
    message, retryable, help = failure
    return CallFailed(message, retryable=retryable, help=help)
