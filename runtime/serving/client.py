"""Requests to an OpenAI-compatible server over one pooled client, and what their errors mean."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from http.client import responses
from typing import TYPE_CHECKING, Any

from ..errors import CallFailed
from .events import Gathered, Hear, StreamError, events

if TYPE_CHECKING:
    import aiohttp

# 529 is how some hosted services say that they are overloaded.
RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_SHOWN = 300  # characters of a server's own words in a message
_MAX_ANSWER_BYTES = 256 * 1024 * 1024
_PROBE_S = 5.0
_KEEP_IDLE_S = 4.0  # vLLM closes connections that were idle for 5 s
_LOOPBACK = re.compile(r"https?://(?:localhost|127(?:\.\d+){3}|\[::1\])(?=[:/]|$)", re.I)


class HttpClient:
    """The HTTP client of a run: one pool of connections for all its engines."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    def session(self, url: str) -> aiohttp.ClientSession:
        """Return the session for an address, opened at the first use (in the event loop).

        Servers of this machine are asked directly, others through the proxy of the environment.
        """
        here = _LOOPBACK.match(url) is not None
        if here not in self._sessions:
            import aiohttp

            # Calls in flight are bounded by the plan, and time by each call's own limit.
            connector = aiohttp.TCPConnector(
                limit=0, ttl_dns_cache=300, keepalive_timeout=_KEEP_IDLE_S
            )
            self._sessions[here] = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0),
                headers={"User-Agent": "murakkab"},
                trust_env=not here,
            )
        return self._sessions[here]

    async def answers(self, url: str, path: str = "/health") -> bool:
        """Tell whether a server answers a path with success."""
        import aiohttp

        try:
            async with self.session(url).get(
                url + path, timeout=aiohttp.ClientTimeout(total=_PROBE_S)
            ) as response:
                return response.status == 200
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False

    async def text(self, url: str) -> str | None:
        """Return what stands at an address, None where it cannot be had."""
        import aiohttp

        try:
            async with self.session(url).get(
                url, timeout=aiohttp.ClientTimeout(total=_PROBE_S)
            ) as response:
                return await response.text() if response.status == 200 else None
        except (TimeoutError, aiohttp.ClientError, OSError, UnicodeDecodeError):
            return None

    async def close(self) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            await session.close()


async def post(
    session: aiohttp.ClientSession,
    url: str,
    body: Mapping[str, Any] | aiohttp.FormData,
    *,
    key: str | None = None,
    key_env: str | None = None,
    hear: Hear | None = None,
) -> dict[str, Any]:
    """Send a request and return the answer's JSON object.

    Where the server answers with the events of a chat completion, `hear` takes its text as it
    comes, and the object is in the form of a whole answer. Cancelling closes the connection, at
    which the server gives up the request. Raises `CallFailed`; no message holds the key.
    """
    import aiohttp

    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    sent: dict[str, Any] = {"data": body}
    if isinstance(body, Mapping):
        headers["Content-Type"] = "application/json"
        sent["data"] = json.dumps(body, ensure_ascii=False).encode()
    try:
        async with session.post(url, headers=headers, **sent) as response:
            if hear is not None and response.content_type == "text/event-stream":
                return await _gathered(response, hear, url, key)
            content = await _content(response)
            if response.status != 200:
                raise _refused(response, _without(key, content), url, key_env)
            return _object(content, url, key)
    except aiohttp.ClientPayloadError:
        raise _cut_off(url) from None
    except aiohttp.ClientConnectorError as error:
        message = f"`{url}` cannot be reached: {why(error)}"
        raise CallFailed(message, retryable=True, help=_UNREACHABLE, kind="connection") from None
    except aiohttp.InvalidURL:
        raise CallFailed(f"`{url}` is not a URL") from None
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        message = f"the connection to `{url}` broke: {error or type(error).__name__}"
        raise CallFailed(message, retryable=True, kind="connection") from None


_UNREACHABLE = "check that the server runs and that its address is right"


async def _content(response: aiohttp.ClientResponse) -> bytes:
    if (response.content_length or 0) > _MAX_ANSWER_BYTES:
        raise CallFailed(_too_long(response))
    return b"".join([chunk async for chunk in _bounded(response)])


