"""Servers whose answers do not end: a call gives up at a bound, and closes the connection."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import Callable, Iterator

import pytest

from murakkab.runtime.errors import CallFailed
from murakkab.runtime.serving import client
from murakkab.runtime.serving.client import HttpClient, post

_BOUND = 4 << 20  # instead of 256 MiB
_MIB = b"x" * (1 << 20)
_EVENT = b'data: {"choices": [{"delta": {"content": "more"}}]}\n\n'


def text() -> Iterator[bytes]:
    yield b'{"choices": [{"message": {"content": "'
    while True:
        yield _MIB


def bomb() -> Iterator[bytes]:
    """A thousandth of what it becomes."""
    packed = gzip.compress(_MIB * 64)
    while True:
        yield packed


def line() -> Iterator[bytes]:
    yield b"data: "
    while True:
        yield _MIB


def events() -> Iterator[bytes]:
    while True:
        yield _EVENT * 1000


@pytest.mark.parametrize(
    ("body", "kind", "packed"),
    [
        (text, "application/json", False),
        (bomb, "application/json", True),
        (line, "text/event-stream", False),
        (bomb, "text/event-stream", True),
        (events, "text/event-stream", False),
    ],
)
def test_an_answer_without_end_is_given_up_at_its_bound(
    body: Callable[[], Iterator[bytes]], kind: str, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_MAX_ANSWER_BYTES", _BOUND)
    sent = asyncio.run(_asked(body, kind, packed))
    assert sent < 8 * _BOUND  # what was on its way, and no more


async def _asked(body: Callable[[], Iterator[bytes]], kind: str, packed: bool) -> int:
    """Ask a server that answers so; return the bytes that it could send."""
    sent, closed = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        encoding = "Content-Encoding: gzip\r\n" if packed else ""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{encoding}"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            for piece in body():
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
                sent += len(piece)
        closed.set()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    http = HttpClient()
    try:
        with pytest.raises(CallFailed, match="is over 4 MiB") as caught:
            await post(http.session(url), url, {}, hear=lambda text: None)
        assert not caught.value.retryable  # it would not end the next time either
        await asyncio.wait_for(closed.wait(), 30)
    finally:
        await http.close()
        server.close()
    return sent
