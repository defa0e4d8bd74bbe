"""Plans and libraries to run, made from IR text and Python source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from murakkab.ir.diagnostics import Span
from murakkab.ir.reader import read_module
from murakkab.targets.failure_policy import USUAL, FailurePolicy
from murakkab.targets.library import Executor, Library, Quality
from murakkab.targets.plan import EnginePlan, Plan, Prediction, Solver, StepPlan, SubstitutePlan

MakePlan = Callable[..., Plan]
MakeLibrary = Callable[..., Library]


@pytest.fixture
def make_library(tmp_path: Path) -> MakeLibrary:
    """Return a function of Python source and executor fields by name: a library of that code."""

    def make(source: str, **executors: Mapping[str, Any]) -> Library:
        (tmp_path / "code.py").write_text(source)
        place = Span(str(tmp_path / "library.toml"), 1, 1, 1, 1)
        made = []
        for name, changes in executors.items():
            fields: dict[str, Any] = {
                "entry": name,
                "file": "code.py",
                "digest": name,
                "pooling": "thread",
                **changes,
            }
            quality = Quality(1.0, "relative", "test")
            made.append(Executor(name, name, "", "python", ("cpu",), quality, loc=place, **fields))
        return Library(tuple(made), "library")

    return make


@pytest.fixture
def make_plan() -> MakePlan:
    """Return a function of IR text: a plan with an engine `e_NAME` for each executor it names."""

    def make(
        text: str,
        *,
        concurrency: int = 2,
        call_s: Mapping[str, float] | None = None,
        items: Mapping[str, float] | None = None,
        runner: str = "python",
        failure: FailurePolicy = USUAL,
    ) -> Plan:
        workflow = read_module(text, "test.mkir").sole()
        steps = []
        engines = {}
        for op in workflow.calls():
            name, executor = op.out().name, op.attr("executor")
            engine = op.attr("engine")
            if engine is not None:
                engines[str(engine)] = _engine(str(engine), str(executor), runner, concurrency)
            other, by = op.attr("substitute.engine"), op.attr("substitute.executor")
            if other is not None:
                engines[str(other)] = _engine(str(other), str(by), runner, concurrency)
            steps.append(
                StepPlan(
                    step=name,
                    task=str(op.symbol),
                    executor=None if executor is None else str(executor),
                    knobs={},
                    engine=None if engine is None else str(engine),
                    slot="here/cpu",
                    calls=1.0,
                    call_s={"p50": (call_s or {}).get(name, 1.0)},
                    start_s=0.0,
                    end_s=1.0,
                    energy_j=2.0,
                    cost_usd=0.0,
                    quality=1.0,
                    items=(items or {}).get(name),
                    source="test",
                    error_band=0.1,
                    substitute=None
                    if other is None
                    else SubstitutePlan(str(by), {}, str(other), 0.8, 1.0, 5.0, 0.25),
                )
            )
        return Plan(
            schema="murakkab/plan/1",
            kind="job",
            workflow=workflow.name,
            target="local",
            cluster="here",
            passes="",
            ir=text,
            engines=tuple(engines.values()),
            steps=tuple(steps),
            predicted=Prediction({"p50": 3.0}, 4.0, 0.5, 1.0, 0, 0.0, 0.1),
            baseline=None,
            solver=Solver("fixed", ()),
            digests={},
            failure=failure,
        )

    return make


def _engine(name: str, executor: str, runner: str, concurrency: int) -> EnginePlan:
    return EnginePlan(
        name=name,
        executor=executor,
        executor_digest=executor,
        runner=runner,
        model=None,
        slot="here/cpu",
        device="cpu",
        tp=0,
        replicas=1,
        concurrency=concurrency,
        places=(),
        start_s=0.0,
        end_s=1.0,
        startup_s=0.0,
    )
