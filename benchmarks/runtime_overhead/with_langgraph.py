"""One LangGraph node run a list item, fanned out with `Send`: `python with_langgraph.py STEPS`."""

from __future__ import annotations

import operator
import sys
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from measure import measure


class State(TypedDict):
    """The list, and what the nodes return."""

    items: list[int]
    results: Annotated[list[int], operator.add]


def main(steps: int) -> None:
    graph = StateGraph(State)
    graph.add_node("noop", lambda item: {"results": [item["x"]]})
    graph.add_conditional_edges(
        START, lambda state: [Send("noop", {"x": x}) for x in state["items"]], ["noop"]
    )
    graph.add_edge("noop", END)
    app = graph.compile()

    def work() -> None:
        done = app.invoke({"items": list(range(steps)), "results": []}, {"max_concurrency": 2})
        assert done["results"] == list(range(steps))

    measure(work)


if __name__ == "__main__":
    main(int(sys.argv[1]))
