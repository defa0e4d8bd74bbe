"""Fit the constants of the performance model to measured rows.

    python benchmarks/model_accuracy/fit.py --data DIR

Three fits in turn: times of steps (inter-token latency, throughput, time per token), then time to
the first token, then power. Each minimises logarithmic errors, pulled toward 0 by a soft L1 loss,
plus the distance from a prior (a plausible figure and how far it may be off, as a factor's
logarithm): what the rows do not say stays where physics puts it. Every (model, source) weighs as
much as any other, whatever its number of rows.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rows import GEMMA_PICTURE_TOKENS, SILICON, TASKS, VISION, Row, Task, load_rows
from scipy.optimize import least_squares

from murakkab.targets.perfconstants import ENGINES, Constants, Engine
from murakkab.targets.perfmodel import Answers, Query, answers

ROW_ERROR = 0.08  # of a measured step, about; weighs rows against priors
TTFT_ERROR = 0.30
GROUP_ROWS = 12.0  # a group of more rows weighs as much as one of so many


@dataclass(frozen=True)
class Prior:
    """A plausible figure, and the logarithm of the factor it may be off by."""

    value: float
    off: float


HARDWARE = {
    "memory": Prior(0.88, 0.04),
    "packed": Prior(0.65, 0.10),
    "cache": Prior(0.85, 0.06),
    "compute": Prior(0.75, 0.06),
    "fp8": Prior(0.75, 0.15),
    "expert_compute": Prior(0.50, 0.10),
    "overlap": Prior(1.70, 0.10),
    "all_reduce_s": Prior(5e-6, 0.25),
    "ring_s": Prior(20e-6, 0.30),
    "link": Prior(0.70, 0.10),
    "imbalance": Prior(1.15, 0.10),
    "routing": Prior(2.3, 0.15),
}
HOST = {
    ("vllm", "0.11.1"): {
        "step_s": Prior(1e-3, 0.6),
        "layer_s": Prior(45e-6, 0.4),
        "sequence_s": Prior(35e-6, 0.4),
        "prefill_layer_s": Prior(80e-6, 0.5),
    },
    ("vllm", "0.18.0"): {
        "step_s": Prior(1e-3, 0.4),
        "layer_s": Prior(45e-6, 0.3),
        "sequence_s": Prior(30e-6, 0.4),
    },
    ("trtllm", "0"): {
        "step_s": Prior(0.5e-3, 0.6),
        "layer_s": Prior(30e-6, 0.4),
        "sequence_s": Prior(15e-6, 0.5),
        "prefill_layer_s": Prior(30e-6, 0.5),
    },
}
TASK_OFF = {"isl": 0.15, "spread": 0.25}
FIRST = {"first_token_s": Prior(0.015, 0.3), "wait": Prior(1.1, 0.15), "burst": Prior(0.5, 0.1)}
# of the version whose rows show it, as a share; without such rows nothing is known of it
SLOT_WAIT = (("trtllm", "1.0.0"), Prior(0.5, 1.0))
# shares of TDP - idle, and how far each may be off, not as a factor
POWER = {
    "power_base": Prior(0.55, 0.15),
    "power_compute": Prior(0.80, 0.30),
    "power_attention": Prior(0.30, 0.15),
    "power_sharing": Prior(0.10, 0.10),
}


@dataclass(frozen=True)
class Fit:
    """Constants, and what is taken for the tasks whose lengths are not published."""

    constants: Constants
    tasks: Mapping[str, Task]

    def queries(self, rows: Sequence[Row]) -> list[Query]:
        return [_asked(row, self.tasks).query for row in rows]

    def predict(self, rows: Sequence[Row]) -> Answers:
        return answers(self.queries(rows), self.constants)


def fit(rows: Sequence[Row]) -> Fit:
    """Return what fits these rows."""
    found = _fit_steps(rows)
    timed = [row for row in rows if row.ttft_s is not None]
    if timed:
        found = replace(found, constants=_fit_first(timed, found))
    powered = [row for row in rows if row.power_w is not None and row.source != VISION]
    return replace(found, constants=_fit_power(powered, found)) if powered else found


def _asked(row: Row, tasks: Mapping[str, Task]) -> Row:
    """Return a row with the lengths that a fit takes for its task."""
    if row.source == SILICON:
        return row
    task = tasks[row.task]
    isl = task.isl
    if row.task == "image-chat" and "gemma-3" in row.name:
        isl = GEMMA_PICTURE_TOKENS + tasks["lm-arena-chat"].isl / 2
    return replace(row, query=replace(row.query, isl=isl, spread=task.spread))


def _weights(rows: Sequence[Row]) -> Any:
    def group(row: Row) -> tuple[object, ...]:
        return (row.family, row.source, row.query.expert_parallel)

    size = Counter(map(group, rows))
    return np.array([min(1.0, (GROUP_ROWS / size[group(row)]) ** 0.5) for row in rows])


def _priors() -> tuple[list[Prior], Callable[[Any], Fit]]:
    """Return the priors of every figure of the first fit, and what makes a fit of such figures."""
    priors = [*HARDWARE.values()]
    priors += [prior for figures in HOST.values() for prior in figures.values()]
    priors += [
        Prior(getattr(task, name), off) for task in TASKS.values() for name, off in TASK_OFF.items()
    ]

    def made(figures: Any) -> Fit:
        left = iter(figures)
        hardware = {name: float(next(left)) for name in HARDWARE}
        host = {key: {name: float(next(left)) for name in names} for key, names in HOST.items()}
        tasks = {name: Task(float(next(left)), float(next(left))) for name in TASKS}
        # versions without rows enough share what another version shows
        host["vllm", "0.18.0"]["prefill_layer_s"] = host["vllm", "0.11.1"]["prefill_layer_s"]
        host["trtllm", "1.0.0"] = host["trtllm", "1.0.1"] = host["trtllm", "0"]
        host["sglang", "0"] = host["vllm", "0.18.0"]
        return Fit(Constants(**hardware, engines=_engines(host)), tasks)

    return priors, made


def _engines(
    figures: Mapping[tuple[str, str], Mapping[str, float]],
    engines: Mapping[str, tuple[tuple[str, Engine], ...]] = ENGINES,
) -> dict[str, tuple[tuple[str, Engine], ...]]:
    return {
        name: tuple(
            (version, replace(engine, **figures.get((name, version), {})))
            for version, engine in versions
        )
        for name, versions in engines.items()
    }


def _fit_steps(rows: Sequence[Row]) -> Fit:
    priors, made = _priors()
    start = np.log([prior.value for prior in priors])
    off = np.array([prior.off for prior in priors])
    weight = _weights(rows)
    pairs = [
        ("itl_s", np.array([row.itl_s or np.nan for row in rows])),
        ("tokens_per_s", np.array([row.tokens_per_s or np.nan for row in rows])),
        ("tpot_s", np.array([row.tpot_s or np.nan for row in rows])),
    ]

    def residuals(x: Any) -> Any:
        found = made(np.exp(x)).predict(rows)
        parts = []
        for name, measured in pairs:
            known = np.isfinite(measured)
            ratio = np.log(getattr(found, name)[known] / measured[known])
            parts.append(_soft(weight[known] * ratio / ROW_ERROR))
        return np.concatenate([*parts, (x - start) / off])

    return made(np.exp(least_squares(residuals, start, x_scale=off).x))


def _fit_first(rows: Sequence[Row], fitted: Fit) -> Constants:
    waiting, slot = SLOT_WAIT
    seen = any((q.engine, q.version.partition("rc")[0]) == waiting for q in (r.query for r in rows))
    priors = [*FIRST.values(), *([slot] if seen else [])]
    start = np.log([prior.value for prior in priors])
    off = np.array([prior.off for prior in priors])
    weight = _weights(rows)
    measured = np.array([row.ttft_s for row in rows], dtype=float)
    # where memory makes requests wait, that is what the time says
    flows = np.array([row.query.batch for row in rows]) <= fitted.predict(rows).room

    def made(figures: Any) -> Constants:
        first, wait, burst, *slot_wait = map(float, figures)
        constants = fitted.constants
        keys = [
            (name, version) for name, known in constants.engines.items() for version, _ in known
        ]
        changed: dict[tuple[str, str], dict[str, float]] = {
            key: {"first_token_s": first} for key in keys
        }
        changed[waiting]["slot_wait"] = slot_wait[0] if seen else 0.0
        return replace(
            constants, wait=wait, burst=burst, engines=_engines(changed, constants.engines)
        )

    def residuals(x: Any) -> Any:
        found = replace(fitted, constants=made(np.exp(x))).predict(rows).ttft_s
        ratio = np.log(found / measured)[flows]
        return np.concatenate([_soft(weight[flows] * ratio / TTFT_ERROR), (x - start) / off])

    return made(np.exp(least_squares(residuals, start, x_scale=off).x))


def _fit_power(rows: Sequence[Row], fitted: Fit) -> Constants:
    weight = _weights(rows)
    measured = np.array([row.power_w for row in rows], dtype=float)

    def made(figures: Any) -> Constants:
        return replace(fitted.constants, **dict(zip(POWER, map(float, figures), strict=True)))

    def residuals(x: Any) -> Any:
        found = replace(fitted, constants=made(x)).predict(rows).power_w
        errors = _soft(weight * np.log(found / measured) / ROW_ERROR)
        return np.concatenate([errors, (x - start) / off])

    start = np.array([prior.value for prior in POWER.values()])
    off = np.array([prior.off for prior in POWER.values()])
    return made(least_squares(residuals, start).x)


def _soft(x: Any) -> Any:
    """Return residuals whose squares grow like their size: a row that is far off counts less."""
    return np.sign(x) * np.sqrt(2 * (np.sqrt(1 + x**2) - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the CSV files")
    rows, _ = load_rows(parser.parse_args().data)
    found = fit(rows)
    constants = found.constants
    for name in (*HARDWARE, "wait", "burst", *POWER):
        print(f"{name} = {getattr(constants, name):.4g}")
    for engine, versions in constants.engines.items():
        for version, figures in versions:
            print(f"{engine} {version or '(any)'}: {figures}")
    for name, task in found.tasks.items():
        print(f"{name}: {task.isl:.0f} tokens of prompt, spread {task.spread:.2f}")


if __name__ == "__main__":
    main()
