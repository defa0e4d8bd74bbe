"""Attaching to a server: what it has to answer, and what is told where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from murakkab.runtime.errors import CallFailed
from murakkab.runtime.serving.attach import check
from murakkab.runtime.serving.client import HttpClient
from murakkab.runtime.serving.endpoint import Endpoint, attached, endpoint
from murakkab.targets.endpoint import EndpointPlan

from .called import engine, executor
from .receiver import Receiver, receiver, reset


def checked(
    answer: Any, *, model: str = "tiny", any_model: bool = False, key: str | None = None
) -> tuple[Endpoint, Receiver]:
    """Attach to a server that answers so."""

    async def main() -> tuple[Endpoint, Receiver]:
        client = HttpClient()
        async with receiver() as server:
            server.usual = partial(fresh, answer) if isinstance(answer, web.Response) else answer
            try:
                place = Endpoint(f"{server.url}/v1", model, key, None if key is None else "MY_KEY")
                return await check(client, place, any_model), server
            finally:
                await client.close()

    return asyncio.run(main())


def fresh(answer: web.Response, request: web.Request) -> web.Response:
    """Return an answer like one that cannot be sent twice."""
    return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)


def models(*names: str) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": name} for name in names]})


def test_a_server_that_serves_the_model_is_taken_as_it_is() -> None:
    found, server = checked(models("other", "tiny"), key="sk-1")
    assert found.model == "tiny"
    assert server.paths == ["/v1/models"]
    assert server.headers[0]["Authorization"] == "Bearer sk-1"


@pytest.mark.parametrize("answer", [web.Response(status=404), models()])
def test_a_server_that_lists_no_models_may_serve_it(answer: web.Response) -> None:
    assert checked(answer)[0].model == "tiny"


def test_the_only_model_there_is_the_one_where_its_name_is_not_known() -> None:
    assert checked(models("/models/tiny"), any_model=True)[0].model == "/models/tiny"
    with pytest.raises(CallFailed):
        checked(models("one", "two"), any_model=True)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (models("a", "b"), "serves `a`, `b`, not `tiny`"),
        (models(*"abcdefgh"), "serves `a`, `b`, `c`, `d`, `e`, not `tiny`"),
        (web.Response(status=401), "refuses the key (401)"),
        (web.Response(status=403), "refuses the key (403)"),
        (web.Response(status=500), "answers 500"),
        (web.Response(status=503), "answers 503"),
        (web.Response(text="<html>It works!</html>"), "does not answer like an OpenAI-compatible"),
        (web.json_response([]), "does not answer like an OpenAI-compatible"),
        (web.json_response({"data": {"id": "tiny"}}), "does not answer like an OpenAI-compatible"),
        (web.json_response({"data": ["tiny"]}), "does not answer like an OpenAI-compatible"),
        (web.Response(text="[" * 100_000), "does not answer like an OpenAI-compatible"),
        (reset, "cannot be reached: "),
    ],
)
def test_what_is_wrong_with_a_server_is_told(answer: Any, told: str) -> None:
    with pytest.raises(CallFailed) as caught:
        checked(answer)
    assert told in caught.value.message
    assert caught.value.help


def test_a_server_that_answers_at_the_third_attempt_is_taken() -> None:
    answers: Iterator[Any] = iter([web.Response(status=503), reset, models("tiny")])

    async def answer(request: web.Request) -> web.StreamResponse:
        found = next(answers)
        return found if isinstance(found, web.Response) else await found(request)

    found, server = checked(answer)
    assert found.model == "tiny"
    assert len(server.paths) == 3


def test_a_refused_key_names_its_variable() -> None:
    with pytest.raises(CallFailed) as caught:
        checked(web.Response(status=401, text="bad key sk-1"), key="sk-1")
    assert caught.value.help == "check the environment variable `MY_KEY`"
    assert "sk-1" not in caught.value.message


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "http://[::1/v1", "http://"])
def test_an_address_that_is_none_or_has_nobody_is_told(url: str) -> None:
    async def main() -> None:
        client = HttpClient()
        try:
            with pytest.raises(CallFailed, match=r"cannot be reached|is not a URL"):
                await check(client, Endpoint(url, "tiny"), False)
        finally:
            await client.close()

    asyncio.run(main())


# ---- where to attach, and with which key


def test_the_plans_endpoint_goes_before_the_librarys() -> None:
    plan = EndpointPlan("http://a/v1", model="m")
    assert attached(engine(endpoint=plan), executor(settings=(("url", "http://b"),)), {}) is plan


def test_an_entrys_settings_make_an_endpoint() -> None:
    settings = (("url_env", "WHERE"), ("key_env", "KEY"), ("requests_per_min", 60), ("max_usd", 2))
    entry = executor(settings=settings, usd_per_mtok=(1.0, 2.0))
    assert attached(engine(), entry, {"WHERE": "http://b/v1"}) == EndpointPlan(
        "http://b/v1", "KEY", "org/tiny", 60.0, None, 2.0, (1.0, 2.0)
    )
    with pytest.raises(CallFailed) as caught:
        attached(engine(), entry, {})
    assert caught.value.message == "the environment variable `WHERE` is not set"
    assert caught.value.help == "set it to the address of `tiny`"


def test_an_endpoint_has_its_key_from_the_environment_without_what_surrounds_it() -> None:
    plan = EndpointPlan("http://b/v1/", "KEY")
    found = endpoint(plan, executor(), {"KEY": " sk-1\n"})
    assert found == Endpoint("http://b/v1", "org/tiny", "sk-1", "KEY")
    assert endpoint(EndpointPlan("http://b", model="m"), executor(), {}).key is None
    assert endpoint(EndpointPlan("http://b"), executor(model=None), {}).model == "tiny"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "the environment variable `KEY` with the key of `http://b` is not set"),
        ({"KEY": " \n"}, "the environment variable `KEY` with the key of `http://b` is not set"),
        ({"KEY": "a\nb"}, "the key in the environment variable `KEY` is no line of text"),
    ],
)
def test_a_key_that_is_not_set_or_no_key_is_told(environ: dict[str, str], told: str) -> None:
    with pytest.raises(CallFailed) as caught:
        endpoint(EndpointPlan("http://b", "KEY"), executor(), environ)
    assert caught.value.message == told
    assert caught.value.help == "export KEY=…"
