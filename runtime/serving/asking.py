"""Asking a model server: a call of the plan becomes requests, and their answers its value."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from ...ir.types import contains_media
from ...targets.library import Executor
from ..errors import CallFailed
from ..messages import Submit
from ..repeats import Repeats
from ..tracing import ModelServer, RunTrace
from ..values import ValueProblem
from ..worker import Measured, Offer, Usage
from .audio import audio_file
from .client import HttpClient, post
from .confidence import ASKING, confidence_of
from .dialogue import Dialogue
from .endpoint import Allowance, Endpoint
from .events import Hear
from .gathering import MOST, Gathering, Vectors
from .prompting import chat_messages, input_text
from .replica import Replica
from .retrieval import DEFAULT_FOUND, embedded, nearest, ranked
from .structured import longest, response_format
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
_UNSURE = 'use a server that answers `logprobs`, or a cascade with `verify = "task"`'
_CHARACTERS_A_TOKEN = 4.0  # of English text, for rate limits only


class Asker:
    """Makes the requests of one engine's calls.

    `executors` are those of its steps, by name: one server may serve several of its model, each
    with a prompt of its own.
    `urgency` are the seconds of work that depend on a step, its own included, by step name: what
    has most ahead of it goes first (vLLM's request priority) on servers that this program starts.
    `limit_s` is what one request may take: waiting for a server, or for a rate limit, is no fault
    of any server. `repeats` is the run's budget for asking again.
    """

    def __init__(
        self,
        executors: Mapping[str, Executor],
        client: HttpClient,
        allowance: Allowance,
        urgency: Mapping[str, float],
        limit_s: float,
        repeats: Repeats,
    ) -> None:
        """Send nothing yet."""
        self._repeats = repeats
        self._executors = executors
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
        self._gathering = Gathering(self._vectors)
        self.trace: RunTrace | None = None  # where requests are told of

    async def ask(self, replica: Replica, call: Submit, offer: Offer | None = None) -> Measured:
        """Return a call's value and what it consumed; raises `CallFailed`.

        `offer` takes the items of a list while the model writes it, beyond `call.given`.
        Cancelling closes the connection, which ends the request on the server too.
        """
        step = call.step
        executor = self._executors[step.executor or ""]
        if step.task.prompt is None and executor.prompt is None:
            unprompted = self._unprompted.get(executor.interface)
            if unprompted is not None:
                return await unprompted(replica, call)
        return await self._chat(replica, call, executor, offer)

    async def _chat(
        self, replica: Replica, call: Submit, executor: Executor, offer: Offer | None
    ) -> Measured:
        step, arguments = call.step, _arguments(call)
        if any(contains_media(p.type) for p in step.task.params):
            # reading and cutting films is no work for the event loop
            messages = await asyncio.to_thread(chat_messages, executor, step, arguments)
        else:
            messages = chat_messages(executor, step, arguments)
        body: dict[str, Any] = {"model": replica.endpoint.model, "messages": messages}
        body |= self._settings[executor.name]
        if "max_tokens" in body:
            body["max_tokens"] = longest(body["max_tokens"], step.task)
        body |= {name: step.knobs[name] for name in _SAMPLING if name in step.knobs}
        if replica.origin != "attached":
            body["priority"] = -round(self._urgency.get(step.name, 0.0) * 1000)
        form = response_format(step.task.answer)
        if form is not None:
            body["response_format"] = form
        if step.task.scored:
            body |= ASKING
        heard = offer if dict(executor.settings).get("stream", True) else None
        dialogue = Dialogue(step.task.answer, messages, call.given, heard)
        if dialogue.streams:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return await self._converse(replica, call, body, dialogue)

    async def _converse(
        self, replica: Replica, call: Submit, body: dict[str, Any], dialogue: Dialogue
    ) -> Measured:
        """Return the value of the first usable answer, of two, and what both consumed."""
        usage, problem, twice = Usage(), "", False
        while True:
            body["messages"] = dialogue.messages
            try:
                answer, more = await self._complete(replica, call, body, dialogue.listen())
                sure = self._confidence(replica, call, answer, more)
            except CallFailed as error:
                if usage.requests:
                    error.usage = usage if error.usage is None else usage.plus(error.usage)
                raise
            usage = usage.plus(more)
            try:
                value = dialogue.read(answer["message"]["content"])
                if sure is not None:
                    value = {"value": value, "confidence": sure}
                return Measured(value, usage)
            except ValueProblem as found:
                problem = str(found)
            if twice or not self._repeats.take("malformed"):
                break
            twice = True
        asked = ", asked twice" if twice else ""
        cut = ": it was cut short by its limit" if usage.cut else ""
        message = f"the model's answer is no {call.step.task.answer}{asked}{cut}: {problem}"
        hint = "raise `max_tokens`" if usage.cut else "use a better model, or a simpler type"
        raise CallFailed(message, retryable=True, help=hint, usage=usage, kind="malformed")

    async def _complete(
        self, replica: Replica, call: Submit, body: dict[str, Any], hear: Hear | None
    ) -> tuple[dict[str, Any], Usage]:
        """Return the answer of one chat completion, which has text, and what it consumed."""
        length = sum(len(str(message["content"])) for message in body["messages"])
        await self._allowance.ask(length / _CHARACTERS_A_TOKEN)
        document, usage = await self._post(replica, call, "chat", body, hear)
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
        return choice, usage

    def _confidence(
        self, replica: Replica, call: Submit, choice: dict[str, Any], usage: Usage
    ) -> float | None:
        """Return how sure the model was of an answer to a scored task, None for other tasks."""
        if not call.step.task.scored:
            return None
        try:
            found = confidence_of(choice)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise self._strange(replica, usage) from None
        if found is None:
            message = f"`{replica.endpoint.url}` tells no probabilities of tokens"
            raise CallFailed(message, retryable=False, help=_UNSURE, usage=usage)
        return found

    async def _embedding(self, replica: Replica, call: Submit) -> Measured:
        text = input_text(call.step, _arguments(call))
        vectors, usage = await self._gathered(replica, call, [text])
        return Measured(vectors[0], usage)

    async def _search(self, replica: Replica, call: Submit) -> Measured:
        arguments = _arguments(call)
        passages = arguments["passages"]
        texts = [arguments["query"], *passages]
        vectors, usage = await self._gathered(replica, call, texts)
        found = nearest(vectors, _wanted(call))
        return Measured([passages[i] for i in found], usage)

    async def _gathered(self, replica: Replica, call: Submit, texts: Sequence[str]) -> Vectors:
        """Return vectors of texts that may go in one request with those of other calls."""
        most = dict(self._executors[call.step.executor or ""].settings).get("batch", MOST)
        assert isinstance(most, int)  # as the schema of libraries says
        return await self._gathering.vectors(replica, call, texts, most)

    async def _vectors(self, replica: Replica, call: Submit, texts: list[str]) -> Vectors:
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
        self, replica: Replica, call: Submit, operation: str, body: Any, hear: Hear | None = None
    ) -> tuple[dict[str, Any], Usage]:
        """Send a request; return the answer, and what it consumed."""
        began_s, usage, error = monotonic(), None, "cancelled"
        endpoint = replica.endpoint
        try:
            document = await self._answer(endpoint, _PATHS[operation], body, hear)
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

    async def _answer(
        self, endpoint: Endpoint, path: str, body: Any, hear: Hear | None
    ) -> dict[str, Any]:
        """Return the answer to a request; raises `CallFailed` where it takes too long."""
        try:
            async with asyncio.timeout(self._limit_s):
                return await post(
                    self._client.session(endpoint.url),
                    endpoint.url + path,
                    body,
                    key=endpoint.key,
                    key_env=endpoint.key_env,
                    hear=hear,
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