async def _gathered(
    response: aiohttp.ClientResponse, hear: Hear, url: str, key: str | None
) -> dict[str, Any]:
    gathered = Gathered()
    async for event in events(_bounded(response)):
        try:
            text = gathered.take(event)
        except StreamError as error:
            message = _message(_without(key, str(error).encode()))
            message = f"`{url}` broke its answer off: {message}"
            raise CallFailed(message, retryable=True, kind="cut") from None
        except ValueError:
            message = f"`{url}` answered with events that are none of a chat completion"
            raise CallFailed(message, retryable=True, help=_SPEAKS, kind="malformed") from None
        if text is not None:
            hear(text.replace(key, "***") if key else text)
    if not gathered.complete:
        raise _cut_off(url)
    document: dict[str, Any] = gathered.document()
    return _hidden(key, document) if key else document


async def _bounded(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > _MAX_ANSWER_BYTES:
            raise CallFailed(_too_long(response))
        yield chunk


def _too_long(response: aiohttp.ClientResponse) -> str:
    return f"the answer of `{response.url}` is over {_MAX_ANSWER_BYTES >> 20} MiB"


def _cut_off(url: str) -> CallFailed:
    message = f"the answer of `{url}` was cut off in the middle"
    return CallFailed(message, retryable=True, kind="cut")


def _without(key: str | None, content: bytes) -> bytes:
    """Return what may be told of an answer: some servers repeat the key that they refuse."""
    if not key:
        return content
    try:
        return json.dumps(_hidden(key, json.loads(content))).encode()
    except (ValueError, RecursionError):  # no JSON, in which the key may be written otherwise
        return content.replace(key.encode(), b"***")


def _hidden(key: str, found: Any) -> Any:
    """Return a JSON value with stars in the place of a key, however it was escaped."""
    match found:
        case str():
            return found.replace(key, "***")
        case list():
            return [_hidden(key, item) for item in found]
        case dict():
            return {_hidden(key, name): _hidden(key, value) for name, value in found.items()}
    return found


def _object(content: bytes, url: str, key: str | None) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        shown = _plain(_without(key, content))
        message = f"`{url}` answered with something other than JSON: `{shown}`"
        raise CallFailed(message, retryable=True, help=_SPEAKS, kind="malformed") from None
    if not isinstance(document, dict):
        raise CallFailed(f"`{url}` answered with JSON that is no object", help=_SPEAKS)
    hidden: dict[str, Any] = _hidden(key, document) if key else document
    return hidden


_SPEAKS = (
    "check that it is an OpenAI-compatible server and that its address ends as it should (/v1)"
)


def _refused(
    response: aiohttp.ClientResponse, content: bytes, url: str, key_env: str | None
) -> CallFailed:
    status = response.status
    said = _message(content)
    message = f"`{url}` answered {status}: {said or responses.get(status, 'nothing more')}"
    retryable = status in RETRYABLE_STATUS
    return CallFailed(
        message.rstrip(),
        retryable=retryable,
        after_s=_after_s(response.headers.get("Retry-After", "")),
        help=_advice(status, said, key_env),
        kind=str(status),
    )


def why(error: Exception) -> str:
    """Return why a server cannot be reached, as the system calls it."""
    number = getattr(error, "errno", None)
    said = os.strerror(number).lower() if isinstance(number, int) and number > 0 else str(error)
    return said or "no answer in time"


def _advice(status: int, said: str, key_env: str | None) -> str | None:
    if status in (401, 403):
        where = (
            f"the environment variable `{key_env}`" if key_env else "`key_env` in the cluster file"
        )
        return f"check the key: {where}"
    if status in (405, 501):
        return _SPEAKS
    if status == 404 and said == "Not Found":
        return "this server does not offer such requests: its model is of another kind"
    if status == 404:
        return "check the model's name there, and that the address ends as it should (/v1)"
    if status == 400 and re.search(r"context length|maximum.*tokens|too long", said, re.I):
        return "shorten what goes into the prompt, or use a model with a larger context"
    return None


def _message(content: bytes) -> str:
    """Return the words of an error: OpenAI's form, FastAPI's, or the text as it is."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return _plain(content)
    for key in ("error", "detail", "message"):
        found = document.get(key) if isinstance(document, dict) else None
        if isinstance(found, dict):
            found = found.get("message")
        if isinstance(found, str):
            return _one_line(found)
    return _plain(content)


def _plain(content: bytes) -> str:
    text = content[: 4 * _SHOWN].decode("utf-8", "replace")
    return _one_line(re.sub(r"<[^>]*>", " ", text))


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _after_s(header: str) -> float:
    """Return the seconds of a Retry-After header; its form as a date is left aside."""
    return min(float(header), 120.0) if re.fullmatch(r"\d+(\.\d+)?", header.strip()) else 0.0
