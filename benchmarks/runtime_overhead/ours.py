"""One step a list item, done by a no-op Python function: `python ours.py STEPS [RECORD]`."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from measure import measure

from murakkab.ir.diagnostics import Span
from murakkab.runtime.driver import run_plan
from murakkab.targets.library import Executor, Library, Quality
from murakkab.targets.plan import EnginePlan, Plan, Prediction, Solver, StepPlan

IR = """module placed
task @noop(%x: Int) -> Int
engine @e
workflow @many(%xs: [Int]) -> [Int]
{
  %ys = map(%xs) { ^(%x: Int)
    %y = invoke @noop(%x) {engine = @e, executor = @noop} : Int
    yield(%y)
  } : [Int]
  return(%ys)
}
"""


def main(steps: int, record: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "noop.py").write_text("def noop(x):\n    return x\n")
        library = Library((_executor(folder),), "")
        inputs = {"xs": list(range(steps))}

        def work() -> None:
            done = asyncio.run(run_plan(_plan(steps), inputs, library=library, record=record))
            assert done.value == inputs["xs"]

        measure(work)


def _executor(folder: str) -> Executor:
    return Executor(
        name="noop",
        interface="noop",
        description="",
        runner="python",
        devices=("cpu",),
        quality=Quality(1.0, "relative", "none"),
        entry="noop",
        file="noop.py",
        pooling="thread",
        digest="noop",
        loc=Span(f"{folder}/library.toml", 1, 1, 1, 1),
    )


def _plan(steps: int) -> Plan:
    engine = EnginePlan(
        *("e", "noop", "noop", "python", None, "here/cpu", "cpu"), 0, 1, 2, (), 0.0, 0.0, 0.0
    )
    step = StepPlan(
        *("y", "noop", "noop", {}, "e", "here/cpu", float(steps), {"p50": 0.0}),
        *(0.0, 0.0, 0.0, 0.0, 1.0, None, "declared", 0.0),
    )
    predicted = Prediction({"p50": 0.0}, 0.0, 0.0, 1.0, 0, 0.0, 0.0)
    return Plan(
        *("murakkab/plan/1", "job", "many", "local", "here", "", IR, (engine,), (step,)),
        *(predicted, None, Solver("fixed", ()), {}),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
