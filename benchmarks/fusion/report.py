"""The tables: medians of what was measured, beside what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from statistics import median
from typing import Any

from measure import BOTH, DOCETL, EXACT, LANGGRAPH, O0, O2, PASSES, SEQUENTIAL, Sample

Measure = Callable[[Sample], float]


def wall_s(sample: Sample) -> float:
    """Return the seconds from the inputs to the result."""
    return sample.wall_s


def cpu_s(sample: Sample) -> float:
    """Return the processor seconds of the servers."""
    return sample.counts.cpu_s


COLUMNS: dict[str, Measure] = {
    "requests": lambda s: s.counts.requests,
    "prompt": lambda s: s.counts.prompt_tokens,
    "computed": lambda s: s.counts.computed_tokens,
    "output": lambda s: s.counts.output_tokens,
    "wall s": wall_s,
    "CPU s": cpu_s,
}
# Ratios of medians: what is slower, what is faster, the time and the energy proxy wanted.
RATIOS = (
    ("one model, exact, over -O0", O0, EXACT, 1.3, None),
    ("one model, exact, over LangGraph", LANGGRAPH, EXACT, 1.3, None),
    ("one model over -O0", O0, O2, None, None),
    ("one model over LangGraph", LANGGRAPH, O2, None, None),
    ("with substitution over -O0", O0, BOTH, 2.0, 2.5),
    ("with substitution over -O0 --sequential", SEQUENTIAL, BOTH, 3.4, 4.5),
)
# What each contributes to the last of these; their product is that ratio.
PARTS = (
    ("of which concurrency: -O0 over sequential", SEQUENTIAL, O0),
    ("of which fusion: -O2 over -O0", O0, O2),
    ("of which substitution: both models over one", O2, BOTH),
)


class Samples:
    """All samples, by workflow and side."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._by: dict[tuple[str, str], list[Sample]] = {}
        for sample in samples:
            self._by.setdefault((sample.workflow, sample.side), []).append(sample)
        self.workflows = list(dict.fromkeys(sample.workflow for sample in samples))

    def sides(self, workflow: str) -> list[str]:
        """Return the sides of a workflow, as they are usually told."""
        known = [O0, EXACT, O2, BOTH, LANGGRAPH, DOCETL, SEQUENTIAL, *PASSES]
        return [side for side in known if (workflow, side) in self._by]

    def of(self, workflow: str, side: str) -> list[Sample]:
        """Return the repeats of a side; where -O2 is the exact plan, it was run as that."""
        if side == O2 and (workflow, O2) not in self._by:
            side = EXACT
        return self._by[workflow, side]

    def median(self, workflow: str, side: str, measure: Measure) -> float:
        """Return the median of a side's repeats."""
        return median(map(measure, self.of(workflow, side)))

    def ratio(self, workflow: str, slower: str, faster: str, measure: Measure) -> float:
        """Return how many times less the second side takes."""
        least = self.median(workflow, faster, measure)
        return self.median(workflow, slower, measure) / max(least, 1e-9)


def models_told(parameters: Mapping[str, int]) -> str:
    """Return what the figures were taken with, to stand beside them."""
    large, small = parameters["large"], parameters["small"]
    return (
        f"models with random weights: large {large / 1e6:.2f} M parameters, small "
        f"{small / 1e6:.2f} M, {large / small:.2f} : 1"
    )


def print_workflow(samples: Sequence[Sample], parameters: Mapping[str, int]) -> None:
    """Print the medians of one workflow's sides; `CPU s` is of both servers."""
    found = Samples(samples)
    (workflow,) = found.workflows
    print(f"\n{models_told(parameters)}")
    print(f"{workflow:<20}" + "".join(f"{name:>10}" for name in COLUMNS))
    for side in found.sides(workflow):
        *counted, wall, cpu = (found.median(workflow, side, each) for each in COLUMNS.values())
        shown = "".join(f"{value:>10.0f}" for value in counted)
        print(f"  {side:<18}{shown}{wall:>10.2f}{cpu:>10.2f}", flush=True)


