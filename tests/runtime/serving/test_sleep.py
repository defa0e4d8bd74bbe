"""Sleep: the levels that are tried, and waking from each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from murakkab.runtime.errors import CallFailed
from murakkab.runtime.serving.client import HttpClient
from murakkab.runtime.serving.sleep import fall_asleep, is_asleep, wake_up


def asked(
    work: Callable[[HttpClient, str], Awaitable[Any]], answers: dict[str, tuple[int, str]]
) -> tuple[Any, list[str]]:
    """Do something with a server of these answers by path; return what it was asked, too."""
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.path_qs + (await request.text()))
        status, text = answers.get(request.path_qs, (404, ""))
        return web.Response(status=status, text=text)

    async def main() -> Any:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner, client = web.AppRunner(app, shutdown_timeout=0.1), HttpClient()
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            return await work(client, f"http://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await client.close()
            await runner.cleanup()

    return asyncio.run(main()), seen


@pytest.mark.parametrize(
    ("answers", "slept", "paths"),
    [
        ({"/sleep?level=1": (200, "")}, True, ["/sleep?level=1"]),
        (
            {"/sleep?level=1": (500, ""), "/sleep?level=2": (200, "")},
            True,
            ["/sleep?level=1", "/sleep?level=2"],
        ),
        (
            {"/sleep?level=1": (500, ""), "/sleep?level=2": (500, "")},
            False,
            ["/sleep?level=1", "/sleep?level=2"],
        ),
        ({}, False, ["/sleep?level=1"]),
    ],
)
def test_the_lighter_sleep_is_tried_first(
    answers: dict[str, tuple[int, str]], slept: bool, paths: list[str]
) -> None:
    took_s, seen = asked(fall_asleep, answers)
    assert (took_s is not None, seen) == (slept, paths)


def test_a_server_that_is_not_there_does_not_sleep() -> None:
    async def main() -> None:
        client = HttpClient()
        try:
            assert await fall_asleep(client, "http://127.0.0.1:1") is None
            assert not await is_asleep(client, "http://127.0.0.1:1")
        finally:
            await client.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "asleep"),
    [((200, '{"is_sleeping": true}'), True), ((200, '{"is_sleeping":false}'), False)],
)
def test_a_server_says_whether_it_sleeps(answer: tuple[int, str], asleep: bool) -> None:
    assert asked(is_asleep, {"/is_sleeping": answer})[0] is asleep


def state(discarded: float) -> tuple[int, str]:
    return 200, (
        "# TYPE vllm:engine_sleep_state gauge\n"
        f'vllm:engine_sleep_state{{sleep_state="discard_all"}} {discarded}\n'
    )


@pytest.mark.parametrize(
    ("metrics", "reloaded"),
    [(state(0.0), False), (state(1.0), True), ((404, ""), False), ((200, "{{ no metrics"), False)],
)
def test_weights_are_read_again_only_where_they_were_discarded(
    metrics: tuple[int, str], reloaded: bool
) -> None:
    answers = {"/metrics": metrics, "/wake_up": (200, ""), "/collective_rpc": (200, "")}
    _, seen = asked(wake_up, answers)
    rpc = "/collective_rpc" + json.dumps({"method": "reload_weights"})
    assert seen == ["/metrics", "/wake_up", *([rpc] if reloaded else [])]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({}, "does not wake up"),
        ({"/wake_up": (200, ""), "/metrics": state(1.0)}, "woke up and cannot read its weights"),
    ],
)
def test_a_server_that_does_not_wake_is_told(
    answers: dict[str, tuple[int, str]], told: str
) -> None:
    with pytest.raises(CallFailed, match=told) as caught:
        asked(wake_up, answers)
    assert caught.value.retryable
