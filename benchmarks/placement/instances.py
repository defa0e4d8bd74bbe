"""Generated placement problems that look like compound-AI jobs.

A job is a chain of stages; a stage fans out into parallel branches, some of whose items stream
from one step to the next, and a step joins them. Steps are of a few kinds (model calls of three
families, optional model calls, CPU tools); a family's models are shared by all its steps. Two
pools: GPU nodes of eight, CPU nodes of 64 cores. Times, watts and prices are of the order of
published A100/H100 serving figures; they are made up, the structure is what matters.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from murakkab.ir.workflow import MetricName
from murakkab.passes.job.problem import EngineOption, Limit, Mode, Pool, Problem, Step, Times

GPU, CPU, HOSTED = 0, 1, -1
GIB = 2.0**30
USD_PER_GPU_S = 3.43 / 3600  # an A100 hour, OSDI'26 study
USD_PER_CORE_S = 0.04 / 3600
P95 = 1.6  # p95 duration over p50


@dataclass(frozen=True, slots=True)
class _Model:
    """A model of a family: relative speed on one GPU, quality, least GPUs."""

    name: str
    speed: float
    quality: float
    gpus: int


FAMILIES: tuple[tuple[_Model, ...], ...] = (
    (
        _Model("llm-70b", 1.0, 1.0, 4),
        _Model("llm-27b", 2.2, 0.95, 2),
        _Model("llm-8b", 6.0, 0.82, 1),
    ),
    (_Model("vlm-32b", 1.0, 1.0, 2), _Model("vlm-7b", 3.5, 0.9, 1)),
    (_Model("asr-large", 1.0, 1.0, 1), _Model("asr-base", 6.0, 0.86, 1)),
)


def generate(
    steps: int,
    objectives: tuple[MetricName, ...],
    seed: int = 0,
    variants: int = 8,
    nodes: int = 2,
    limits: tuple[Limit, ...] | None = None,
    percentiles: tuple[str, ...] = ("p50",),
) -> Problem:
    """Return a job of `steps` steps with at most `variants` modes each.

    Unless `limits` says otherwise the job must keep 85 % of the accuracy per ten steps on a path.
    """
    rng = random.Random(seed)
    pools = (Pool("gpus", nodes, 8, 96, 1024 * GIB), Pool("cpus", 2, 0, 64, 256 * GIB))
    engines: list[EngineOption] = []
    servers = [_servers(family, engines) for family in FAMILIES]
    made: list[Step] = []
    links = _links(steps, rng)
    for index, (after, streams) in enumerate(links):
        kind = rng.choices((0, 1, 2, 3), weights=(4, 2, 1, 3))[0]
        name = ("llm", "vlm", "asr", "tool")[kind] + f"_{index}"
        work = rng.lognormvariate(1.5, 0.8)  # GPU-seconds of the largest model, on one GPU
        calls = rng.choice((1, 1, 8, 16, 32)) if streams else rng.choice((1, 4, 16))
        if kind == 3:
            modes = _tool_modes(index, work, calls, engines, percentiles, rng)
        else:
            optional = rng.random() < 0.2
            modes = _model_modes(servers[kind], work, calls, engines, percentiles, optional)
        made.append(Step(name, tuple(modes[:variants]), after, streams))
    if limits is None:
        floor = 0.985**steps
        limits = (Limit("accuracy", ">=", floor, f"accuracy >= {floor:.4g}"),)
    return Problem(tuple(made), tuple(engines), pools, objectives, limits, percentiles)


def _links(steps: int, rng: random.Random) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return (after, streams) per step: stages of parallel chains between joins."""
    links: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((), ())]
    join = 0
    while len(links) < steps:
        width, length = rng.choice((1, 2, 2, 3, 4)), rng.choice((1, 2, 3))
        ends = []
        for _ in range(width):
            previous = join
            for depth in range(length):
                if len(links) >= steps:
                    break
                streaming = depth > 0 and rng.random() < 0.6
                links.append(((), (previous,)) if streaming else ((previous,), ()))
                previous = len(links) - 1
            ends.append(previous)
        if len(links) < steps:
            links.append((tuple(sorted(set(ends))), ()))
            join = len(links) - 1
    return links


