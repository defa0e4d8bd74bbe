"""Where a model answers: an address, the model's name there, a key, and what it may be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...targets.endpoint import EndpointPlan
from ...targets.library import Executor
from ...targets.plan import EnginePlan
from ..errors import CallFailed
from ..worker import Usage

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server: `url` is its base, the part before `/chat/completions`."""

    url: str
    model: str
    key: str | None = None
    key_env: str | None = None


def attached(engine: EnginePlan, executor: Executor, environ: Mapping[str, str]) -> EndpointPlan:
    """Return where an engine of the plan attaches: what the plan says, else the library's entry.

    Raises `CallFailed` where the entry names an environment variable for the address and that is
    not set.
    """
    if engine.endpoint is not None:
        return engine.endpoint
    settings = dict(executor.settings)
    url, variable = settings.get("url"), settings.get("url_env")
    if url is None and variable is not None:
        url = environ.get(str(variable))
        if not url:
            message = f"the environment variable `{variable}` is not set"
            raise CallFailed(message, help=f"set it to the address of `{executor.name}`")
    key_env = settings.get("key_env")
    return EndpointPlan(
        url=str(url),
        key_env=None if key_env is None else str(key_env),
        model=executor.model,
        requests_per_min=_number(settings.get("requests_per_min")),
        tokens_per_min=_number(settings.get("tokens_per_min")),
        max_usd=_number(settings.get("max_usd")),
        usd_per_mtok=executor.usd_per_mtok,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def endpoint(plan: EndpointPlan, executor: Executor, environ: Mapping[str, str]) -> Endpoint:
    """Return an endpoint with its key; raises `CallFailed` where the key's variable is not set."""
    key = None
    if plan.key_env is not None:
        key = environ.get(plan.key_env, "").strip()  # files with keys end with a new line
        if not key:
            message = (
                f"the environment variable `{plan.key_env}` with the key of `{plan.url}` is not set"
            )
            raise CallFailed(message, help=f"export {plan.key_env}=…")
        if not key.isprintable():
            message = f"the key in the environment variable `{plan.key_env}` is no line of text"
            raise CallFailed(message, help=f"export {plan.key_env}=…")
    model = plan.model or executor.model or executor.name
    return Endpoint(plan.url.rstrip("/"), model, key, plan.key_env)


class Allowance:
    """What a server may be asked, in requests and tokens a minute, and what answers cost."""

    def __init__(self, plan: EndpointPlan | None) -> None:
        """Take the limits of an endpoint; a server of our own has none."""
        self._requests = _per_minute(plan.requests_per_min if plan is not None else None)
        self._tokens = _per_minute(plan.tokens_per_min if plan is not None else None)
        self._usd_per_mtok = plan.usd_per_mtok if plan is not None else None
        self._spent = Usage()

    async def ask(self, prompt_tokens: float) -> None:
        """Wait until a request may be sent.

        The tokens of an answer are not known before: it is taken to be as long as those so far.
        """
        spent = self._spent
        if self._requests is not None:
            await self._requests.acquire()
        if self._tokens is not None:
            output = spent.output_tokens / spent.requests if spent.requests else 0.0
            wanted = max(prompt_tokens + output, 1.0)
            while wanted > 0.0:  # a limiter gives no more than a burst at once
                portion = min(wanted, self._tokens.max_rate)
                await self._tokens.acquire(portion)
                wanted -= portion

    def used(self, usage: Usage) -> Usage:
        """Note what a request consumed; returns it with its price."""
        if self._usd_per_mtok is not None:
            prompt, output = self._usd_per_mtok
            usd = (usage.prompt_tokens * prompt + usage.output_tokens * output) / 1e6
            usage = usage._replace(usd=usd)
        self._spent = self._spent.plus(usage)
        return usage


def _per_minute(limit: float | None) -> AsyncLimiter | None:
    """Return a limiter that spreads its requests over the minute instead of letting all go at once.

    A server that counts by the second would refuse such a burst.
    """
    if limit is None:
        return None
    from aiolimiter import AsyncLimiter

    burst = max(1.0, limit / _MINUTE_S)
    return AsyncLimiter(burst, burst * _MINUTE_S / limit)