def report(samples: Sequence[Sample], parameters: Mapping[str, int]) -> None:
    """Print what sides gain on each other, over all workflows."""
    found = Samples(samples)
    print(f"\n{models_told(parameters)}")
    _print_ratios(found)
    _print_passes(found)
    _print_equality(found)


def _print_ratios(found: Samples) -> None:
    width = max(map(len, found.workflows)) + 2
    heads = "".join(f"{workflow:>{width}}" for workflow in found.workflows)
    print(f"\n{'times less':<50}{'median':>8}{'wanted':>8}{heads}")
    for name, slower, faster, *wanted in RATIOS:
        for unit, measure, want in zip(("time", "CPU"), (wall_s, cpu_s), wanted, strict=True):
            _print_ratio(found, f"{name}: {unit}", slower, faster, measure, want, width)
    for name, slower, faster in PARTS:
        for unit, measure in (("time", wall_s), ("CPU", cpu_s)):
            _print_ratio(found, f"{name}: {unit}", slower, faster, measure, None, width)
    computed = COLUMNS["computed"]
    for name, slower in (("-O0", O0), (LANGGRAPH, LANGGRAPH)):
        title = f"one model, exact, over {name}: tokens"
        _print_ratio(found, title, slower, EXACT, computed, 1.0, width)


def _print_passes(found: Samples) -> None:
    """Print what each pass gives alone, over -O0, in the workflows that it changes."""
    shown = ("requests", "computed", "wall s", "CPU s")
    print(f"\n{'each pass alone, times less than -O0':<50}" + "".join(f"{n:>10}" for n in shown))
    for name in PASSES:
        changed = [w for w in found.workflows if name in found.sides(w)]
        for workflow in changed:
            ratios = [found.ratio(workflow, O0, name, COLUMNS[column]) for column in shown]
            each = "".join(f"{ratio:>10.2f}" for ratio in ratios)
            print(f"{f'{name}: {workflow}':<50}{each}")
        still = [w for w in found.workflows if w not in changed]
        if still:
            print(f"{name}: nothing to do in {', '.join(still)}")


def _print_ratio(
    found: Samples,
    name: str,
    slower: str,
    faster: str,
    measure: Measure,
    wanted: float | None,
    width: int,
) -> None:
    ratios = [found.ratio(workflow, slower, faster, measure) for workflow in found.workflows]
    want = "" if wanted is None else f"{wanted:.1f}"
    each = "".join(f"{ratio:>{width}.2f}" for ratio in ratios)
    print(f"{name:<50}{median(ratios):>8.2f}{want:>8}{each}")


def _print_equality(found: Samples) -> None:
    """Print how many of the texts of results are the same, token by token."""
    print(f"\n{'texts of results that are equal':<40}{'O0 to itself':>14}{'O0 to exact':>14}")
    for workflow in found.workflows:
        plain = [sample.result for sample in found.of(workflow, O0)]
        fused = [sample.result for sample in found.of(workflow, EXACT)]
        itself = [equal(a, b) for a, b in combinations(plain, 2)]
        other = [equal(a, b) for a in plain for b in fused]
        alone = f"{sum(itself) / len(itself):.1%}" if itself else "one run"
        print(f"  {workflow:<38}{alone:>14}{sum(other) / len(other):>14.1%}")


def equal(one: Any, other: Any) -> float:
    """Return the share of values that are equal in two results; lists of unequal length share none.

    A token of these models is a byte, so equal texts are equal tokens.
    """
    ours, theirs = dict(_leaves(one, "")), dict(_leaves(other, ""))
    if ours.keys() != theirs.keys():
        return 0.0
    return sum(ours[path] == theirs[path] for path in ours) / max(len(ours), 1)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    match value:
        case dict():
            for name, part in value.items():
                yield from _leaves(part, f"{path}.{name}")
        case list() | tuple():
            yield f"{path}#", len(value)
            for i, part in enumerate(value):
                yield from _leaves(part, f"{path}[{i}]")
        case _:
            yield path, value
