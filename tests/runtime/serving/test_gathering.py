"""Batch fusion of embeddings: one request for texts that are asked for together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from murakkab.ir.types import TEXT, Base, ListOf, Type
from murakkab.runtime.errors import CallFailed
from murakkab.runtime.messages import Submit
from murakkab.runtime.serving.client import HttpClient
from murakkab.runtime.serving.endpoint import Endpoint
from murakkab.runtime.serving.gathering import MOST, Gathering, Vectors
from murakkab.runtime.serving.replica import Replica
from murakkab.runtime.worker import Usage
from murakkab.targets.library import Executor

from .called import call, executor, worker_at
from .processes import until_soon
from .receiver import Receiver, never, receiver, refusal


def embedding(text: str) -> Submit:
    return call({"text": (TEXT, text)}, prompt=None, result=ListOf(Base("Float")))


async def vectors(request: web.Request) -> web.Response:
    """Answer with the length of each text, in another order than asked."""
    texts = json.loads(await request.read())["input"]
    if "wrong" in texts:
        return web.json_response({"error": {"message": "no such text"}}, status=400)
    data = [{"index": i, "embedding": [float(len(text))]} for i, text in enumerate(texts)]
    usage = {"prompt_tokens": sum(map(len, texts))}
    return web.json_response({"data": data[::-1], "usage": usage})


def asked(texts: Sequence[str], *answers: Any, **said: Any) -> tuple[list[Any], Receiver]:
    """Ask for the vectors of texts at once; return values or errors, and the server."""
    tiny = executor("embed", settings=tuple(said.items()))
    return made([embedding(text) for text in texts], tiny, *answers)


def made(calls: Sequence[Submit], tiny: Executor, *answers: Any) -> tuple[list[Any], Receiver]:
    """Make calls at once; return their values or errors, and the server."""

    async def main() -> tuple[list[Any], Receiver]:
        async with receiver() as server, worker_at(server.url, with_executor=tiny) as worker:
            server.usual = vectors
            server.answers.extend(answers)
            found = [worker.submit(one) for one in calls]
            return list(await asyncio.gather(*found, return_exceptions=True)), server

    return asyncio.run(main())


def searching(query: str, passages: list[str]) -> Submit:
    params: dict[str, tuple[Type, Any]] = {
        "query": (TEXT, query),
        "passages": (ListOf(TEXT), passages),
    }
    return call(params, prompt=None, result=ListOf(TEXT), knobs={"k": 1})


def test_texts_that_are_ready_together_go_in_one_request() -> None:
    found, server = asked(["a", "bb", "cccc"])
    assert [one.value for one in found] == [[1.0], [2.0], [4.0]]
    assert [body["input"] for body in server.bodies] == [["a", "bb", "cccc"]]


def test_what_a_request_consumed_is_shared_out_by_length() -> None:
    found, _ = asked(["a", "bb", "cccc"])
    assert [one.usage.prompt_tokens for one in found] == [1, 2, 4]
    assert [one.usage.requests for one in found] == [1, 0, 0]


def test_a_request_has_a_bounded_number_of_texts() -> None:
    found, server = asked([str(n) for n in range(2 * MOST + 1)])
    assert len(found) == 2 * MOST + 1
    assert [len(body["input"]) for body in server.bodies] == [MOST, MOST, 1]


def test_an_executor_may_declare_how_many_texts_it_takes() -> None:
    _, server = asked(["a", "bb", "cccc"], batch=2)
    assert [body["input"] for body in server.bodies] == [["a", "bb"], ["cccc"]]
    _, server = asked(["a", "bb", "cccc"], batch=1)
    assert len(server.bodies) == 3


def test_a_text_that_several_ask_for_is_sent_once() -> None:
    found, server = asked(["a", "bb", "a"])
    assert [one.value for one in found] == [[1.0], [2.0], [1.0]]
    assert [body["input"] for body in server.bodies] == [["a", "bb"]]


def test_searches_of_the_same_passages_send_them_once() -> None:
    """However many passages: they are the first search's own."""
    passages = ["p" * n for n in range(1, 2 * MOST)]
    calls = [searching("q", passages), searching("r", passages), searching("s", passages[:2])]
    found, server = made(calls, executor("search"))
    assert [one.value for one in found] == [["p"]] * 3  # all lie in one direction: the first
    (body,) = server.bodies
    assert body["input"] == ["q", *passages, "r", "s"]
    sent = sum(map(len, body["input"]))
    assert sum(one.usage.prompt_tokens for one in found) == sent


def test_one_that_is_wrong_fails_alone() -> None:
    first, second, third = asked(["a", "wrong", "ccc"])[0]
    assert first.value == [1.0] and third.value == [3.0]
    assert isinstance(second, CallFailed) and "no such text" in second.message


def test_when_the_server_is_at_fault_each_call_has_an_error_of_its_own() -> None:
    found, server = asked(["a", "bb"], refusal(503, ""))
    assert all(isinstance(one, CallFailed) and one.retryable for one in found)
    assert found[0] is not found[1]
    assert len(server.bodies) == 1


def test_an_answer_of_the_wrong_form_fails_all() -> None:
    found, _ = asked(["a", "bb"], web.json_response({"data": []}))
    assert [one.kind for one in found] == ["malformed", "malformed"]


@pytest.mark.parametrize(("given_up", "left"), [(1, 0), (2, 1)])
def test_a_request_ends_when_all_its_calls_are_given_up(given_up: int, left: int) -> None:
    async def main() -> int:
        async with (
            receiver() as server,
            worker_at(server.url, with_executor=executor("embed")) as worker,
        ):
            server.usual = never
            calls = [asyncio.ensure_future(worker.submit(embedding(t))) for t in ("a", "bb")]
            await until_soon(lambda: len(server.bodies) == 1)
            for one in calls[:given_up]:
                one.cancel()
            await asyncio.sleep(0.2)
            gone = server.left
            for one in calls:
                one.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            return gone

    assert asyncio.run(main()) == left


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    st.lists(st.lists(st.sampled_from(("a", "bb", "ccc", "dddd", "wrong")), max_size=4)),
    st.integers(1, 5),
)
def test_each_call_has_what_it_would_have_alone(wanted: list[list[str]], most: int) -> None:
    """Calls with a text that the server refuses fail, all others have vectors of their texts."""
    sent: list[list[str]] = []

    async def ask(replica: Replica, call: Submit, texts: list[str]) -> Vectors:
        sent.append(texts)
        if "wrong" in texts:
            raise CallFailed("no such text")
        return [[float(len(text))] for text in texts], Usage(1, prompt_tokens=len(texts))

    async def main() -> list[Any]:
        client = HttpClient()
        replica = Replica("attached", Endpoint("http://127.0.0.1/v1", "served"), client, base="")
        gathering = Gathering(ask)
        calls = [gathering.vectors(replica, embedding(""), texts, most) for texts in wanted]
        found = list(await asyncio.gather(*calls, return_exceptions=True))
        await client.close()
        return found

    found = asyncio.run(main())
    for texts, one in zip(wanted, found, strict=True):
        if "wrong" in texts:
            assert isinstance(one, CallFailed)
        else:
            assert one[0] == [[float(len(text))] for text in texts]
    answered = [texts for texts in sent if "wrong" not in texts]
    shares = [one[1] for one in found if not isinstance(one, CallFailed)]
    assert sum(share.requests for share in shares) == len(answered)
    assert sum(share.prompt_tokens for share in shares) == sum(map(len, answered))
    if len(shares) == len(wanted):
        assert len(sent) <= len(wanted)
