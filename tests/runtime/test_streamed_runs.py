"""Runs from file to file make what runs in memory make: generated workflows, whole driver."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from murakkab.ir.ops import Op
from murakkab.ir.printer import print_module
from murakkab.ir.types import ListOf
from murakkab.ir.workflow import Module
from murakkab.passes.pipeline import LEVELS
from murakkab.runtime.clock import VirtualClock
from murakkab.runtime.driver import run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.json_lines import open_lines
from murakkab.runtime.links import listed
from murakkab.runtime.list_file import ListFile
from murakkab.runtime.values import digest, encode
from murakkab.targets.library import Executor, Library
from murakkab.targets.plan import EnginePlan, Plan

from ..passes.compiling import UNORDERED, inputs, workflows
from ..passes.interpreter import Fails, Trace, attempt
from ..passes.properties import failing, same
from .test_levels import ReferenceWorker, planned, settled


def telling_a_list(module: Module, chance: Random) -> Module:
    """Return a workflow whose result is one of its lists."""
    workflow = module.sole()
    lists = [op.out() for op in workflow.body.body if isinstance(op.out().type, ListOf)]
    assume(lists)
    told = chance.choice(lists)
    body = replace(workflow.body, ops=(*workflow.body.body, Op("return", (told,))))
    return module.with_workflow(replace(workflow, result=told.type, body=settled(body)))


def carried_out(
    plan: Plan, given: dict[str, Any], fails: Fails, seed: int, results: Path | None
) -> tuple[Trace, Any]:
    """Run a plan on virtual time; return what it did, and its value."""
    trace, clock, chance = Trace(), VirtualClock(), Random(seed)

    def worker(engine: EnginePlan, executor: Executor | None) -> ReferenceWorker:
        return ReferenceWorker(trace, fails, clock, chance)

    running = run_plan(
        plan,
        given,
        library=Library((), ""),
        workers={"python": worker},
        clock=clock,
        results=results,
    )
    try:
        return trace, asyncio.run(running).value
    except RunError as error:
        trace.failure = str(error)
        return trace, None


def from_files(plan: Plan, given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return inputs whose lists stand in files where the plan only goes through them."""
    workflow = plan.module().sole()
    streaming = listed(workflow.body)
    found = dict(given)
    for param in workflow.params:
        if param.name in streaming and isinstance(param.type, ListOf):
            path = folder / f"{param.name}.jsonl"
            path.write_text("".join(json.dumps(item) + "\n" for item in given[param.name]))
            found[param.name] = open_lines(param.type.item, path)
    return found


@settings(
    deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(workflows(), inputs, st.none() | st.integers(0, 2**16), st.integers(0, 2**16))
def test_from_file_to_file_is_the_same(
    module: Module, given: dict[str, Any], failure: int | None, order: int
) -> None:
    flow = telling_a_list(module, Random(order))
    note(print_module(flow, brief=True))
    fails = failing(failure)
    expected = attempt(flow, given, fails)
    sha256 = digest(expected.result)
    expected.result = encode(expected.result)
    for pipeline in (LEVELS[0], UNORDERED):
        plan = planned(flow, pipeline)
        with TemporaryDirectory() as name:
            out = Path(name) / "out.jsonl"
            values = from_files(plan, given, Path(name))
            found, value = carried_out(plan, values, fails, order, out)
            if found.failure is None:
                assert isinstance(value, ListFile)
                lines = out.read_text("utf-8").split("\n")[:-1]
                found.result = [json.loads(line) for line in lines]
                assert (value.path, value.count) == (str(out), len(lines))
                assert expected.failure is not None or value.sha256 == sha256
            else:
                assert not out.exists()
            same(expected, found)
