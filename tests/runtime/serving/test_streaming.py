"""Lists that a model server tells piece by piece: handed over at once, none lost, none twice."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from murakkab.ir.types import INT, ListOf
from murakkab.runtime.driver import RunResult, run_plan
from murakkab.runtime.errors import CallFailed, RunError
from murakkab.runtime.serving.fleet import Serving
from murakkab.runtime.worker import Usage
from murakkab.targets.library import Executor, Library, Quality

from ..conftest import MakePlan
from .called import asking, executor, worker_at
from .receiver import Receiver, breaking, error, receiver, refusal, said, telling

NUMBERS = ListOf(INT)
TEXT = """module placed
task @list(%x: Text) -> [Int]
task @say(%n: Int) -> Text
engine @a
workflow @w(%x: Text) -> [Text]
{
  %ns = invoke @list(%x) {engine = @a, executor = @list} : [Int]
  %ys = map(%ns) { ^(%n: Int)
    %y = invoke @say(%n) {engine = @a, executor = @say} : Text
    yield(%y)
  } : [Text]
  return(%ys)
}
"""


def called(
    *answers: Any, given: tuple[int, ...] = (), **options: Any
) -> tuple[Any, list[int], Receiver]:
    """Make a call for numbers that is answered so; return its value, what was handed over."""
    offered: list[int] = []

    async def main() -> tuple[Any, Receiver]:
        async with receiver() as server, worker_at(server.url, **options) as worker:
            server.answers.extend(answers)
            call = asking("count", result=NUMBERS)._replace(given=given)
            return await worker.submit(call, offered.extend), server

    found, server = asyncio.run(main())
    return found, offered, server


def test_items_are_handed_over_and_the_value_holds_them_all() -> None:
    found, offered, server = called(telling('{"result": [1, 2', ", 3", "]}"))
    assert found.value == offered == [1, 2, 3]
    assert found.usage == Usage(requests=1, prompt_tokens=10, output_tokens=5)
    assert server.bodies[0]["stream"] is True
    assert server.bodies[0]["stream_options"] == {"include_usage": True}


def test_a_server_that_answers_as_a_whole_all_the_same_is_understood() -> None:
    found, offered, _ = called(said('{"result": [1, 2]}'))
    assert found.value == [1, 2] and offered == []


def test_an_executor_may_do_without_events() -> None:
    quiet = executor(settings=(("stream", False),))
    found, offered, server = called(said('{"result": [1, 2]}'), with_executor=quiet)
    assert found.value == [1, 2] and offered == []
    assert "stream" not in server.bodies[0]


def test_a_list_that_goes_wrong_is_continued_where_it_was_right() -> None:
    found, offered, server = called(
        telling('{"result": [1, 2, "three"', "]}"), telling('{"result": [3', ", 4]}")
    )
    assert found.value == offered == [1, 2, 3, 4]
    assert found.usage.requests == 2
    *_, shown, asked = server.bodies[1]["messages"]
    assert shown == {"role": "assistant", "content": '{"result": [1, 2]}'}
    assert asked["content"].startswith(
        "Your answer cannot be used beyond these 2 items: in item 2: expected Int, got 'three'."
    )


def test_a_list_cut_by_its_limit_is_continued() -> None:
    found, offered, _ = called(
        telling('{"result": [1, 2, ', "3", end="length"), telling('{"result": [3]', "}")
    )
    assert found.value == offered == [1, 2, 3]


def test_a_further_attempt_asks_for_what_follows_the_items_that_were_handed_over() -> None:
    found, offered, server = called(telling('{"result": [8', "]}"), given=(6, 7))
    assert found.value == [6, 7, 8] and offered == [8]
    *_, shown, asked = server.bodies[0]["messages"]
    assert shown["content"] == '{"result": [6, 7]}'
    assert "these 2 items: it was broken off. Go on from there" in asked["content"]


def odd(*events: str) -> Any:
    async def answer(request: web.Request) -> web.Response:
        text = "".join(f"data: {event}\n\n" for event in events)
        return web.Response(text=text, content_type="text/event-stream")

    return answer


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (breaking('{"result": [1, '), "cut", "was cut off in the middle"),
        (breaking("[1, ", with_error="engine dead"), "cut", "broke its answer off: engine dead"),
        (odd('{"choices": [{"delta": {"content": "[1, "}}]}'), "cut", "was cut off in the middle"),
        (odd("[DONE]"), "cut", "was cut off in the middle"),
        (odd("no JSON"), "malformed", "events that are none of a chat completion"),
        (odd("[1]"), "malformed", "events that are none of a chat completion"),
        (odd('{"choices": 1}'), "malformed", "events that are none of a chat completion"),
        (odd('{"choices": [{"delta": 1}]}'), "malformed", "events that are none of a chat"),
        (odd('{"choices": [{"delta": {"content": 1}}]}'), "malformed", "events that are none"),
        (refusal(429, error("slow down")), "429", "slow down"),
    ],
)
def test_what_breaks_in_the_middle_can_be_tried_again(answer: Any, kind: str, message: str) -> None:
    with pytest.raises(CallFailed, match=message) as caught:
        called(answer)
    assert caught.value.kind == kind and caught.value.retryable


def test_no_message_holds_the_key() -> None:
    with pytest.raises(CallFailed) as caught:
        called(breaking(with_error="bad key sk-secret"), key="sk-secret")
    assert "sk-secret" not in str(caught.value) and "bad key ***" in str(caught.value)


# ---- whole runs


def executors() -> Library:
    quality = Quality(1.0, "relative", "test")
    prompts = {"list": "list {x}", "say": "say {n}"}
    return Library(
        tuple(
            Executor(
                *(name, name, "", "vllm", ("cpu",), quality),
                model="org/tiny",
                prompt=prompt,
                digest=name,
            )
            for name, prompt in prompts.items()
        ),
        "library",
    )


def ran(make_plan: MakePlan, server: Receiver, folder: Path) -> Any:
    plan = make_plan(TEXT, runner="vllm", concurrency=8)
    engines = tuple(replace(engine, model="org/tiny") for engine in plan.engines)
    told = Serving(logs=folder, endpoints={"a": f"{server.url}/v1"})
    return run_plan(
        replace(plan, engines=engines), {"x": "numbers"}, library=executors(), serving=told
    )


def prompts(server: Receiver) -> list[str]:
    return [body["messages"][-1]["content"] for body in server.bodies if body is not None]


def run(make_plan: MakePlan, folder: Path, *answers: Any) -> tuple[RunResult, Receiver]:
    """Run with these answers to the first request and its repetitions, which list numbers."""
    lists = list(answers)

    async def main() -> tuple[RunResult, Receiver]:
        async with receiver() as server:

            def answer(request: web.Request) -> Any:
                if request.method == "GET":
                    return web.json_response({"data": [{"id": "org/tiny"}]})
                prompt = prompts(server)[-1]
                if prompt.startswith("say"):
                    return said(prompt)
                found = lists.pop(0)
                return found(server)(request)

            server.usual = answer
            return await ran(make_plan, server, folder), server

    return asyncio.run(main())


def test_a_step_works_on_the_first_items_while_the_last_are_written(
    make_plan: MakePlan, tmp_path: Path
) -> None:
    # the list does not end before its items were asked about
    done, server = run(
        make_plan,
        tmp_path,
        lambda server: telling(
            '{"result": [1, 2, ', "3]}", until=lambda: "say 2" in prompts(server)
        ),
    )
    assert done.value == ["say 1", "say 2", "say 3"]
    assert sorted(prompts(server)) == ["list numbers", "say 1", "say 2", "say 3"]


def test_a_list_that_breaks_off_is_continued_and_nothing_is_done_twice(
    make_plan: MakePlan, tmp_path: Path
) -> None:
    done, server = run(
        make_plan,
        tmp_path,
        lambda server: breaking('{"result": [1, 2, '),
        lambda server: telling('{"result": [3', "]}"),
    )
    assert done.value == ["say 1", "say 2", "say 3"]
    said_of = [prompt for prompt in prompts(server) if prompt.startswith("say")]
    assert sorted(said_of) == ["say 1", "say 2", "say 3"]
    (step,) = [s for s in done.record.document["steps"] if s["step"] == "ns"]
    assert step["attempts"] == 2 and step["items"] == 3


def test_a_list_that_always_breaks_off_fails_the_run(make_plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="was cut off in the middle"):
        run(make_plan, tmp_path, *[lambda server: breaking("[1, ")] * 3)


def test_a_conversation_that_goes_on_is_json(make_plan: MakePlan, tmp_path: Path) -> None:
    _, server = run(
        make_plan,
        tmp_path,
        lambda server: breaking("[1, 2, "),
        lambda server: telling("[", "]"),
    )
    continued = [body for body in server.bodies if body and len(body["messages"]) == 3]
    assert json.loads(continued[0]["messages"][1]["content"]) == {"result": [1, 2]}
