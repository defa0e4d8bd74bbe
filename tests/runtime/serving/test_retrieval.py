"""Searching and ranking on a model server: what is sent, and what an answer is taken for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from murakkab.ir.types import TEXT, ListOf, Type
from murakkab.runtime.errors import CallFailed
from murakkab.runtime.serving.retrieval import nearest
from murakkab.runtime.worker import Measured, Usage

from .called import call, executor, worker_at
from .receiver import Receiver, receiver

TEXTS = ListOf(TEXT)
PASSAGES = ["a", "b", "c"]


def answered(
    interface: str, answer: Any, passages: list[str] = PASSAGES, **knobs: Any
) -> tuple[Measured, Receiver]:
    """Search or rank passages with a server that answers so."""

    async def main() -> tuple[Measured, Receiver]:
        entry = executor(interface)
        async with receiver() as server, worker_at(server.url, with_executor=entry) as worker:
            server.usual = lambda request: web.json_response(answer)
            params: dict[str, tuple[Type, Any]] = {
                "query": (TEXT, "q"),
                "passages": (TEXTS, passages),
            }
            found = await worker.submit(call(params, prompt=None, result=TEXTS, knobs=knobs))
            return found, server

    return asyncio.run(main())


def vectors(*given: list[float]) -> dict[str, Any]:
    """Return vectors as a server may: in an order of its own."""
    rows = [{"index": i, "embedding": vector} for i, vector in enumerate(given)]
    return {"data": rows[::-1], "usage": {"prompt_tokens": 9}}


def test_a_search_embeds_the_query_and_the_passages_at_once() -> None:
    answer = vectors([1.0, 0.0], [0.0, 1.0], [3.0, 0.1], [1.0, 1.0])
    found, server = answered("search", answer, k=2)
    assert found == (["b", "c"], Usage(requests=1, prompt_tokens=9))
    assert server.paths == ["/v1/embeddings"]
    assert server.bodies == [{"model": "served", "input": ["q", "a", "b", "c"]}]


def test_of_equal_passages_the_earlier_comes_first_and_empty_ones_last() -> None:
    assert nearest([[1.0], [0.0], [2.0], [5.0], [-1.0]], 9) == [1, 2, 0, 3]
    assert nearest([[1.0], [1.0]], -1) == []


def test_a_ranking_returns_every_passage_by_its_relevance() -> None:
    scores = [(2, 0.5), (0, 0.9), (1, 0.9)]
    rows = [{"index": index, "relevance_score": score} for index, score in scores]
    found, server = answered("rank", {"results": rows})
    assert found.value == ["a", "b", "c"]
    assert server.paths == ["/v1/rerank"]
    assert server.bodies == [{"model": "served", "query": "q", "documents": PASSAGES}]


def test_no_passages_are_ranked_without_asking() -> None:
    found, server = answered("rank", None, [])
    assert found.value == [] and server.paths == []


@pytest.mark.parametrize(
    ("interface", "answer"),
    [
        ("search", vectors([1.0], [1.0])),
        ("search", vectors([1.0], [1.0], [1.0], [1.0, 2.0])),
        ("search", vectors([1.0], [1.0], [1.0], [10**400])),
        ("search", {"data": None}),
        ("rank", {}),
        ("rank", {"results": []}),
        ("rank", {"results": [{"index": i, "relevance_score": None} for i in range(3)]}),
        ("rank", {"results": [{"index": 0, "relevance_score": 0.5} for _ in range(3)]}),
        ("rank", {"results": [{"index": i, "relevance_score": 10**400} for i in range(3)]}),
    ],
)
def test_answers_of_another_form_are_told(interface: str, answer: Any) -> None:
    with pytest.raises(CallFailed) as caught:
        answered(interface, answer)
    assert caught.value.kind == "malformed" and caught.value.retryable
