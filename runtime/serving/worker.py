"""The worker of model servers: a call of the plan becomes requests, and their answers its value."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

from ...ir.types import contains_media
from ...targets.library import Executor
from ...targets.plan import EnginePlan
from ..errors import CallFailed
from ..state import Submit
from ..tracing import ModelServer, RunTrace
from ..values import ValueProblem
from ..worker import Measured, Seats, Usage
from .audio import audio_file
from .client import HttpClient, post
from .endpoint import Allowance, Endpoint
from .prompting import chat_messages, input_text
from .replica import Replica
from .replicas import Replicas
from .retrieval import DEFAULT_FOUND, embedded, nearest, ranked
from .structured import read_answer, repair_messages, response_format
from .turns import Turns
from .usage import usage_of

# What a call may say of sampling: a knob or pin of the step, else the executor's setting.
_SAMPLING = ("temperature", "top_p", "top_k", "seed", "max_tokens", "presence_penalty", "stop")
_PATHS = {
    "chat": "/chat/completions",
    "embeddings": "/embeddings",
    "rerank": "/rerank",
    "transcription": "/audio/transcriptions",
}
_SLOW = "state a longer `timeout_s` in the executor's settings where it is only slow"
_CHARACTERS_A_TOKEN = 4.0  # of English text, for rate limits only


class ServedWorker:
    """Does the calls of one engine on its servers.

    `executors` are those of its steps, by name: one server may serve several of its model, each
    with a prompt of its own.
    `urgency` are the seconds of work that depend on a step, its own included, by step name: what
    has most ahead of it goes first (vLLM's request priority) on servers that this program starts.
    `limit_s` is what one request may take: waiting for a server, or for a rate limit, is no fault
    of any server.
    """

    def __init__(
        self,
        engine: EnginePlan,
        executors: Mapping[str, Executor],
        replicas: Replicas,
        turns: Turns,
        client: HttpClient,
        allowance: Allowance,
        urgency: Mapping[str, float],
        limit_s: float,
    ) -> None:
        """Prepare; nothing is started before `start`."""
        self._engine = engine
        self._executors = executors
        self._replicas = replicas
        self._turns = turns
        self._client = client
        self._allowance = allowance
        self._urgency = urgency
        self._limit_s = limit_s
        self._settings = {
            name: {k: v for k, v in executor.settings if k in _SAMPLING}
            for name, executor in executors.items()
        }
        # interfaces that servers carry out by requests of their own
        self._unprompted: Mapping[str, Callable[[Replica, Submit], Awaitable[Measured]]] = {
            "embed": self._embedding,
            "rank": self._ranking,
            "search": self._search,
            "transcribe": self._transcription,
            "transcribe_audio": self._transcription,
        }
        self._rising: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._idle_since_s = monotonic()
        self._in_flight: set[asyncio.Task[Any]] = set()
        self.retired = False
        self.trace: RunTrace | None = None  # where requests are told of
        turns.enlist(engine.name, self)

    # ---- as a worker

    @property
    def seats(self) -> Seats | None:
        """Servers share nothing that the plan does not know of."""
        return None

    async def start(self) -> None:
        """Get the servers ready, unless the plan starts them during the run."""
        if self._engine.prestarted:
            await self._ready()

    def begin(self) -> None:
        """Learn that the run's clock starts: what the plan starts later is started then."""
        if not self._engine.prestarted:
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(self._engine.start_s, self._rise)

    def submit(self, call: Submit) -> asyncio.Future[Any]:
        """Begin a call; cancelling it closes its connection, which ends it on the server too."""
        task = asyncio.get_running_loop().create_task(self._call(call))
        self._in_flight.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._in_flight.discard(task)
        if not self._in_flight:
            self._idle_since_s = monotonic()
            self._turns.look()

    def health(self) -> str | None:
        """Return why there is no server any more."""
        problem = self._replicas.problem
        return None if problem is None else problem.message

    def retire(self) -> None:
        """Give up the engine's places: the plan may have others wait for them."""
        self.retired = True
        if self._later is not None:
            self._later.cancel()
        self._turns.look()

    async def drain(self) -> None:
        """Wait for the calls at work."""
        if self._in_flight:
            await asyncio.wait(set(self._in_flight))

    async def stop(self) -> None:
        """Give up the calls at work and stop the servers that this run started."""
        if self._later is not None:
            self._later.cancel()
        tasks = [*self._in_flight, *([self._rising] if self._rising is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._replicas.close()

    # ---- as a tenant of its places

    @property
    def calls(self) -> int:
        """Calls that have begun, those that wait for a server included."""
        return len(self._in_flight)

    @property
    def idle_s(self) -> float:
        """For how long there has been no call."""
        return 0.0 if self._in_flight else monotonic() - self._idle_since_s

    async def park(self) -> None:
        """Give up GPUs, cores and memory to an engine that waits for them.

        Where no call waits for servers that are still being started, their start is given up.
        """
        if self._rising is not None:
            self._rising.cancel()
            await asyncio.wait([self._rising])
        await self._replicas.park(for_good=self.retired)

    # ---- servers

    async def _ready(self) -> None:
        if self._replicas.risen:
            return
        self._rise()
        assert self._rising is not None  # `_rise` made it
        await asyncio.shield(self._rising)

    def _rise(self) -> None:
        if self._rising is None or self._rising.done():
            self._rising = asyncio.create_task(self._take_turn())
            self._rising.add_done_callback(_seen)

    async def _take_turn(self) -> None:
        await self._turns.hold(self._engine.name)
        if not self._replicas.risen:
            await self._replicas.rise()

    # ---- calls

    async def _call(self, call: Submit) -> Any:
        self._turns.look()
        try:
            await self._ready()
            replica = await self._replicas.pick()
        except CallFailed as error:
            raise CallFailed(error.message, help=error.help) from None
        replica.in_flight += 1
        try:
            return await self._ask(replica, call)
        except CallFailed as error:
            if error.kind in ("connection", "cut"):
                self._replicas.suspect(replica)
            if replica.log is not None and error.retryable:
                error.message += f" (the server's log is `{replica.log}`)"
            raise
        finally:
            replica.in_flight -= 1

    async def _ask(self, replica: Replica, call: Submit) -> Measured:
        step = call.step
        executor = self._executors[step.executor or ""]
        if step.task.prompt is None and executor.prompt is None:
            unprompted = self._unprompted.get(executor.interface)
            if unprompted is not None:
                return await unprompted(replica, call)
        return await self._chat(replica, call, executor)

    async def _chat(self, replica: Replica, call: Submit, executor: Executor) -> Measured:
        step, arguments = call.step, _arguments(call)
        if any(
            contains_media(p.type) for p in step.task.params
        ):  # reading and cutting films is no work for the event loop
            messages = await asyncio.to_thread(chat_messages, executor, step, arguments)
        else:
            messages = chat_messages(executor, step, arguments)
        body: dict[str, Any] = {"model": replica.endpoint.model, "messages": messages}
        body |= self._settings[executor.name]
        body |= {name: step.knobs[name] for name in _SAMPLING if name in step.knobs}
        if replica.origin != "attached":
            body["priority"] = -round(self._urgency.get(step.name, 0.0) * 1000)
        kind = step.task.result
        form = response_format(kind)
        if form is not None:
            body["response_format"] = form
        answer, usage = await self._complete(replica, call, body)
        try:
            return Measured(read_answer(kind, answer), usage)
        except ValueProblem as problem:
            first = str(problem)
        body["messages"] = repair_messages(messages, answer, first)
        try:
            answer, more = await self._complete(replica, call, body)
        except CallFailed as error:
            error.usage = usage if error.usage is None else usage.plus(error.usage)
            raise
        usage = usage.plus(more)
        try:
            return Measured(read_answer(kind, answer), usage)
        except ValueProblem as problem:
            cut = ": it was cut short by its limit" if usage.cut else ""
            message = f"the model's answer is no {kind}, asked twice{cut}: {problem}"
            hint = "raise `max_tokens`" if usage.cut else "use a better model, or a simpler type"
            raise CallFailed(
                message, retryable=True, help=hint, usage=usage, kind="malformed"
            ) from None

    async def _complete(
        self, replica: Replica, call: Submit, body: dict[str, Any]
    ) -> tuple[str, Usage]:
        """Return the text of one chat completion and what it consumed."""
        length = sum(len(str(message["content"])) for message in body["messages"])
        await self._allowance.ask(length / _CHARACTERS_A_TOKEN)
        document, usage = await self._post(replica, call, "chat", body)
        try:
            choice = document["choices"][0]
            text = choice["message"]["content"]
            if choice.get("finish_reason") == "length":
                usage = usage._replace(cut=1)
        except (LookupError, TypeError, AttributeError):
            raise self._strange(replica, usage) from None
        if text is None:
            refused = choice["message"].get("refusal")
            said = f"the model refused: {refused}" if refused else "the model answered nothing"
            raise CallFailed(said, retryable=not refused, usage=usage)
        if not isinstance(text, str):
            raise self._strange(replica, usage)
        return text, usage

    async def _embedding(self, replica: Replica, call: Submit) -> Measured:
        text = input_text(call.step, _arguments(call))
        vectors, usage = await self._vectors(replica, call, [text])
        return Measured(vectors[0], usage)

    async def _search(self, replica: Replica, call: Submit) -> Measured:
        arguments = _arguments(call)
        passages = arguments["passages"]
        texts = [arguments["query"], *passages]
        vectors, usage = await self._vectors(replica, call, texts)
        found = nearest(vectors, _wanted(call))
        return Measured([passages[i] for i in found], usage)

    async def _vectors(
        self, replica: Replica, call: Submit, texts: list[str]
    ) -> tuple[list[list[float]], Usage]:
        await self._allowance.ask(sum(map(len, texts)) / _CHARACTERS_A_TOKEN)
        body = {"model": replica.endpoint.model, "input": texts}
        document, usage = await self._post(replica, call, "embeddings", body)
        try:
            return embedded(document, len(texts)), usage
        except (LookupError, TypeError, ValueError, OverflowError):
            raise self._strange(replica, usage) from None

    async def _ranking(self, replica: Replica, call: Submit) -> Measured:
        arguments = _arguments(call)
        query, passages = arguments["query"], arguments["passages"]
        if not passages:
            return Measured([], Usage())
        await self._allowance.ask(sum(map(len, passages)) / _CHARACTERS_A_TOKEN)
        body = {"model": replica.endpoint.model, "query": query, "documents": passages}
        document, usage = await self._post(replica, call, "rerank", body)
        try:
            return Measured([passages[i] for i in ranked(document, len(passages))], usage)
        except (LookupError, TypeError, ValueError, OverflowError):
            raise self._strange(replica, usage) from None

    async def _transcription(self, replica: Replica, call: Submit) -> Measured:
        import aiohttp

        sound = await asyncio.to_thread(audio_file, call.step, _arguments(call))
        if sound is None:
            return Measured("", Usage())  # no sound, so nothing was said
        form = aiohttp.FormData()
        form.add_field("model", replica.endpoint.model)
        form.add_field("response_format", "json")
        form.add_field("file", sound[1], filename=sound[0])
        await self._allowance.ask(0.0)
        document, usage = await self._post(replica, call, "transcription", form)
        if not isinstance(document.get("text"), str):
            raise self._strange(replica, usage)
        return Measured(document["text"].strip(), usage)

    async def _post(
        self, replica: Replica, call: Submit, operation: str, body: Any
    ) -> tuple[dict[str, Any], Usage]:
        """Send a request; return the answer, and what it consumed."""
        began_s, usage, error = monotonic(), None, "cancelled"
        endpoint = replica.endpoint
        try:
            document = await self._answer(endpoint, _PATHS[operation], body)
            usage, error = self._allowance.used(usage_of(document)), ""
            return document, usage
        except CallFailed as failed:
            error = failed.kind
            raise
        finally:
            if self.trace is not None:
                provider = "openai" if replica.origin == "attached" else "vllm"
                server = ModelServer(operation, provider, endpoint.model, endpoint.url)
                self.trace.request(call, server, began_s, monotonic(), usage, error or None)

    async def _answer(self, endpoint: Endpoint, path: str, body: Any) -> dict[str, Any]:
        """Return the answer to a request; raises `CallFailed` where it takes too long."""
        try:
            async with asyncio.timeout(self._limit_s):
                return await post(
                    self._client.session(endpoint.url),
                    endpoint.url + path,
                    body,
                    key=endpoint.key,
                    key_env=endpoint.key_env,
                )
        except TimeoutError:
            message = f"no answer within {self._limit_s:g} s"
            raise CallFailed(message, retryable=True, kind="timeout", help=_SLOW) from None

    def _strange(self, replica: Replica, usage: Usage) -> CallFailed:
        message = (
            f"`{replica.endpoint.url}` answered in a form that OpenAI's interface does not have"
        )
        hint = "check that it is an OpenAI-compatible server"
        return CallFailed(message, retryable=True, help=hint, usage=usage, kind="malformed")


def _arguments(call: Submit) -> dict[str, Any]:
    return dict(zip(call.step.params, call.args, strict=True))


def _wanted(call: Submit) -> int:
    wanted = call.step.knobs.get("k")
    return wanted if isinstance(wanted, int) else DEFAULT_FOUND


def _seen(task: asyncio.Task[None]) -> None:
    """Take note of an error, which every call that waits for the engine gets as well."""
    if not task.cancelled():
        task.exception()
