"""Print how good placements of generated jobs are, how near to proved, and how long they take.

Run from the repository root: `.venv/bin/python benchmarks/placement/run.py [STEPS …]`.
"""

import sys
import time

from instances import generate

from murakkab.ir.workflow import MetricName
from murakkab.passes.job.greedy import greedy
from murakkab.passes.job.solver import solve

ORDERS: tuple[tuple[MetricName, ...], ...] = (
    ("cost", "energy", "latency"),
    ("energy", "cost", "latency"),
    ("latency", "cost", "energy"),
)
BUDGETS = {10: 10.0, 30: 3.0, 1000: 10.0}  # deterministic seconds


def main(sizes: list[int]) -> None:
    print("| steps | objective | greedy | found | bound | gap % | status | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for size in sizes:
        for order in ORDERS:
            problem = generate(size, order)
            quick = greedy(problem)
            began = time.perf_counter()
            found = solve(problem, budget=BUDGETS.get(size, 10.0))
            seconds = time.perf_counter() - began
            first = found.bounds[0]
            before = quick.metrics.of(order[0]) if quick else float("nan")
            print(
                f"| {size} | {order[0]} | {before:.5g} | {first.value:.5g} | {first.bound:.5g} "
                f"| {100 * first.gap:.1f} | {found.status} | {seconds:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or list(BUDGETS))
