"""Profiling executors that run in process or by torch: time of an item, start-up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from statistics import fmean
from time import perf_counter
from typing import Any

from ...ir.ops import Attr
from ...ir.workflow import Task
from ...targets.detect import detect_host
from ...targets.library import Executor
from ...targets.plan import EnginePlan, Place
from ..messages import Submit
from ..program import Step
from ..python_worker import LanePools
from ..torch_worker import torch_worker
from ..values import checker
from ..worker import Worker
from .figures import Measure, Percentiles, mean, percentiles
from .lengths import Length, LogNormal
from .load import Effort, Load, Traffic
from .measuring import size_of
from .requests import Sample
from .rows import Row, measured_here, number

_LEAST_S = 1.0  # of measuring a load, for calls of a millisecond
_MOST_CALLS = 1000  # in each repeat
_TORCH_LEVELS = (1, 2, 4, 8)  # calls that wait together are one batch


@dataclass(frozen=True, slots=True)
class Tool:
    """An executor, the interface it is called by, and the arguments of its calls, in turns."""

    executor: Executor
    task: Task
    cases: tuple[Mapping[str, Any], ...]

    @property
    def knobs(self) -> dict[str, Attr]:
        """Return the first choice of every knob."""
        return {name: choices[0] for name, choices in self.executor.knobs}

    def items(self, case: Mapping[str, Any]) -> float:
        """Return what a call counts as, by the library's formula: images, seconds, calls."""
        amount = dict(self.executor.work).get("items")
        if amount is None or self.executor.runner != "python":
            return 1.0
        sizes = {p.name: size_of(p.type, case[p.name]) for p in self.task.params}
        return max(amount.p50.evaluate(sizes, self.knobs), 1e-9)


@dataclass(frozen=True, slots=True)
class ToolPoint:
    """An executor with so many calls at once; `latency_s` is by percentile, of one item."""

    load: Load
    calls: int
    items: float  # of a call, on average
    items_per_s: Measure
    latency_s: Percentiles


