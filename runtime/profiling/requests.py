"""One measured request to a model server: when it was sent, first answered and done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from time import perf_counter
from typing import Any

from ..errors import CallFailed
from ..serving.client import HttpClient, post
from ..serving.endpoint import Endpoint
from ..serving.usage import usage_of
from .lengths import Length
from .prompts import PromptWriter, random_words

_CALIBRATION_WORDS = (8, 64)
_LIMIT_S = 900.0  # of one request
_LIMIT_HELP = "measure at lower loads, or with shorter answers (`--osl`)"


@dataclass(frozen=True, slots=True)
class Sample:
    """A request that was answered; times are of one clock, in seconds.

    `output_tokens` are the items of a call of a tool. `first_s` and `last_s` are when the first and
    the last token came; None where the answer came as a whole.
    """

    sent_s: float
    end_s: float
    prompt_tokens: int
    output_tokens: float
    first_s: float | None = None
    last_s: float | None = None

    @property
    def latency_s(self) -> float:
        """Return the time of the whole request."""
        return self.end_s - self.sent_s

    @property
    def ttft_s(self) -> float | None:
        """Return the time to the first token."""
        return None if self.first_s is None else self.first_s - self.sent_s

    @property
    def tpot_s(self) -> float | None:
        """Return the time for each token after the first; None where there is only one."""
        if self.first_s is None or self.last_s is None or self.output_tokens < 2:
            return None
        return (self.last_s - self.first_s) / (self.output_tokens - 1)

    def tokens_within(self, begin_s: float, end_s: float) -> float:
        """Return the output tokens made in a stretch of time, if they came evenly."""
        if self.latency_s <= 0.0:
            return 0.0
        shared_s = min(self.end_s, end_s) - max(self.sent_s, begin_s)
        return self.output_tokens * max(shared_s, 0.0) / self.latency_s


class Requester:
    """Asks one model of one server for answers of given lengths."""

    def __init__(self, client: HttpClient, endpoint: Endpoint, context: int | None) -> None:
        """Send nothing yet; `context` is the most tokens of a request, None where not known."""
        self._client = client
        self._endpoint = endpoint
        self._context = context
        self._writer = PromptWriter(0.0, 1.0)
        self._forced = True  # whether the server takes vLLM's flags for answers of exact lengths

    @property
    def exact(self) -> bool:
        """Whether answers have the wanted length; if not, they end where the model ends them."""
        return self._forced

    async def prepare(self) -> None:
        """Learn how the server counts tokens, and what it takes; raises `CallFailed`."""
        chance = Random(0)
        texts = [random_words(words, chance) for words in _CALIBRATION_WORDS]
        try:
            first = await self._ask(texts[0], 1, streamed=False)
        except CallFailed as error:
            if error.kind not in ("400", "422"):
                raise
            self._forced = False  # hosted services refuse fields that they do not know
            first = await self._ask(texts[0], 1, streamed=False)
        second = await self._ask(texts[1], 1, streamed=False)
        if not first.prompt_tokens or not second.prompt_tokens or not first.output_tokens:
            message = f"`{self._endpoint.url}` does not say how many tokens its answers have"
            hint = "only servers whose answers have `usage` can be profiled"
            raise CallFailed(message, help=hint)
        tokens = (first.prompt_tokens, second.prompt_tokens)
        self._writer = PromptWriter.fitted(_CALIBRATION_WORDS, tokens)

    async def ask(self, length: Length, chance: Random, *, streamed: bool) -> Sample:
        """Send a request of a length, with a prompt of its own; raises `CallFailed`."""
        fitting = length.within(self._context)
        prompt = self._writer.write(fitting.prompt, chance)
        return await self._ask(prompt, fitting.output, streamed=streamed)

    async def _ask(self, prompt: str, tokens: int, *, streamed: bool) -> Sample:
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": tokens,
            "temperature": 0.0,
        }
        if self._forced:
            body |= {"ignore_eos": True, "min_tokens": tokens}
        times: list[float] = []
        if streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        endpoint = self._endpoint
        sent_s = perf_counter()
        try:
            async with asyncio.timeout(_LIMIT_S):
                document = await post(
                    self._client.session(endpoint.url),
                    f"{endpoint.url}/chat/completions",
                    body,
                    key=endpoint.key,
                    key_env=endpoint.key_env,
                    hear=(lambda text: times.append(perf_counter())) if streamed else None,
                )
        except TimeoutError:
            message = f"`{endpoint.url}` gave no answer within {_LIMIT_S:g} s"
            raise CallFailed(message, help=_LIMIT_HELP, kind="timeout") from None
        usage = usage_of(document)
        ends = (times[0], times[-1]) if times else (None, None)
        return Sample(sent_s, perf_counter(), usage.prompt_tokens, usage.output_tokens, *ends)
