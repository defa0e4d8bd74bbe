"""Stand between clients and a model server; put recorded outcomes in place of answers by chance.

    python relay.py UPSTREAM_URL PORT

Every request is computed by the server, with as many tokens as are declared for its answer. In
answers under a JSON schema the text is replaced; anything else passes unchanged (`outcomes.py`).
All sides go through it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aiohttp
from aiohttp import web
from outcomes import declared_tokens, recorded


class Relay:
    """One server behind one port."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream.rstrip("/")

    async def serve(self, port: int) -> None:
        """Serve until cancelled."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as self._session:
            app = web.Application(client_max_size=2**26)
            app.router.add_route("*", "/{path:.*}", self._passed)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            await asyncio.Event().wait()

    async def _passed(self, request: web.Request) -> web.Response:
        body = await request.read()
        asked = json.loads(body) if request.path.endswith("/chat/completions") else None
        if asked is not None:
            asked["max_tokens"] = declared_tokens(asked["messages"])
            body = json.dumps(asked).encode()
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        url = self._upstream + request.path_qs
        async with self._session.request(request.method, url, data=body, headers=headers) as got:
            content = await got.read()
            if asked is not None and got.status == 200:
                content = _answered(asked, content)
            return web.Response(body=content, status=got.status, content_type=got.content_type)


def _answered(asked: dict[str, Any], content: bytes) -> bytes:
    """Return a server's answer as if it had ended by itself, and as it is recorded."""
    answer = json.loads(content)
    choice = answer["choices"][0]
    choice["finish_reason"] = "stop"
    form = asked.get("response_format") or {}
    if form.get("type") == "json_schema":
        schema = form["json_schema"]["schema"]
        choice["message"]["content"] = recorded(schema, asked["messages"])
    return json.dumps(answer).encode()


if __name__ == "__main__":
    asyncio.run(Relay(sys.argv[1]).serve(int(sys.argv[2])))
