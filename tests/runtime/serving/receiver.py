"""A server of the test's own, on a real port: it keeps what it gets and answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .processes import until_soon

Answer = Callable[[web.Request], Any]  # gives a response, or awaits one


@dataclass
class Receiver:
    """What has arrived, and what is answered: `answers` in their order, then `usual` for ever."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    answers: deque[web.Response | Answer] = field(default_factory=deque)
    usual: Answer = lambda request: said("yes")
    left: int = 0  # requests whose client closed the connection

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Keep a request and answer it; there are no metrics here."""
        if request.path == "/metrics":
            return web.Response(status=404)
        self.paths.append(request.path)
        self.headers.append(dict(request.headers))
        if request.content_type == "multipart/form-data":
            form = await request.post()
            self.bodies.append({name: _read(part) for name, part in form.items()})
        else:
            self.bodies.append(json.loads(await request.read() or b"null"))
        answer = self.answers.popleft() if self.answers else self.usual
        if isinstance(answer, web.Response):
            return answer
        try:
            found = answer(request)
            response: web.StreamResponse = await found if asyncio.iscoroutine(found) else found
        except asyncio.CancelledError:
            self.left += 1
            raise
        return response


def _read(part: object) -> Any:
    """Return a field of a form: a file as its name and content."""
    if isinstance(part, web.FileField):
        return part.filename, part.file.read()
    return part


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """Serve on a free port of 127.0.0.1."""
    found = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.take)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()


def said(
    content: Any, *, tokens: tuple[int, int] = (10, 5), cached: int | None = None, **choice: Any
) -> web.Response:
    """Return a chat completion that says something; `choice` adds to it."""
    usage: dict[str, Any] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    if cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    message = {"role": "assistant", "content": content}
    whole = {"message": message, "finish_reason": "stop", **choice}
    return web.json_response({"choices": [whole], "usage": usage})


def telling(
    *pieces: str,
    until: Callable[[], object] = lambda: True,
    tokens: tuple[int, int] = (10, 5),
    end: str = "stop",
) -> Answer:
    """Tell a chat completion piece by piece; the last only when something has come true."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await events(request)
        for piece in pieces[:-1]:
            await event(response, {"choices": [{"index": 0, "delta": {"content": piece}}]})
        await until_soon(until)
        last = {"index": 0, "delta": {"content": pieces[-1]}, "finish_reason": end}
        await event(response, {"choices": [last]})
        usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
        await event(response, {"choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        return response

    return answer


def breaking(*pieces: str, with_error: str | None = None) -> Answer:
    """Tell a chat completion that breaks off, with an error for an event or without."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await events(request)
        for piece in pieces:
            await event(response, {"choices": [{"index": 0, "delta": {"content": piece}}]})
        if with_error is not None:
            await event(response, error(with_error))
            return response
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


async def events(request: web.Request) -> web.StreamResponse:
    """Begin an answer of events."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    return response


async def event(response: web.StreamResponse, data: Any) -> None:
    """Send an event."""
    await response.write(f"data: {json.dumps(data)}\n\n".encode())


def refusal(status: int, body: Any, **headers: str) -> web.Response:
    """Return an error of a status: JSON, or text as it is."""
    if isinstance(body, str):
        return web.Response(status=status, text=body, headers=headers)
    return web.json_response(body, status=status, headers=headers)


def error(message: str) -> dict[str, Any]:
    """Return the body of an error as OpenAI's interface has it."""
    return {"error": {"message": message, "type": "x", "param": None, "code": None}}


async def reset(request: web.Request) -> web.Response:
    """Break the connection instead of answering."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut(request: web.Request) -> web.StreamResponse:
    """Answer, and break off in the middle."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"choices": [{"mess')
    assert request.transport is not None
    request.transport.close()
    return response


async def never(request: web.Request) -> web.Response:
    """Give no answer."""
    await asyncio.Event().wait()
    return web.Response()
