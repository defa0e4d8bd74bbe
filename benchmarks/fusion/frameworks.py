"""The same workflows as one would write them in LangGraph: asynchronous, with fan-out by `Send`.

Each item of a list goes through a subgraph of its own, so that items do not wait for each other;
a filter ends an item's way by a conditional edge. Steps stand in the order of the source pipeline.
Prompts and schemas are those of the workflows' tasks, so that both sides send the same requests;
they go through one bare aiohttp session, which costs less than a client of LangChain's.
"""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, TypedDict

import aiohttp
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from murakkab.ir.workflow import Module
from murakkab.runtime.program import Step, compile_program
from murakkab.runtime.serving.prompting import chat_messages
from murakkab.runtime.serving.structured import read_answer, response_format
from murakkab.targets.library import Executor

Fields = dict[str, Any]
Node = Callable[[Fields], Awaitable[Fields]]


class Model:
    """A model server, asked in the words of a workflow's tasks."""

    def __init__(self, module: Module, executor: Executor, name: str, url: str) -> None:
        self._steps = {step.task.name: step for step in compile_program(module).steps}
        self._executor = executor
        self._name = name
        self._url = f"{url}/chat/completions"

    async def __aenter__(self) -> Model:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, task: str, *arguments: Any) -> Any:
        """Return a task's result for arguments in the order of its parameters."""
        step: Step = self._steps[task]
        given = dict(zip(step.params, arguments, strict=True))
        messages = chat_messages(self._executor, step, given)
        body: Fields = {"model": self._name, "messages": messages, "temperature": 0.0}
        form = response_format(step.task.answer)
        if form is not None:
            body["response_format"] = form
        async with self._session.post(self._url, json=body) as answer:
            document = await answer.json()
        return read_answer(step.task.answer, document["choices"][0]["message"]["content"])


class Item(TypedDict, total=False):
    """An item on its way: its place in the list, what is known of it, whether it was dropped."""

    at: int
    known: Annotated[Fields, operator.or_]
    dropped: bool


class Whole(TypedDict, total=False):
    """A workflow: its inputs, and what its items came to, in any order."""

    given: Fields
    done: Annotated[list[tuple[int, Any]], operator.add]
    result: Any


def keeps(test: Callable[[Fields], Awaitable[bool]]) -> Node:
    """Return a node that drops items for which a test fails."""

    async def step(known: Fields) -> Fields:
        return {} if await test(known) else {"dropped": True}

    return step


def way(nodes: Mapping[str, Node], result: str) -> Any:
    """Return the subgraph of one item: nodes one after the other, an item that is dropped ends."""
    graph: Any = StateGraph(Item)
    for name, node in nodes.items():
        graph.add_node(name, _of_item(node))
    graph.add_edge(START, next(iter(nodes)))
    for before, after in zip(nodes, [*list(nodes)[1:], END], strict=True):
        graph.add_conditional_edges(before, _onward(after), [after, END] if after != END else [END])
    compiled = graph.compile()

    async def run(item: Item) -> Whole:
        left = await compiled.ainvoke(item)
        if left.get("dropped"):
            return {"done": []}
        return {"done": [(left["at"], left["known"][result])]}

    return run


def _of_item(node: Node) -> Callable[[Item], Awaitable[Item]]:
    async def step(item: Item) -> Item:
        found = await node(item["known"])
        if found.pop("dropped", False):
            return {"dropped": True}
        return {"known": found}

    return step


def _onward(after: str) -> Callable[[Item], str]:
    return lambda item: END if item.get("dropped") else after


def fan_out(items: Callable[[Fields], list[Fields]], one: Any) -> Any:
    """Return a graph that sends every item on its way and gathers what they come to, in order."""
    graph: Any = StateGraph(Whole)
    graph.add_node("one", one)
    graph.add_node("gather", _gather)

    def send(state: Whole) -> list[Send] | str:
        found = [Send("one", {"at": i, "known": k}) for i, k in enumerate(items(state["given"]))]
        return found or "gather"

    graph.add_conditional_edges(START, send, ["one", "gather"])
    graph.add_edge("one", "gather")
    graph.add_edge("gather", END)
    return graph.compile()


async def _gather(state: Whole) -> Whole:
    return {"result": [value for _, value in sorted(state.get("done", []), key=lambda x: x[0])]}


async def over(graph: Any, given: Fields) -> list[Any]:
    """Run a fan-out on a workflow's inputs."""
    done = await graph.ainvoke({"given": given}, {"recursion_limit": 100})
    return list(done["result"])
