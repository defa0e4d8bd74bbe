"""The LangGraph side of `benchmarks/fusion` says what the workflows say, call by call."""

from __future__ import annotations

import asyncio
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from murakkab.compiler.frontend import check_file, select
from murakkab.ir.workflow import Module

FOLDER = Path(__file__).parents[2] / "benchmarks" / "fusion"
WORKFLOWS = sorted(path.stem for path in (FOLDER / "workflows").glob("*.mkb"))


class Recorded:
    """A model that answers as the reference interpreter does, and keeps what it was asked."""

    def __init__(self, module: Module, interpreter: Any) -> None:
        self._tasks = {task.name: task for task in module.tasks}
        self._interpreter = interpreter
        self.made: Counter[str] = Counter()

    async def ask(self, task: str, *arguments: Any) -> Any:
        found = self._tasks[task]
        key = self._interpreter.wording(found, arguments)
        self.made[key] += 1
        return self._interpreter.make(found.result, key)


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_graph_makes_the_calls_of_its_workflow(
    workflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.syspath_prepend(FOLDER.parents[1] / "tests" / "passes")
    interpreter = import_module("interpreter")
    module = select(check_file(FOLDER / "workflows" / f"{workflow}.mkb"), workflow)
    given = import_module("corpus").INPUTS[workflow]
    written = interpreter.interpret(module, given)
    model = Recorded(module, interpreter)
    assert asyncio.run(import_module("graphs").GRAPHS[workflow](model, given)) == written.result
    assert model.made == written.made
