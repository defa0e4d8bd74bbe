"""The three-step chain in LangGraph: a graph of three nodes, run for every item by `abatch`.

    python langgraph_chain.py URL CONCURRENCY INPUTS.json

The nodes use the same client as `bare.py`. `abatch` runs the items independently, with as many at
once as the others; LangGraph's other fan-out, `Send`, would hold every item back until the slowest
has done its step. Prints the seconds from the first request to the last answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import TypedDict

import aiohttp
from bare import ask
from langgraph.graph import END, START, StateGraph
from work import CHAIN, given


class State(TypedDict):
    """What goes from node to node."""

    text: str


async def main(url: str, concurrency: int, prompts: list[str]) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        def node(template: str) -> Callable[[State], Awaitable[State]]:
            async def step(state: State) -> State:
                prompt = template.format(text=state["text"])
                return {"text": await ask(session, f"{url}/chat/completions", prompt)}

            return step

        graph = StateGraph(State)
        names = ("draft", "criticize", "revise")
        for name, template in zip(names, CHAIN, strict=True):
            graph.add_node(name, node(template))
        for before, after in zip((START, *names), (*names, END), strict=True):
            graph.add_edge(before, after)
        app = graph.compile()
        items = [State(text=prompt) for prompt in prompts]
        began_s = perf_counter()
        done = await app.abatch(items, {"max_concurrency": concurrency})
        print(json.dumps({"answers": len(done), "within_s": perf_counter() - began_s}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), given(Path(sys.argv[3]))))
