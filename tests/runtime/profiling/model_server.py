"""A model server of the test's own, in a thread: so many tokens a second for so many at once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class ModelServer:
    """Makes a token each `step_s`, for at most `slots` requests at once; others wait.

    A word is a token, and a request has `overhead` more. `refuse` are fields it does not know;
    after `good` requests it answers 500. `usage` tells whether it counts tokens.
    """

    step_s: float = 0.001
    slots: int = 4
    overhead: int = 5
    refuse: frozenset[str] = frozenset()
    good: int = 10**9
    usage: bool = True
    names: tuple[str, ...] = ("stand-in",)
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: int = 0
    _seats: asyncio.Semaphore | None = None

    async def models(self, request: web.Request) -> web.Response:
        """List the models, as vLLM does."""
        return web.json_response({"data": [{"id": n, "max_model_len": 512} for n in self.names]})

    async def version(self, request: web.Request) -> web.Response:
        """Tell a version, as vLLM does."""
        return web.json_response({"version": "9.9"})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Complete a chat."""
        body = await request.json()
        self.bodies.append(body)
        if odd := sorted(self.refuse & body.keys()):
            return web.json_response({"error": {"message": f"unknown field {odd[0]}"}}, status=400)
        if len(self.bodies) > self.good:
            return web.json_response({"error": {"message": "out of order"}}, status=500)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            assert self._seats is not None
            async with self._seats:
                return await self._answer(request, body)
        finally:
            self._at_once -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        tokens = body["max_tokens"]
        prompt = len(body["messages"][0]["content"].split()) + self.overhead
        usage = {"prompt_tokens": prompt, "completion_tokens": tokens}
        if not body.get("stream"):
            await asyncio.sleep(tokens * self.step_s)
            message = {"role": "assistant", "content": "x " * tokens}
            choice = {"message": message, "finish_reason": "length"}
            said = {"choices": [choice], **({"usage": usage} if self.usage else {})}
            return web.json_response(said)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await _event(response, {"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        for _ in range(tokens):
            await asyncio.sleep(self.step_s)
            await _event(response, {"choices": [{"delta": {"content": ""}}]})
        await _event(response, {"choices": [{"delta": {}, "finish_reason": "length"}]})
        await _event(response, {"choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        return response


async def _event(response: web.StreamResponse, document: Any) -> None:
    await response.write(f"data: {json.dumps(document)}\n\n".encode())


@contextmanager
def model_server(**options: Any) -> Iterator[ModelServer]:
    """Serve while it is entered; `url` ends in `/v1`."""
    server, loop = ModelServer(**options), asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        server._seats = asyncio.Semaphore(server.slots)
        app = web.Application()
        app.router.add_get("/v1/models", server.models)
        app.router.add_get("/version", server.version)
        app.router.add_post("/v1/chat/completions", server.chat)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=512)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        await over.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10.0)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10.0)
        loop.close()