def _servers(family: tuple[_Model, ...], engines: list[EngineOption]) -> list[tuple[_Model, int]]:
    """Add each model's engines (least and double GPUs, one and two replicas); return them."""
    found = []
    for model in family:
        for gpus, replicas in ((model.gpus, 1), (model.gpus, 2), (min(8, 2 * model.gpus), 1)):
            total = gpus * replicas
            found.append((model, len(engines)))
            engines.append(
                EngineOption(
                    label=f"{model.name}/tp{gpus}x{replicas}",
                    pool=GPU,
                    resident=True,
                    replicas=replicas,
                    gpus=gpus,
                    cores=4,
                    memory_bytes=32 * GIB,
                    gpu_memory_bytes=70 * GIB,
                    slots=32 * replicas,
                    startup_s=20.0 + 10.0 * model.gpus,
                    startup_j=total * 150.0 * 20.0,
                    startup_usd=total * USD_PER_GPU_S * 20.0,
                    idle_w=total * 90.0,
                    usd_per_s=total * USD_PER_GPU_S,
                    group=model.name,
                )
            )
    return found


def _times(
    seconds: float, calls: int, slots: int, percentiles: tuple[str, ...]
) -> tuple[Times, ...]:
    waves = max(1, -(-calls // slots))
    factors = [1.0 if name == "p50" else P95 for name in percentiles]
    return tuple(Times(seconds * f, seconds * f / waves, seconds * f / waves) for f in factors)


def _model_modes(
    servers: list[tuple[_Model, int]],
    work: float,
    calls: int,
    engines: list[EngineOption],
    percentiles: tuple[str, ...],
    optional: bool,
) -> list[Mode]:
    modes = []
    if optional:
        modes.append(Mode("left out", None, 0, _times(0.0, 1, 1, percentiles), 0.0, 0.0, 0.97))
    for model, index in servers:
        engine = engines[index]
        slots = min(calls, engine.slots)
        # doubling the GPUs of a replica gives 1.7x; batching gives up to 6x on one replica
        scale = model.speed * (1.7 if engine.gpus > model.gpus else 1.0) * engine.replicas**0.9
        batch = 1.0 + 5.0 * (slots - 1) / 31
        seconds = work * calls**0.7 / (scale * batch)
        joules = (
            seconds * engine.gpus * engine.replicas * 210.0 * (0.3 + 0.7 * slots / engine.slots)
        )
        times = _times(seconds, calls, slots, percentiles)
        modes.append(Mode(engine.label, index, slots, times, joules, 0.0, model.quality))
    order = sorted(modes, key=lambda m: (m.engine is not None, -m.quality, m.times[0].duration_s))
    keep = order[:1] + [m for i, m in enumerate(order[1:]) if i % 5 != 4]
    return keep


def _tool_modes(
    index: int,
    work: float,
    calls: int,
    engines: list[EngineOption],
    percentiles: tuple[str, ...],
    rng: random.Random,
) -> list[Mode]:
    """A CPU tool at several widths, in an exact and a faster, coarser version."""
    modes = []
    for quality, speed in ((1.0, 1.0), (rng.choice((0.9, 0.95)), 2.5)):
        for width in (1, 4, 16, 32):
            engine = EngineOption(
                label=f"tool_{index}/q{quality}x{width}",
                pool=CPU,
                resident=False,
                replicas=width,
                gpus=0,
                cores=1,
                memory_bytes=1 * GIB,
                gpu_memory_bytes=0.0,
                slots=width,
                startup_s=0.0,
                startup_j=0.0,
                startup_usd=0.0,
                idle_w=0.0,
                usd_per_s=0.0,
                group=f"tool_{index}/q{quality}",
            )
            engines.append(engine)
            seconds = work * calls**0.5 / (speed * width**0.85)
            joules, usd = seconds * width * 5.0, seconds * width * USD_PER_CORE_S
            times = _times(seconds, calls, width, percentiles)
            modes.append(Mode(engine.label, len(engines) - 1, width, times, joules, usd, quality))
    return modes
