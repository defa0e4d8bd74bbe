"""Confidence: how sure a model was of an answer, from the probabilities of its tokens."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest

from murakkab.ir.types import INT, TEXT
from murakkab.ir.workflow import scored_result
from murakkab.runtime.errors import CallFailed
from murakkab.runtime.serving.confidence import confidence_of
from murakkab.runtime.worker import Measured

from .called import asking, worker_at
from .receiver import Receiver, receiver, said


def told(*tokens: tuple[str, float]) -> dict[str, Any]:
    """Return what a server tells of tokens with these probabilities."""
    content = [{"token": text, "logprob": math.log(p) if p else -9999.0} for text, p in tokens]
    return {"logprobs": {"content": content}}


def test_it_is_the_geometric_mean_of_the_probabilities() -> None:
    assert confidence_of(told((" Pra", 0.9), ("gue", 0.4))) == pytest.approx(0.6)
    assert confidence_of(told(("yes", 1.0))) == 1.0
    assert confidence_of(told(("yes", 1.0), ("!", 0.0))) == 0.0


def test_what_stands_around_every_answer_does_not_count() -> None:
    wrapped = told(('{"', 1.0), ("result", 1.0), ('": ', 1.0), ("4", 0.9), ("2", 0.4), ("}", 1.0))
    assert confidence_of(wrapped) == pytest.approx(0.6)
    thought = told(("<think>", 0.1), ("hm", 0.1), ("</think>", 0.1), ("\n\n", 0.1), ("4", 0.6))
    assert confidence_of(thought) == pytest.approx(0.6)


def test_a_record_counts_whole() -> None:
    record = told(('{"city": ', 0.25), ('"Prague"}', 1.0))
    assert confidence_of(record) == pytest.approx(0.5)


def test_tokens_that_are_parts_of_characters_are_found_by_their_bytes() -> None:
    first, second = "é".encode()
    content = [
        {"token": "\\xc3", "bytes": [first], "logprob": math.log(0.9)},
        {"token": "\\xa9", "bytes": [second], "logprob": math.log(0.4)},
    ]
    assert confidence_of({"logprobs": {"content": content}}) == pytest.approx(0.6)


@pytest.mark.parametrize("choice", [{}, {"logprobs": None}, {"logprobs": {"content": []}}])
def test_a_server_may_tell_nothing(choice: dict[str, Any]) -> None:
    assert confidence_of(choice) is None


def answered(*answers: Any, result: Any = INT) -> tuple[Measured, Receiver]:
    """Make a call of a scored task that is answered so."""
    submit = asking("how many?", result=result)
    task = replace(submit.step.task, result=scored_result(result), scored=True)
    submit = submit._replace(step=replace(submit.step, task=task))

    async def main() -> tuple[Measured, Receiver]:
        async with receiver() as server, worker_at(server.url) as worker:
            server.answers.extend(answers)
            found: Measured = await worker.submit(submit)
            return found, server

    return asyncio.run(main())


def test_answers_of_scored_tasks_come_with_it() -> None:
    found, server = answered(said('{"result": 42}', **told(('{"result": ', 1.0), ("42}", 0.7))))
    assert found.value["value"] == 42
    assert found.value["confidence"] == pytest.approx(0.7)
    (body,) = server.bodies
    assert body["logprobs"] is True
    assert list(body["response_format"]["json_schema"]["schema"]["properties"]) == ["result"]


def test_text_is_asked_for_without_a_schema() -> None:
    found, server = answered(said("yes", **told(("yes", 0.7))), result=TEXT)
    assert found.value == {"value": "yes", "confidence": pytest.approx(0.7)}
    assert "response_format" not in server.bodies[0]


def test_it_is_that_of_the_answer_that_was_usable() -> None:
    bad, good = said("many", **told(("many", 0.9))), said("42", **told(("42", 0.2)))
    found, _ = answered(bad, good)
    assert found.value == {"value": 42, "confidence": pytest.approx(0.2)}
    assert found.usage.requests == 2


def test_a_server_that_tells_none_is_named_with_what_to_do() -> None:
    with pytest.raises(CallFailed, match="tells no probabilities of tokens") as caught:
        answered(said("42"))
    assert not caught.value.retryable
    assert "logprobs" in (caught.value.help or "")


def test_probabilities_of_another_form_are_refused() -> None:
    with pytest.raises(CallFailed, match="in a form that OpenAI's interface does not have"):
        answered(said("42", logprobs={"content": [{"token": "42", "logprob": "much"}]}))
