"""Calls of model servers: what is sent, and what comes of every kind of answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from murakkab.ir.types import TEXT, Base, Enum, ListOf, Record
from murakkab.runtime.errors import CallFailed
from murakkab.runtime.media import Media
from murakkab.runtime.messages import Submit
from murakkab.runtime.repeats import Repeats
from murakkab.runtime.serving.worker import ServedWorker
from murakkab.runtime.worker import Measured, Usage
from murakkab.targets.endpoint import EndpointPlan
from murakkab.targets.failure_policy import FailurePolicy

from .called import asking, call, executor, worker_at
from .processes import until_soon
from .receiver import Receiver, cut, error, never, receiver, refusal, reset, said

KEY = "sk-a-key-that-nobody-may-see"
SORT = Record((("city", Enum(("Prague", "Vienna"))), ("urgent", Base("Bool"))))


def run(work: Callable[[ServedWorker, Receiver], Awaitable[None]], **options: Any) -> Receiver:
    """Do something with a worker and its server; return the server, for what it received."""

    async def main() -> Receiver:
        async with receiver() as server, worker_at(server.url, **options) as worker:
            await work(worker, server)
            return server

    return asyncio.run(main())


def answered(submit: Submit, *answers: Any, **options: Any) -> tuple[Measured, Receiver]:
    """Make a call that is answered so; return its value, and what the server received."""
    found: list[Measured] = []

    async def work(worker: ServedWorker, server: Receiver) -> None:
        server.answers.extend(answers)
        found.append(await worker.submit(submit))

    server = run(work, **options)
    return found[0], server


def failed(*answers: Any, submit: Submit | None = None, **options: Any) -> CallFailed:
    """Make a call that is answered so and fails."""
    with pytest.raises(CallFailed) as caught:
        answered(submit or asking("hello"), *answers, **options)
    return caught.value


# ---- what is sent


def test_a_chat_is_sent_with_its_model_messages_and_key() -> None:
    value, server = answered(asking("hello"), said(" hi "), key=KEY)
    assert value.value == "hi"
    assert server.paths == ["/v1/chat/completions"]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert server.headers[0]["Content-Type"] == "application/json"
    assert server.bodies == [
        {"model": "served", "messages": [{"role": "user", "content": "hello"}]}
    ]


def test_without_a_key_none_is_sent() -> None:
    _, server = answered(asking("hello"))
    assert "Authorization" not in server.headers[0]


def test_settings_of_sampling_are_sent_and_knobs_of_the_step_go_before_them() -> None:
    settings = (("temperature", 0.2), ("seed", 7), ("timeout_s", 9.0), ("url", "http://x"))
    _, server = answered(
        asking("hello", knobs={"temperature": 0.9, "max_tokens": 64, "fps": 2}),
        with_executor=executor(settings=settings),
    )
    (body,) = server.bodies
    del body["messages"], body["model"]
    assert body == {"temperature": 0.9, "seed": 7, "max_tokens": 64}


def test_a_limit_of_an_answers_length_is_one_of_each_of_several() -> None:
    kind = Record((("first", TEXT), ("second", TEXT)))
    submit = asking("hello", result=kind)
    task = replace(submit.step.task, answers=("one", "other"))
    submit = submit._replace(step=replace(submit.step, task=task))
    tiny = executor(settings=(("max_tokens", 100),))
    value, server = answered(submit, said('{"first": "a", "second": "b"}'), with_executor=tiny)
    assert value.value == {"first": "a", "second": "b"}
    assert 200 < server.bodies[0]["max_tokens"] < 300


@pytest.mark.parametrize(("origin", "sent"), [("attached", False), ("warm", True), ("own", True)])
def test_only_servers_of_ours_are_told_what_is_urgent(origin: str, sent: bool) -> None:
    _, server = answered(asking("hello"), origin=origin, urgency={"label": 2.5})
    assert server.bodies[0].get("priority") == (-2500 if sent else None)


def test_a_step_of_no_known_urgency_is_the_least_urgent() -> None:
    _, server = answered(asking("hello"), origin="own", urgency={"other": 2.5})
    assert server.bodies[0]["priority"] == 0


def test_a_structured_result_is_asked_for_by_its_schema() -> None:
    value, server = answered(
        asking("hello", result=SORT), said('{"city": "Prague", "urgent": true}')
    )
    assert value.value == {"city": "Prague", "urgent": True}
    form = server.bodies[0]["response_format"]
    assert form["type"] == "json_schema"
    assert sorted(form["json_schema"]["schema"]["properties"]) == ["city", "urgent"]


def test_an_embedding_is_asked_for_with_the_text_alone() -> None:
    vector = web.json_response(
        {"data": [{"embedding": [0.5, -1, 2.0], "index": 0}], "usage": {"prompt_tokens": 3}}
    )
    submit = call({"text": (TEXT, "abc")}, prompt=None, result=ListOf(Base("Float")))
    value, server = answered(submit, vector, with_executor=executor("embed"))
    assert value == ([0.5, -1.0, 2.0], Usage(requests=1, prompt_tokens=3))
    assert server.paths == ["/v1/embeddings"]
    assert server.bodies == [{"model": "served", "input": ["abc"]}]


def test_a_sound_is_sent_as_a_file_to_be_transcribed() -> None:
    sound = Media("audio", data=b"RIFF\x00\x00\x00\x00WAVEfmt ")
    submit = call({"audio": (Base("Audio"), sound)}, prompt=None)
    text = web.json_response({"text": " Hello there. "})
    value, server = answered(submit, text, with_executor=executor("transcribe_audio"))
    assert value.value == "Hello there."
    assert server.paths == ["/v1/audio/transcriptions"]
    (form,) = server.bodies
    assert (form["model"], form["response_format"]) == ("served", "json")
    assert form["file"][0].endswith(".wav") and form["file"][1] == sound.data


# ---- what it consumed


def test_what_a_call_consumed_is_what_the_server_says() -> None:
    value, _ = answered(asking("hello"), said("x", tokens=(100, 7), cached=64))
    assert value.usage == Usage(1, 100, 64, 7)


@pytest.mark.parametrize(
    "usage",
    [None, [], {}, {"prompt_tokens": None, "completion_tokens": "7"}, {"prompt_tokens_details": 1}],
)
def test_a_server_that_does_not_say_what_it_consumed_leaves_zeros(usage: Any) -> None:
    body = {"choices": [{"message": {"content": "x"}}], "usage": usage}
    value, _ = answered(asking("hello"), web.json_response(body))
    assert value.usage == Usage(requests=1)


def test_an_answer_that_its_limit_cut_short_is_counted() -> None:
    value, _ = answered(asking("hello"), said("half a sen", finish_reason="length"))
    assert value.value == "half a sen" and value.usage.cut == 1


def test_a_wrong_answer_is_repaired_and_both_requests_count() -> None:
    value, server = answered(
        asking("hello", result=SORT),
        said("I think it is Prague", tokens=(10, 5)),
        said('{"city": "Prague", "urgent": false}', tokens=(30, 8)),
    )
    assert value == ({"city": "Prague", "urgent": False}, Usage(2, 40, 0, 13))
    first, second = server.bodies
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert "I think it is Prague" in json.dumps(second["messages"])
    assert second["response_format"] == first["response_format"]


def test_an_answer_that_is_wrong_twice_fails_and_may_be_tried_again() -> None:
    found = failed(said("no"), said("nope"), submit=asking("hello", result=SORT))
    assert found.retryable and found.kind == "malformed"
    assert found.message.startswith("the model's answer is no {")
    assert found.usage == Usage(2, 20, 0, 10)
    assert found.help == "use a better model, or a simpler type"


def test_a_wrong_answer_is_not_repaired_beyond_the_budget_of_the_run() -> None:
    async def work(worker: ServedWorker, server: Receiver) -> None:
        server.usual = lambda request: said("no")
        for requests in (2, 3):
            with pytest.raises(CallFailed) as caught:
                await worker.submit(asking("hello", result=SORT))
            assert len(server.bodies) == requests
            assert ("asked twice" in caught.value.message) == (requests == 2)

    run(work, repeats=Repeats(FailurePolicy(retry_floor=1)))


def test_an_answer_that_was_cut_short_twice_says_so() -> None:
    half = [said('{"city": "Pra', finish_reason="length") for _ in range(2)]
    found = failed(*half, submit=asking("hello", result=SORT))
    assert "it was cut short by its limit" in found.message
    assert found.help == "raise `max_tokens`"


def test_what_was_consumed_before_a_repair_failed_is_kept() -> None:
    found = failed(said("no"), refusal(503, ""), submit=asking("hello", result=SORT))
    assert found.usage == Usage(1, 10, 0, 5)
    found = failed(said("no"), said(None), submit=asking("hello", result=SORT))
    assert found.usage == Usage(2, 20, 0, 10)


def test_prices_make_dollars() -> None:
    plan = EndpointPlan("http://x", usd_per_mtok=(2.0, 8.0))
    value, _ = answered(asking("hello"), said("x", tokens=(500_000, 250_000)), plan=plan)
    assert value.usage.usd == 3.0


# ---- faults


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((400, False), (401, False), (403, False), (404, False), (408, True), (413, False)),
        *((422, False), (425, True), (429, True), (500, True), (502, True), (503, True)),
    ],
)
def test_an_error_is_told_in_the_servers_words(status: int, retryable: bool) -> None:
    found = failed(refusal(status, error("it cannot\nbe done")))
    assert found.message.endswith(f"/v1/chat/completions` answered {status}: it cannot be done")
    assert (found.retryable, found.kind) == (retryable, str(status))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"detail": "Not here"}, "Not here"),
        ({"error": "plain"}, "plain"),
        ({"message": "mine"}, "mine"),
        ({"error": {"code": 7}}, '{"error": {"code": 7}}'),
        ([1], "[1]"),
        ("<html><body><h1>Bad</h1>\n<p>Gateway</p></body></html>", "Bad Gateway"),
        ("", "Bad Gateway"),
        ("[" * 100_000, "[" * 300 + "…"),
        ("é" * 1000, "é" * 300 + "…"),
    ],
)
def test_errors_of_other_forms_are_told_too(body: Any, told: str) -> None:
    assert failed(refusal(502, body)).message.endswith(f"answered 502: {told}")


@pytest.mark.parametrize(
    ("header", "after_s"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("100000", 120.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        ("-1", 0.0),
    ],
)
def test_a_server_may_ask_to_be_left_alone(header: str, after_s: float) -> None:
    found = failed(refusal(429, error("slowly"), **{"Retry-After": header}))
    assert (found.after_s, found.retryable) == (after_s, True)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_its_variable(status: int) -> None:
    found = failed(refusal(status, error("no")), key=KEY, key_env="MY_KEY")
    assert found.help == "check the key: the environment variable `MY_KEY`"
    found = failed(refusal(status, error("no")))
    assert found.help == "check the key: `key_env` in the cluster file"


def test_other_advice_is_about_what_is_wrong() -> None:
    long = "This model's maximum context length is 2048 tokens. However, your prompt contains more"
    assert "shorten" in str(failed(refusal(400, error(long))).help)
    assert "model's name" in str(failed(refusal(404, error("no such model"))).help)
    assert "another kind" in str(failed(refusal(404, {"detail": "Not Found"})).help)
    assert failed(refusal(400, error("something else"))).help is None


@pytest.mark.parametrize(
    "answer",
    [
        refusal(401, error(f"Incorrect API key provided: {KEY}.")),
        refusal(401, error("x" * (300 - len(KEY) // 2) + KEY)),  # where the message is cut short
        refusal(500, f"<p>Bearer {KEY}</p>"),
        web.Response(text=f"no JSON, but {KEY}"),
        web.Response(text="x" * (300 - len(KEY) // 2) + KEY),
    ],
)
def test_no_message_holds_the_key(answer: web.Response) -> None:
    copy = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    found = failed(copy, key=KEY)
    assert KEY[:8] not in found.message


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (reset, "connection", "broke: "),
        (cut, "cut", "was cut off in the middle"),
        (lambda r: web.Response(text="<html><h1>It works!</h1></html>"), "malformed", "It works!"),
        (lambda r: web.Response(text='{"choices": ['), "malformed", "other than JSON"),
        (lambda r: web.Response(body=b"\xff\xfe{}"), "malformed", "other than JSON"),
        (lambda r: web.Response(text="[" * 100_000), "malformed", "other than JSON"),
        (lambda r: web.json_response({}), "malformed", "a form that OpenAI's"),
        (lambda r: web.json_response({"choices": []}), "malformed", "a form that OpenAI's"),
        (lambda r: web.json_response({"choices": {"0": 1}}), "malformed", "a form that"),
        (lambda r: web.json_response({"choices": [{"message": []}]}), "malformed", "a form that"),
        (lambda r: web.json_response({"choices": ["x"]}), "malformed", "a form that"),
        (lambda r: said(["text"]), "malformed", "a form that"),
        (lambda r: said(7), "malformed", "a form that"),
        (lambda r: said(None), "_OTHER", "the model answered nothing"),
    ],
)
def test_what_may_go_better_the_next_time_is_retryable(answer: Any, kind: str, told: str) -> None:
    found = failed(answer)
    assert told in found.message
    assert (found.retryable, found.kind) == (True, kind)


def test_a_refusal_of_the_model_is_final() -> None:
    found = failed(said(None, message={"content": None, "refusal": "I will not"}))
    assert found.message == "the model refused: I will not"
    assert not found.retryable and found.usage == Usage(1, 10, 0, 5)


def test_json_that_is_no_object_is_no_answer() -> None:
    assert failed(web.json_response([1])).message.endswith("JSON that is no object")


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": []},
        {"data": {}},
        {"data": [{"index": 0, "embedding": "AAAA"}]},
        {"data": [{"index": 0, "embedding": None}]},
        {"data": [{"index": 0, "embedding": [None]}]},
        {"data": [{"index": 0, "embedding": [10**400]}]},
        {"data": [{"index": 0, "embedding": [0.5]}, {"index": 1, "embedding": [0.5]}]},
        {"data": ["x"]},
    ],
)
def test_embeddings_of_the_wrong_form_are_told(document: Any) -> None:
    submit = call({"text": (TEXT, "abc")}, prompt=None, result=ListOf(Base("Float")))
    found = failed(web.json_response(document), submit=submit, with_executor=executor("embed"))
    assert found.kind == "malformed"


def test_a_transcription_of_the_wrong_form_is_told() -> None:
    sound = Media("audio", data=b"RIFF\x00\x00\x00\x00WAVEfmt ")
    submit = call({"audio": (Base("Audio"), sound)}, prompt=None)
    with_executor = executor("transcribe_audio")
    found = failed(web.json_response({"text": None}), submit=submit, with_executor=with_executor)
    assert found.kind == "malformed"


def test_a_server_that_is_not_there_is_told() -> None:
    async def main() -> None:
        async with receiver() as server:
            gone = server.url
        async with worker_at(gone) as worker:
            with pytest.raises(CallFailed) as caught:
                await worker.submit(asking("hello"))
        found = caught.value
        assert found.message.startswith(f"`{gone}/v1/chat/completions` cannot be reached: ")
        assert (found.retryable, found.kind) == (True, "connection")
        assert found.help == "check that the server runs and that its address is right"

    asyncio.run(main())


def test_an_answer_that_does_not_come_in_time_is_given_up() -> None:
    async def work(worker: ServedWorker, server: Receiver) -> None:
        server.answers.append(never)
        with pytest.raises(CallFailed) as caught:
            await worker.submit(asking("hello"))
        assert caught.value.message == "no answer within 0.2 s"
        assert (caught.value.retryable, caught.value.kind) == (True, "timeout")
        await until_soon(lambda: server.left == 1)

    run(work, limit_s=0.2)


def test_waiting_for_a_rate_limit_is_not_waiting_for_an_answer() -> None:
    plan = EndpointPlan("http://x", requests_per_min=300.0)

    async def work(worker: ServedWorker, server: Receiver) -> None:
        found = await asyncio.gather(*(worker.submit(asking("hello")) for _ in range(8)))
        assert [one.value for one in found] == ["yes"] * 8

    run(work, plan=plan, limit_s=1.0)


def test_cancelling_a_call_closes_its_connection() -> None:
    async def work(worker: ServedWorker, server: Receiver) -> None:
        server.answers.append(never)
        future = worker.submit(asking("hello"))
        await until_soon(lambda: server.bodies)
        assert worker.calls == 1 and worker.idle_s == 0.0
        future.cancel()
        await until_soon(lambda: server.left == 1)
        assert worker.calls == 0
        await worker.drain()
        assert (await worker.submit(asking("again"))).value == "yes"

    run(work)


def test_stopping_gives_up_calls_at_work() -> None:
    async def work(worker: ServedWorker, server: Receiver) -> None:
        server.usual = never
        futures = [worker.submit(asking("hello")) for _ in range(3)]
        await until_soon(lambda: len(server.bodies) == 3)
        await worker.stop()
        assert all(future.cancelled() for future in futures)

    run(work)


def test_servers_here_are_asked_past_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody is there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    value, _ = answered(asking("hello"))
    assert value.value == "yes"
