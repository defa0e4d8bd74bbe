"""A reverse proxy on a real TCP port that does to chosen requests what networks and servers do.

    async with FaultProxy(upstream) as proxy:
        proxy.plan([Fault("status", status=429, retry_after_s=0.2), Fault("reset")])
        ...  # send requests to proxy.url
        assert proxy.delivered == Counter(...)

`in_background` runs one in a thread, for tests that have an event loop of their own to run. Faults
are taken in the order in which requests arrive; a request after the last one passes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import struct
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Self

import aiohttp
from aiohttp import web

Kind = Literal[
    "pass",  # the upstream's answer, as it is
    "status",  # an error of that status; nothing reaches the upstream
    "slow",  # the upstream's answer, after a delay
    "silent",  # no answer ever; the connection stays open
    "reset",  # RST in the middle of the headers
    "cut",  # the upstream's answer up to its middle, then the connection closes
    "malformed",  # the upstream's answer without its last quarter, as a whole response
    "html",  # a page of a gateway, status 200
    "garbage",  # bytes that are not HTTP
]
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
_CODED = frozenset({"content-encoding"})
PAGE = "<html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>"
MESSAGE = "made to fail by the test"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request."""

    kind: Kind = "pass"
    status: int = 503
    retry_after_s: float | None = None
    delay_s: float = 0.0


PASS = Fault()


def identity(body: bytes) -> str:
    """Return what tells a request from others: the digest of its body."""
    return hashlib.sha256(body).hexdigest()


class FaultProxy:
    """A proxy in front of the server at `upstream` (an origin, without a path).

    arrived: how often each request came, by `identity`. delivered: how often the upstream's whole
    answer to it was sent back. Both count POST requests only, so that looking at health and metrics
    changes nothing; GET requests pass whatever the plan says.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.arrived: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.most_at_once = 0
        self._at_once = 0
        self._script: deque[Fault] = deque()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where the proxy answers, without a path."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pending(self) -> int:
        """How many faults no request has met yet."""
        return len(self._script)

    def plan(self, faults: Iterable[Fault]) -> None:
        """Set what happens to the next requests, in place of what was planned before."""
        self._script = deque(faults)

    def forget(self) -> None:
        """Drop the plan and set the counters to nothing."""
        self._script.clear()
        self.arrived.clear()
        self.delivered.clear()
        self.most_at_once = 0

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._session = aiohttp.ClientSession(
            # vLLM closes connections that were idle for 5 s: one used then would break by itself
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        # handlers are cancelled when their client goes, as a server under load would do
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._port = listening.getsockname()[1]
        await web.SockSite(self._runner, listening).start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.method != "POST":
            return await self._passed_on(request, body)
        self.arrived[identity(body)] += 1
        fault = self._script.popleft() if self._script else PASS
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._met(fault, request, body)
        finally:
            self._at_once -= 1

    async def _met(self, fault: Fault, request: web.Request, body: bytes) -> web.StreamResponse:
        match fault.kind:
            case "status":
                return _refusal(fault)
            case "silent":
                await asyncio.Event().wait()
            case "reset":
                return _broken_off(request, b"HTTP/1.1 200 OK\r\nContent-Ty", reset=True)
            case "garbage":
                return _broken_off(request, bytes(range(256)), reset=False)
            case "html":
                return web.Response(text=PAGE, content_type="text/html")
            case "cut" | "malformed":
                return await self._damaged(fault, request, body)
        await asyncio.sleep(fault.delay_s)
        response = await self._passed_on(request, body)
        self.delivered[identity(body)] += 1
        return response

    async def _damaged(self, fault: Fault, request: web.Request, body: bytes) -> web.StreamResponse:
        status, headers, content = await self._fetched(request, body)
        if fault.kind == "malformed":
            kept = content[: 3 * len(content) // 4]
            return web.Response(status=status, headers=headers, body=kept)
        head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(content)}\r\n\r\n"
        return _broken_off(request, head.encode() + content[: len(content) // 2], reset=False)

    async def _fetched(
        self, request: web.Request, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        async with self._upstream(request, body) as answer:
            return answer.status, _forwarded(answer.headers), await answer.read()

    async def _passed_on(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Send the upstream's answer back piece by piece, so that streams stay streams."""
        async with self._upstream(request, body) as answer:
            response = web.StreamResponse(status=answer.status, headers=_forwarded(answer.headers))
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    def _upstream(self, request: web.Request, body: bytes) -> aiohttp.client._RequestContextManager:
        if self._session is None:
            raise RuntimeError("the proxy is not running")
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        url = self.upstream + request.path_qs
        return self._session.request(request.method, url, data=body, headers=headers)


@contextmanager
def in_background(upstream: str) -> Iterator[FaultProxy]:
    """Run a proxy in a thread; its plan and counters may be used from the caller's."""
    proxy = FaultProxy(upstream)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result()
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _forwarded(headers: aiohttp.typedefs.LooseHeaders) -> dict[str, str]:
    pairs = dict(headers).items()
    return {str(k): str(v) for k, v in pairs if str(k).lower() not in _HOP | _CODED}


def _refusal(fault: Fault) -> web.Response:
    headers = {}
    if fault.retry_after_s is not None:
        headers["Retry-After"] = f"{fault.retry_after_s:g}"
    error = {"message": MESSAGE, "type": "made", "param": None, "code": fault.status}
    return web.Response(
        status=fault.status,
        headers=headers,
        text=json.dumps({"error": error}),
        content_type="application/json",
    )


def _broken_off(request: web.Request, sent: bytes, *, reset: bool) -> web.Response:
    """Write bytes past aiohttp's own framing and close the connection, by RST where asked."""
    transport = request.transport
    if transport is not None:
        transport.write(sent)
        if reset:
            linger = struct.pack("ii", 1, 0)  # on, with nothing left to wait for: close() sends RST
            held = transport.get_extra_info("socket")
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        else:
            transport.close()
    return web.Response()  # to nobody
