"""The suite of `benchmarks/fusion`: every workflow compiles, and means the same at every level."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from murakkab.compiler.driver import Request, compile_workflow
from murakkab.compiler.frontend import check_file
from murakkab.ir.types import TEXT
from murakkab.runtime.serving.structured import response_format
from murakkab.targets.plan import Plan

from ..passes.interpreter import interpret

FOLDER = Path(__file__).parents[2] / "benchmarks" / "fusion"
WORKFLOWS = sorted(path.stem for path in (FOLDER / "workflows").glob("*.mkb"))
LARGE, BOTH = ("large",), ("large", "small")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the benchmark's modules be found, as they are where it runs."""
    monkeypatch.syspath_prepend(FOLDER)


def inputs(workflow: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = import_module("corpus").INPUTS[workflow]
    return found


def plan(workflow: str, folder: Path, models: tuple[str, ...], **flags: Any) -> Plan:
    request = Request(
        source=FOLDER / "workflows" / f"{workflow}.mkb",
        workflow=workflow,
        target="vllm",
        libraries=(import_module("serving").write_library(folder / "library.toml", models),),
        endpoints=tuple((name, f"http://127.0.0.1:{n}/v1") for n, name in enumerate(models, 1)),
        **flags,
    )
    return compile_workflow(request).plan


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_what_is_exact_gives_the_same_result_with_no_more_calls(
    workflow: str, scripts: None, tmp_path: Path
) -> None:
    given = inputs(workflow)
    written = interpret(plan(workflow, tmp_path, LARGE, level=0).module(), given)
    exact = interpret(plan(workflow, tmp_path, LARGE, require=("accuracy >= 1",)).module(), given)
    assert exact.result == written.result
    if workflow != "triage":  # there both branches run ahead
        assert exact.made <= written.made


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_the_required_accuracy_leaves_room_for_the_small_model(
    workflow: str, scripts: None, tmp_path: Path
) -> None:
    assert "small" in plan(workflow, tmp_path, BOTH).executors()


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_an_outcome_is_declared_for_every_task(workflow: str, scripts: None) -> None:
    outcomes = import_module("outcomes")
    for task in check_file(FOLDER / "workflows" / f"{workflow}.mkb").module.tasks:
        said = [{"role": "user", "content": f"{task.system or ''}\n{task.prompt}\nno. 3"}]
        found = [words for words in outcomes.LENGTHS if words in said[0]["content"]]
        assert len(found) == 1, task.name
        if task.result != TEXT:
            form = response_format(task.result)
            assert form is not None
            schema = form["json_schema"]["schema"]
            validate(json.loads(outcomes.recorded(schema, said)), schema)


def test_an_outcome_does_not_hang_on_the_layout_of_the_prompt(scripts: None) -> None:
    outcomes = import_module("outcomes")
    schema = {"type": "object", "properties": {"result": {"type": "boolean"}}}
    parts = ["Does this question need an expert?", "question no. 7: what?"]
    first, second = (
        outcomes.recorded(schema, [{"content": "\n\n".join(order)}])
        for order in (parts, parts[::-1])
    )
    assert first == second
