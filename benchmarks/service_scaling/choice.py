"""What choosing step by step is worth: 6 steps with 5 variants each, against one model for all.

    python benchmarks/service_scaling/choice.py [--seeds 8]

Two classes of one workflow, one that must be accurate and one that must be fast, share instances.
`one model` lets each class have the model that is cheapest for it, the same for all steps, as the
published optimiser chooses; `joint` is the planner's. The last column is `joint` over brute force
(all 15,625 configurations tried) for the accurate class alone, all of whose requests then have one
configuration; the planner may give them several, and is below 1 where that fills instances.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

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

STEPS, VARIANTS, PERIOD_S = 6, 5, 60.0
REQUESTS = (600.0, 900.0)


def service(seed: int) -> ServiceProblem:
    """Return two classes on five engines; larger models are better, slower and dearer."""
    chance = Random(seed)
    engines = tuple(
        Engine(f"m{m}", 0, 2 ** min(m, 3), 0, 2 ** min(m, 3) * 3.43 / 3600, 80.0)
        for m in range(VARIANTS)
    )
    stages = []
    for number in range(STEPS):
        variants = tuple(
            Variant(
                f"m{m}",
                m,
                chance.uniform(0.1, 0.3) * (1 + m),
                chance.uniform(0.5, 1.5) * (1 + m),
                min(1.0, 0.8 + 0.05 * m + chance.uniform(-0.03, 0.03)),
            )
            for m in range(VARIANTS)
        )
        stages.append(Stage(f"s{number}", variants, (number - 1,) if number else ()))
    kind = RequestClass("", tuple(stages))
    # limits that the second largest, and the second smallest model meet with a little room
    large, small = (Column.of(kind, [m] * STEPS) for m in (3, 1))
    accurate = replace(kind, name="accurate", accuracy=0.98 * large.accuracy)
    fast = replace(
        kind, name="fast", accuracy=0.95 * small.accuracy, latency_s=1.05 * small.latency_s
    )
    return ServiceProblem((accurate, fast), engines, (Hardware("p", "A100", 10_000, 0),))


def configurations(kind: RequestClass) -> list[Column]:
    choices = itertools.product(range(VARIANTS), repeat=STEPS)
    return [Column.of(kind, choice) for choice in choices]


def meets(kind: RequestClass, column: Column) -> bool:
    fast = kind.latency_s is None or column.latency_s <= kind.latency_s
    return fast and (kind.accuracy is None or column.accuracy >= kind.accuracy)


def cost(problem: ServiceProblem, chosen: Sequence[tuple[Column, float]]) -> float:
    """Return the price of whole instances for requests on these configurations."""
    busy = [0.0] * len(problem.engines)
    for column, requests in chosen:
        for engine, seconds in column.busy:
            busy[engine] += requests * seconds
    return sum(
        math.ceil(s / PERIOD_S - 1e-9) * e.usd_per_s * PERIOD_S
        for s, e in zip(busy, problem.engines, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args()
    print(f"{'seed':>5}{'one model':>11}{'joint':>9}{'saving':>9}{'/ brute force':>15}")
    for seed in range(options.seeds):
        problem = service(seed)
        alike = [
            [c for c in (Column.of(kind, [m] * STEPS) for m in range(VARIANTS)) if meets(kind, c)]
            for kind in problem.classes
        ]
        one = min(
            cost(problem, list(zip(pair, REQUESTS, strict=True)))
            for pair in itertools.product(*alike)
        )
        joint = Planner(problem).plan(Epoch(tuple((r,) for r in REQUESTS), PERIOD_S)).value
        alone = replace(problem, classes=problem.classes[:1])
        found = Planner(alone).plan(Epoch((REQUESTS[:1],), PERIOD_S)).value
        fitting = [c for c in configurations(alone.classes[0]) if meets(alone.classes[0], c)]
        brute = min(cost(alone, [(c, REQUESTS[0])]) for c in fitting)
        print(
            f"{seed:>5}{one:>11.3f}{joint:>9.3f}{1 - joint / one:>9.1%}{found / brute:>15.4f}",
            flush=True,
        )
    print("$ a minute")


if __name__ == "__main__":
    main()
