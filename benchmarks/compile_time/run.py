"""How compile time grows: checking and every pass but `place`, on generated workflows.

Prints one row a size, medians of several runs in one process, and the time per step relative to
n log n of the smallest size (1.0 or below: no worse than n log n). Run it as
`python benchmarks/compile_time/run.py [--sizes 10,100,1000,5000] [--repeat N]`.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from pathlib import Path

from murakkab.compiler.driver import Request, environment
from murakkab.compiler.frontend import check_text, select
from murakkab.passes.pipeline import parse_pipeline, run_pipeline

CLUSTER = Path(__file__).parents[2] / "examples/clusters/two-a100-nodes.toml"
PIPELINE = "bind,canonicalize,hoist,pushdown,fuse,canonicalize,substitute"


def program(steps: int, seed: int = 0) -> str:
    """Return a workflow of this many calls: chains, loops over lists, branches, optional work."""
    draw = random.Random(seed)
    texts, lists = ["t"], ["ts"]
    lines: list[str] = []
    calls = 0
    while calls < steps:
        name, kind = f"v{len(lines)}", draw.random()
        if kind < 0.55 or steps - calls < 3:
            lines.append(f"{name} = summarize({draw.choice(texts[-8:])})")
            texts.append(name)
            calls += 1
        elif kind < 0.7:
            source = draw.choice(lists[-8:])
            lines.append(
                f'{name} = for x in {source} {{ a = summarize(x) yield translate(a, "fr") }}'
            )
            lists.append(name)
            calls += 2
        elif kind < 0.85:
            lines.append(f"{name} = search({draw.choice(texts[-8:])}, {draw.choice(lists[-8:])})")
            lists.append(name)
            calls += 1
        else:
            source = draw.choice(texts[-8:])
            lines.append(f'{name} = (optional summarize({source})) ?? "none"')
            texts.append(name)
            calls += 1
    result = f"answer({texts[-1]}, {lists[-1]})"
    body = "\n    ".join(lines)
    return (
        'import "std/text"\nworkflow big(t: Text, ts: [Text]) -> Text expect len(ts) = 4 {\n'
        f"    {body}\n    return {result}\n}}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10,100,1000,5000")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    _, context = environment(Request(source="", cluster=CLUSTER))
    passes = parse_pipeline(PIPELINE)
    base = 0.0
    print(f"{'steps':>6} {'check':>9} {'passes':>9} {'total':>9} {'per n log n':>12}")
    for steps in map(int, arguments.sizes.split(",")):
        text = program(steps)
        checks, runs = [], []
        for _ in range(arguments.repeat):
            start = time.perf_counter()
            module = select(check_text(text))
            middle = time.perf_counter()
            run_pipeline(module, passes, context)
            checks.append(middle - start)
            runs.append(time.perf_counter() - middle)
        check, run = statistics.median(checks), statistics.median(runs)
        unit = (check + run) / (steps * math.log(steps))
        base = base or unit
        row = f"{steps:>6} {check:>7.3f} s {run:>7.3f} s {check + run:>7.3f} s {unit / base:>12.2f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
