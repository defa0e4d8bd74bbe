"""Planning time of a service as it grows: 8 steps and 4 classes a workflow, up to 10,000 GPUs.

    python benchmarks/service_scaling/run.py [--sizes 5,10,20,50] [--steps 8] [--seed 1]

Every step has 60 variants: five models of 20, on 1 to 8 GPUs, at three loads. Larger models are
better and slower. The limits of a class are those of a configuration drawn at random, with a little
room; arrivals are such that the cheapest configurations would keep 9,000 GPUs busy with 50
workflows, and proportionally fewer with fewer. One epoch of one period.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from random import Random
from time import perf_counter

from murakkab.passes.service.columns import Columns
from murakkab.passes.service.planner import Planner
from murakkab.passes.service.problem import (
    Column,
    Engine,
    Epoch,
    Hardware,
    RequestClass,
    ServiceProblem,
    Stage,
    Variant,
)

MODELS, OFFERED, CLASSES = 20, 5, 4
DEGREES, LOADS = (1, 2, 4, 8), ((0.3, 1.0), (0.6, 1.5), (1.0, 3.0))  # share of peak, slowdown
GPUS, BUSY = 10_000, 9_000
USD_PER_S, PERIOD_S = 3.43 / 3600, 60.0


def stage(chance: Random, number: int, sizes: list[float]) -> Stage:
    tokens = chance.uniform(50, 500)
    variants = []
    for model in sorted(chance.sample(range(MODELS), OFFERED)):
        quality = min(1.0, 0.6 + 0.04 * sizes[model] + chance.uniform(0.0, 0.1))
        for i, degree in enumerate(DEGREES):
            for share, slowdown in LOADS:
                rate = share * 3000 * degree**0.85 / sizes[model]
                latency_s = tokens * 0.008 * sizes[model] / degree**0.7 * slowdown
                variants.append(
                    Variant(
                        f"m{model} x{degree} at {share:g}",
                        model * len(DEGREES) + i,
                        tokens / rate,
                        latency_s,
                        quality,
                    )
                )
    before = {chance.randrange(number), number - 1} if number else set()
    return Stage(f"s{number}", tuple(variants), tuple(sorted(before)))


def service(workflows: int, steps: int, seed: int) -> tuple[ServiceProblem, Epoch]:
    chance = Random(seed)
    sizes = [chance.uniform(0.5, 8.0) for _ in range(MODELS)]
    engines = tuple(
        Engine(f"m{m} x{d}", 0, d, 0, d * USD_PER_S, 80.0 * d)
        for m in range(MODELS)
        for d in DEGREES
    )
    classes = []
    for w in range(workflows):
        kind = RequestClass("", tuple(stage(chance, s, sizes) for s in range(steps)))
        for k in range(CLASSES):
            drawn = Column.of(kind, [chance.randrange(len(s.variants)) for s in kind.stages])
            limits = {
                "accuracy": drawn.accuracy * 0.98 if k != 1 else None,
                "latency_s": drawn.latency_s * 1.05 if k != 0 else None,
            }
            classes.append(replace(kind, name=f"w{w}/k{k}", **limits))
    shares = [chance.uniform(0.2, 1.0) for _ in classes]
    gpu_s = [_gpu_seconds(kind, engines) for kind in classes]
    busy = BUSY * workflows / 50 * PERIOD_S
    scale = busy / sum(a * b for a, b in zip(shares, gpu_s, strict=True))
    requests = tuple((scale * share,) for share in shares)
    pools = (Hardware("pool", "A100-SXM4-80GB", GPUS, 0),)
    return ServiceProblem(tuple(classes), engines, pools), Epoch(requests, PERIOD_S)


def _gpu_seconds(kind: RequestClass, engines: tuple[Engine, ...]) -> float:
    """Return the GPU-seconds of a request on the cheapest configuration."""
    found = Columns(kind).cheapest(lambda v: engines[v.engine or 0].gpus * v.busy_s)
    return found.price


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="5,10,20,50")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{'workflows':>10}{'classes':>9}{'columns':>9}{'GPUs':>8}{'seconds':>9}{'gap':>8}")
    for size in map(int, options.sizes.split(",")):
        problem, epoch = service(size, options.steps, options.seed)
        began_s = perf_counter()
        planner = Planner(problem)
        plan = planner.plan(epoch)
        took_s = perf_counter() - began_s
        gpus = sum(n * e.gpus for n, e in zip(plan.instances, problem.engines, strict=True))
        columns = sum(map(len, plan.columns))
        print(
            f"{size:>10}{len(problem.classes):>9}{columns:>9}{gpus:>8,}{took_s:>9.1f}{plan.gap:>8.2%}",
            flush=True,
        )
    print("wanted of 50 workflows: at most 60 s and 1 %")


if __name__ == "__main__":
    main()
