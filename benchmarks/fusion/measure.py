"""One side of a workflow, run once: what it took, what it gave."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from frameworks import Model
from graphs import GRAPHS
from serving import LARGE, Counts, Models

from murakkab.compiler.driver import Request, begin, compile_workflow
from murakkab.ir.printer import print_module
from murakkab.runtime.driver import run_plan
from murakkab.runtime.serving.fleet import Serving
from murakkab.targets.library import load_named
from murakkab.targets.plan import Plan

O0, SEQUENTIAL, LANGGRAPH = "-O0", "-O0 --sequential", "LangGraph"
DOCETL = "DocETL"
# Of one model, with nothing that may change a result; of one model, with what the required accuracy
# leaves room for; of both models, with that.
EXACT, O2, BOTH = "-O2, exact", "-O2", "-O2, both models"
_REFERENCE = 'place{policy="reference"}'
# What each pass does by itself, everything else as in -O0.
PASSES = {
    "canonicalize": f"bind,canonicalize,{_REFERENCE}",
    "hoist": f"bind,hoist,{_REFERENCE}",
    "pushdown": f"bind,pushdown,{_REFERENCE}",
    "fuse: maps": f"bind,fuse,{_REFERENCE}",
    "fuse: prefix": f"bind,fuse{{maps=false,tools=false,prefix=true}},{_REFERENCE}",
    "fuse: prompts": f"bind,fuse{{maps=false,tools=false,prompts=true}},{_REFERENCE}",
    "speculate": f"bind,speculate,{_REFERENCE}",
    "choose": f"bind,choose,{_REFERENCE}",
    "place": "bind,substitute,place",
}


@dataclass(frozen=True)
class Side:
    """What is measured: a plan to run, or LangGraph's graph where there is none."""

    name: str
    plan: Plan | None
    library: Path


@dataclass(frozen=True)
class Sample:
    """A side, once: seconds from inputs to result, what the servers counted, and the result."""

    workflow: str
    side: str
    wall_s: float
    counts: Counts
    result: Any

    def row(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)


@dataclass(frozen=True)
class Suite:
    """The servers, and what plans are made with."""

    models: Models
    folder: Path
    alone: Path  # the library of the large model
    both: Path
    profiles: tuple[Path, ...]
    written: dict[str, Plan]  # the plans of -O0 by workflow, whose tasks LangGraph asks too

    def request(self, source: Path, library: Path, **flags: Any) -> Request:
        """Return the request to compile a workflow for the servers."""
        known = self.models.urls if library == self.both else [LARGE]
        return Request(
            source=source,
            workflow=source.stem,
            target="vllm",
            libraries=(library,),
            profiles=self.profiles,
            endpoints=tuple((name, self.models.urls[name]) for name in known),
            **flags,
        )

    def plan(self, source: Path, library: Path, **flags: Any) -> Plan:
        """Compile a workflow."""
        return compile_workflow(self.request(source, library, **flags)).plan

    def sides(self, source: Path) -> Iterator[Side]:
        """Yield the sides of a workflow; passes that leave it as it is are left out."""
        written = self.plan(source, self.alone, level=0)
        self.written[source.stem] = written
        yield Side(O0, written, self.alone)
        exact = self.plan(source, self.alone, require=("accuracy >= 1",))
        yield Side(EXACT, exact, self.alone)
        roomy = self.plan(source, self.alone)
        if _steps(roomy) != _steps(exact):
            yield Side(O2, roomy, self.alone)
        yield Side(BOTH, self.plan(source, self.both), self.both)
        yield Side(LANGGRAPH, None, self.alone)
        sequential = self.plan(source, self.alone, level=0, sequential=True)
        yield Side(SEQUENTIAL, sequential, self.alone)

    def passes(self, source: Path) -> Iterator[Side]:
        """Yield the passes, each alone, that do more to the workflow than tidy it, or place it."""
        plain, tidy = (self._shape(source, f"bind{after}") for after in ("", ",canonicalize"))
        for name, passes in PASSES.items():
            before = passes.rpartition(",place")[0]
            if name == "canonicalize":
                idle = tidy.count(" call @") == plain.count(" call @")
            else:
                idle = name != "place" and self._shape(source, f"{before},canonicalize") == tidy
            if not idle:
                yield Side(name, self.plan(source, self.alone, passes=passes), self.alone)

    def _shape(self, source: Path, passes: str) -> str:
        begun = begin(self.request(source, self.alone, passes=passes), {})
        module = begun.through([p for p in begun.passes if p.name != "place"], begun.context)
        return print_module(module, brief=True)

    def sample(self, workflow: str, side: Side, inputs: Mapping[str, Any]) -> Sample:
        """Run a side on servers that have forgotten all prompts."""
        self.models.forget()
        before = self.models.counts()
        run = self._with_langgraph if side.plan is None else self._with_plan
        result, wall_s = asyncio.run(run(workflow, side, inputs))
        return Sample(workflow, side.name, wall_s, self.models.counts().since(before), result)

    def sample_docetl(self, python: str) -> Sample:
        """Run DocETL's pipeline on reviews, in a process of its own with a Python that has it."""
        self.models.forget()
        before = self.models.counts()
        script = str(Path(__file__).with_name("with_docetl.py"))
        command = [python, script, self.models.urls[LARGE], str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"DocETL failed:\n{done.stdout[-2000:]}")
        told = json.loads((self.folder / "docetl.json").read_text("utf-8"))
        counts = self.models.counts().since(before)
        return Sample("reviews", DOCETL, told["wall_s"], counts, None)

    async def _with_plan(
        self, workflow: str, side: Side, inputs: Mapping[str, Any]
    ) -> tuple[Any, float]:
        assert side.plan is not None
        names = side.plan.executors()
        serving = Serving(
            logs=self.folder / "logs", endpoints={name: self.models.urls[name] for name in names}
        )
        executors = load_named(names, (side.library,))
        done = await run_plan(side.plan, inputs, library=executors, serving=serving)
        return done.value, float(done.record.document["totals"]["measured"]["latency_s"])

    async def _with_langgraph(
        self, workflow: str, side: Side, inputs: Mapping[str, Any]
    ) -> tuple[Any, float]:
        executor = load_named([LARGE], (side.library,)).get(LARGE)
        assert executor is not None
        written = self.written[workflow].module()
        async with Model(written, executor, LARGE, self.models.urls[LARGE]) as model:
            began_s = perf_counter()
            value = await GRAPHS[workflow](model, dict(inputs))
            return value, perf_counter() - began_s


def _steps(plan: Plan) -> str:
    """Return what a plan does, without what was asked of it."""
    module = plan.module()
    asked_nothing = replace(module.sole(), requirements=())
    return print_module(module.with_workflow(asked_nothing), brief=True).partition("workflow @")[2]