def levels(executor: Executor) -> tuple[int, ...]:
    """Return the calls at once worth measuring: powers of two, and what fills the cores."""
    if executor.runner == "torch":
        return _TORCH_LEVELS
    most = max(1, detect_host().pools[0].cpu.cores // max(executor.cores, 1))
    return tuple(sorted({*(2**i for i in range(most.bit_length())), most}))


class ToolBench:
    """An executor's worker, ready for calls; `start_s` is how long it took to the first answer."""

    def __init__(self, tool: Tool, worker: Worker) -> None:
        """Make no calls yet."""
        self.start_s = self._call_s = 0.0
        self._tool = tool
        self._worker = worker
        self._numbers = count(1)
        self._step = Step(
            name=tool.executor.name,
            task=tool.task,
            engine="profiled",
            executor=tool.executor.name,
            params=tuple(p.name for p in tool.task.params),
            knobs=tool.knobs,
            repeatable=True,
            check=checker(tool.task.result),
        )

    async def begin(self, ready_s: float) -> None:
        """Make two calls: what the first costs beyond the second belongs to the start."""
        first, second = [(await self.call(self._tool.cases[0])).latency_s for _ in range(2)]
        self.start_s, self._call_s = ready_s + max(first - second, 0.0), second

    async def call(self, case: Mapping[str, Any]) -> Sample:
        """Make one call; its items are the sample's tokens. Raises `CallFailed`."""
        step, number_ = self._step, next(self._numbers)
        arguments = tuple(case[name] for name in step.params)
        submit = Submit(number_, f"{step.name}[{number_}]", step, arguments, 1)
        sent_s = perf_counter()
        # giving a call up would kill the process it is in, and the next one would wait for another
        await asyncio.shield(self._worker.submit(submit))
        return Sample(sent_s, perf_counter(), 0, self._tool.items(case))

    async def measured(self, level: int, effort: Effort) -> ToolPoint:
        """Keep so many calls at work and return what they took; raises `CallFailed`."""
        turns = count()
        cases = self._tool.cases

        async def ask(length: Length, chance: Random, streamed: bool) -> Sample:
            return await self.call(cases[next(turns) % len(cases)])

        load = Load("closed", level)
        if effort.requests is None:
            wanted = math.ceil(_LEAST_S * level / max(self._call_s, 1e-6) / effort.repeats)
            effort = replace(effort, requests=max(8, level, min(wanted, _MOST_CALLS)))
        traffic = Traffic(ask, LogNormal(), load, effort)
        observed = await traffic.run(lambda: None, lambda: None)
        await self._worker.drain()
        part_s = (observed.end_s - observed.begin_s) / effort.repeats
        rates = [
            observed.tokens_between(
                observed.begin_s + i * part_s, observed.begin_s + (i + 1) * part_s
            )
            / part_s
            for i in range(effort.repeats)
        ]
        return ToolPoint(
            load=load,
            calls=len(observed.counted),
            items=fmean(s.output_tokens for s in observed.counted),
            items_per_s=mean(rates),
            latency_s=percentiles(s.latency_s / s.output_tokens for s in observed.counted),
        )


@asynccontextmanager
async def bench(tool: Tool, at_once: int) -> AsyncIterator[ToolBench]:
    """Start an executor's worker for so many calls at once, and end it; raises `CallFailed`."""
    engine = _engine(tool.executor, at_once)
    make = torch_worker if tool.executor.runner == "torch" else LanePools().worker
    began_s = perf_counter()
    worker: Worker = make(engine, tool.executor)
    try:
        await worker.start()
        found = ToolBench(tool, worker)
        await found.begin(perf_counter() - began_s)
        yield found
    finally:
        await asyncio.shield(worker.stop())


def _engine(executor: Executor, at_once: int) -> EnginePlan:
    pool = detect_host().pools[0]
    on_gpu = executor.runner == "torch" and pool.gpu is not None and "gpu" in executor.devices
    return EnginePlan(
        name="profiled",
        executor=executor.name,
        executor_digest=executor.digest,
        runner=executor.runner,
        model=executor.model,
        slot=f"{pool.name}/{'gpu' if on_gpu else 'cpu'}",
        device="gpu" if on_gpu else "cpu",
        tp=1,
        replicas=1,
        concurrency=at_once,
        places=(Place(pool.name, 0, (0,) if on_gpu else ()),),
        start_s=0.0,
        end_s=0.0,
        startup_s=0.0,
        cores=executor.cores or pool.cpu.cores,
    )


def tool_rows(executor: Executor, points: Sequence[ToolPoint], start_s: float) -> list[Row]:
    """Return a row for each load that gives more items than the one before, and one for the start.

    Where the time of an item falls under more load, the row is left out too.
    """
    pool = detect_host().pools[0]
    on_gpu = executor.runner == "torch" and pool.gpu is not None and "gpu" in executor.devices
    head = {
        "model": executor.name,
        "device": pool.gpu.type if on_gpu and pool.gpu is not None else "cpu",
        "tp": "1" if on_gpu else "0",
        "engine": executor.runner,
    }
    rows: list[Row] = []
    rate = least_s = 0.0
    for point in points:
        median_s = point.latency_s["p50"].value
        if point.items_per_s.value < 1.001 * rate or median_s < 0.97 * least_s:
            continue
        rate, least_s = point.items_per_s.value, median_s
        source = f"{measured_here()}: {point.load}, {point.calls} calls of {point.items:.3g} items"
        times = {f"latency_{p}_s": number(m.value) for p, m in point.latency_s.items()}
        rows.append({**head, "load_items_per_s": number(rate), **times, "source": source})
    start = {"start_s": number(start_s), "source": f"{measured_here()}: 1 start"}
    return [*rows, {**head, **start}]
