"""Attaching to a server that already runs: is it what the plan takes it for?"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from ..backoff import wait_s
from ..errors import CallFailed
from .client import RETRYABLE_STATUS, HttpClient, why
from .endpoint import Endpoint

_WITHIN_S = 15.0
_ATTEMPTS = 3  # one connection that breaks, or one busy moment, is no reason not to begin
_SPEAKS = "check the address; that of an OpenAI-compatible server usually ends in /v1"


async def check(client: HttpClient, endpoint: Endpoint, any_model: bool) -> Endpoint:
    """Ask a server for its models; raises `CallFailed` where it is not an OpenAI-compatible one.

    Returns the endpoint; with `any_model`, under the name of the only model that is served there.
    Hosted services do not all list the models they serve, so a missing list is no error, but a
    list without the model is.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return _matched(endpoint, await _served(client, endpoint), any_model)
        except CallFailed as error:
            if not error.retryable:
                raise
        await asyncio.sleep(wait_s(attempt + 1))
    return _matched(endpoint, await _served(client, endpoint), any_model)


async def _served(client: HttpClient, endpoint: Endpoint) -> list[str]:
    """Return the names of the models a server lists, none where it has no list."""
    import aiohttp

    url = f"{endpoint.url}/models"
    headers = {} if endpoint.key is None else {"Authorization": f"Bearer {endpoint.key}"}
    timeout = aiohttp.ClientTimeout(total=_WITHIN_S)
    try:
        async with client.session(url).get(url, headers=headers, timeout=timeout) as response:
            status, content = response.status, await response.read()
    except aiohttp.InvalidURL:
        raise CallFailed(f"`{endpoint.url}` is not a URL") from None
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        message = f"the endpoint `{endpoint.url}` cannot be reached: {why(error)}"
        hint = "check that the server runs and its address"
        again = not isinstance(error, TimeoutError)  # that took long enough
        raise CallFailed(message, retryable=again, help=hint) from None
    if status in (401, 403):
        where = f"`{endpoint.key_env}`" if endpoint.key_env else "`key_env` of the endpoint"
        message = f"the endpoint `{endpoint.url}` refuses the key ({status})"
        raise CallFailed(message, help=f"check the environment variable {where}")
    if status in (404, 405):
        # not every server lists models; one that answers nothing under this path says so later
        return []
    if status != 200:
        message = f"the endpoint `{endpoint.url}` answers {status}"
        again = status in RETRYABLE_STATUS
        raise CallFailed(message, retryable=again, help="check that the server is ready")
    served = _models(content)
    if served is None:
        message = f"`{url}` does not answer like an OpenAI-compatible server"
        raise CallFailed(message, retryable=True, help=_SPEAKS)
    return served


def _matched(endpoint: Endpoint, served: list[str], any_model: bool) -> Endpoint:
    if served and endpoint.model not in served and any_model and len(served) == 1:
        return replace(endpoint, model=served[0])
    if served and endpoint.model not in served:
        known = ", ".join(f"`{name}`" for name in served[:5])
        message = f"the endpoint `{endpoint.url}` serves {known}, not `{endpoint.model}`"
        hint = "name the model as it is known there: `model` of the endpoint in the cluster file"
        raise CallFailed(message, help=hint)
    return endpoint


def _models(content: bytes) -> list[str] | None:
    try:
        document = json.loads(content)
        return [str(model["id"]) for model in document["data"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
