"""The fault-injecting proxy does what it says, in front of an upstream that counts."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from .proxy import PASS, Fault, FaultProxy, Kind, identity

PATH = "/v1/chat/completions"


class Upstream:
    """Answers a request with itself, in JSON or as a stream, and counts what it answered."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.given_up = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response(text="healthy")
        document = await request.json()
        if "hold" in document:
            return await self._held()
        self.answered[document["ask"]] += 1
        if not document.get("stream"):
            return web.json_response({"echo": document["ask"], "padding": "x" * 2000})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(3):
            await response.write(f"data: {number}\n\n".encode())
            await asyncio.sleep(0.02)
        return response

    async def _held(self) -> web.StreamResponse:
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up += 1
        raise AssertionError("waits for ever")


Body = Callable[[FaultProxy, Upstream, aiohttp.ClientSession], Awaitable[None]]


def in_front(body: Body) -> None:
    """Run a test's body with a proxy in front of an upstream."""

    async def run() -> None:
        upstream = Upstream()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", upstream.answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with FaultProxy(url) as proxy, aiohttp.ClientSession(proxy.url) as session:
                await body(proxy, upstream, session)
        finally:
            await runner.cleanup()

    asyncio.run(run())


async def ask(session: aiohttp.ClientSession, text: str = "a", **more: Any) -> Any:
    async with session.post(PATH, json={"ask": text, **more}) as response:
        response.raise_for_status()
        return json.loads(await response.read())


def test_what_is_not_planned_passes() -> None:
    async def body(proxy: FaultProxy, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        answers = await asyncio.gather(*(ask(session, str(n)) for n in range(50)))
        assert [answer["echo"] for answer in answers] == [str(n) for n in range(50)]
        assert upstream.answered == Counter(str(n) for n in range(50))
        assert sorted(proxy.arrived.values()) == sorted(proxy.delivered.values()) == [1] * 50
        assert proxy.most_at_once > 1

    in_front(body)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refusal_never_reaches_the_upstream(status: int) -> None:
    async def body(proxy: FaultProxy, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        proxy.plan([Fault("status", status=status, retry_after_s=0.5)])
        async with session.post(PATH, json={"ask": "a"}) as response:
            assert response.status == status
            assert response.headers["Retry-After"] == "0.5"
            assert (await response.json())["error"]["code"] == status
        assert (await ask(session))["echo"] == "a"
        assert upstream.answered == {"a": 1}
        assert proxy.arrived == {identity(b'{"ask": "a"}'): 2}
        assert proxy.delivered == {identity(b'{"ask": "a"}'): 1}

    in_front(body)


BROKEN: list[tuple[Kind, type[Exception], int]] = [
    ("reset", aiohttp.ClientConnectionError, 0),
    ("cut", aiohttp.ClientPayloadError, 1),
    ("garbage", aiohttp.ClientResponseError, 0),
    ("malformed", json.JSONDecodeError, 1),
    ("html", json.JSONDecodeError, 0),
]


@pytest.mark.parametrize(("kind", "error", "answered"), BROKEN)
def test_a_broken_answer_is_seen_as_such(kind: Kind, error: type[Exception], answered: int) -> None:
    async def body(proxy: FaultProxy, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        proxy.plan([PASS, Fault(kind)])  # the second is met on a connection that is kept alive
        await ask(session)
        with pytest.raises(error):
            await ask(session, "b")
        assert upstream.answered["b"] == answered
        assert identity(b'{"ask": "b"}') not in proxy.delivered
        assert (await ask(session, "b"))["echo"] == "b"

    in_front(body)


def test_a_silent_server_keeps_the_connection_until_the_client_leaves() -> None:
    async def body(proxy: FaultProxy, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        proxy.plan([Fault("silent")])
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ask(session), 0.2)
        assert upstream.answered == {} and proxy.pending == 0

    in_front(body)


def test_a_slow_answer_comes() -> None:
    async def body(proxy: FaultProxy, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        proxy.plan([Fault("slow", delay_s=0.2)])
        began_s = monotonic()
        assert (await ask(session))["echo"] == "a"
        assert monotonic() - began_s >= 0.2

    in_front(body)


def test_looking_at_health_uses_up_no_fault() -> None:
    async def body(proxy: FaultProxy, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        proxy.plan([Fault("status", status=500)])
        async with session.get("/health") as response:
            assert await response.text() == "healthy"
        assert proxy.pending == 1 and proxy.arrived == {}
        proxy.forget()
        assert (await ask(session))["echo"] == "a"

    in_front(body)


def test_streams_stay_streams() -> None:
    async def body(proxy: FaultProxy, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        async with session.post(PATH, json={"ask": "a", "stream": True}) as response:
            pieces = [piece async for piece in response.content.iter_any()]
        assert b"".join(pieces) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
        assert len(pieces) > 1

    in_front(body)


def test_a_client_that_leaves_is_passed_on_to_the_upstream() -> None:
    async def body(proxy: FaultProxy, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ask(session, hold=True), 0.2)
        async with asyncio.timeout(5.0):
            while not upstream.given_up:
                await asyncio.sleep(0.01)
        assert proxy.delivered == {}

    in_front(body)
