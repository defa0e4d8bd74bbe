"""Score the performance model on measured rows, leaving one model out at a time.

    python benchmarks/model_accuracy/run.py --data DIR

Each architecture's rows are predicted with constants fitted on all the others (`fit.py`).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from fit import Fit, fit
from picks import picked
from rows import LANGUAGE, SILICON, Row, load_rows
from stages import report

from murakkab.targets.oracle import installed, refined
from murakkab.targets.perfanchor import Trend
from murakkab.targets.perfmodel import Answers, answers, weights

COST_QUERIES = 10_000


@dataclass(frozen=True)
class Scored:
    """Rows with what was predicted for each; arrays in the order of the rows."""

    rows: Sequence[Row]
    itl_s: Any
    tpot_s: Any
    ttft_s: Any
    tokens_per_s: Any
    power_w: Any

    def measured(self, name: str) -> Any:
        return np.array([getattr(row, name) or np.nan for row in self.rows], dtype=float)

    def errors(self, name: str, chosen: Any) -> Any:
        """Return predicted over measured, less 1, of the chosen rows."""
        return (getattr(self, name) / self.measured(name) - 1)[chosen]

    def energy_errors(self, chosen: Any) -> Any:
        measured = self.measured("power_w") / self.measured("tokens_per_s")
        return (self.power_w / self.tokens_per_s / measured - 1)[chosen]


def left_out(rows: Sequence[Row]) -> Scored:
    """Return each row as predicted from the rows of other architectures."""
    names = ("itl_s", "tpot_s", "ttft_s", "tokens_per_s", "power_w")
    found = {name: np.zeros(len(rows)) for name in names}
    families = np.array([row.family for row in rows])
    for family in sorted(set(families)):
        held = families == family
        rest = fit([row for row, out in zip(rows, held, strict=True) if not out])
        predicted = rest.predict([row for row, out in zip(rows, held, strict=True) if out])
        for name in names:
            found[name][held] = getattr(predicted, name)
    return Scored(rows, **found)


def scored(rows: Sequence[Row], found: Answers) -> Scored:
    return Scored(rows, found.itl_s, found.tpot_s, found.ttft_s, found.tokens_per_s, found.power_w)


def plain_roofline(rows: Sequence[Row], tasks: Fit) -> Scored:
    """Return what bytes over bandwidth and FLOP over peak alone say: no overhead, nothing lost."""
    steps, firsts, rates, powers = [], [], [], []
    for row in rows:
        q, task = row.query, tasks.tasks.get(row.task)
        isl = q.isl if task is None else task.isl
        model, device = q.model, q.device
        used = model.experts_per_token / model.experts if model.experts else 0.0
        dense, routed = weights(model, q.precision)
        touched = 1 - (1 - used) ** q.batch
        cache = q.batch * model.kv_bytes(isl + q.osl / 2)
        rate = device.rate("fp8" if q.precision == "fp8" else "bf16")
        token = 2 * model.active_params / rate / q.tp
        reading = (dense + touched * routed + cache) / device.bandwidth_bytes_s / q.tp
        step = max(reading, q.batch * token) + q.batch / q.osl * isl * token
        steps.append(step)
        firsts.append(isl * token)
        rates.append(q.batch / step)
        powers.append(q.tp * (device.idle_w + 0.74 * (device.busy_w - device.idle_w)))
    step_s = np.array(steps)
    return Scored(rows, step_s, step_s, np.array(firsts), np.array(rates), np.array(powers))


def by_oracle(rows: Sequence[Row], tasks: Fit) -> Scored:
    """Return what the optional oracle says of the rows it covers, our model of the others."""
    queries = tasks.queries(rows)
    found, covered = refined(queries, answers(queries, tasks.constants))
    print(f"\nthe oracle covers {sum(covered)} of {len(rows)} rows; ours stand for the others")
    return scored(rows, found)


def mean(errors: Any) -> float:
    return 100 * float(np.mean(np.abs(errors)))


def anchored(result: Scored, chosen: Any) -> tuple[float, float]:
    """Return the mean errors of throughput and energy with one anchor, each load in turn.

    A group is a model on a GPU with a degree of parallelism and a task; errors are of its others.
    """
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i in np.flatnonzero(chosen):
        row = result.rows[i]
        groups[row.name, row.task, row.query.tp, row.query.expert_parallel].append(int(i))
    batch = np.array([row.query.batch for row in result.rows])
    time = result.measured("tokens_per_s") ** -1 * result.tokens_per_s
    power = result.measured("power_w") / result.power_w
    rates: list[float] = []
    energies: list[float] = []
    for members in groups.values():
        for one in members:
            others = [i for i in members if i != one]
            at = (float(np.log(batch[one])),)
            slower = Trend(at, (float(np.log(time[one])),)).at(batch[others])
            draws = Trend(at, (float(np.log(power[one])),)).at(batch[others])
            left = slower / time[others]  # predicted over measured time
            rates += list(1 / left - 1)
            energies += list(draws / power[others] * left - 1)
    return mean(rates), mean(energies)


def microseconds(rows: Sequence[Row]) -> float:
    """Return what one query costs among many, in microseconds; the best of three."""
    many = [rows[i % len(rows)].query for i in range(COST_QUERIES)]
    times = []
    for _ in range(3):
        began = perf_counter()
        answers(many)
        times.append(perf_counter() - began)
    return min(times) / COST_QUERIES * 1e6


def per_source(result: Scored) -> None:
    """Print the errors of every source, model and kind of parallelism."""
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for i, row in enumerate(result.rows):
        how = "experts" if row.query.expert_parallel else "tensors"
        groups[row.source, row.query.model.name, how].append(i)
    print(f"{'source':24}{'model':36}{'by':9}{'rows':>5}  itl  rate energy  tpot  ttft (median)")
    for (source, name, how), members in sorted(groups.items()):
        line = f"{source:24}{name:36}{how:9}{len(members):5}"
        if source == SILICON:
            first = 100 * float(np.median(np.abs(result.errors("ttft_s", members))))
            print(f"{line}{'':17}{mean(result.errors('tpot_s', members)):7.1f}{first:6.0f}")
        else:
            itl, rate = (mean(result.errors(name, members)) for name in ("itl_s", "tokens_per_s"))
            print(f"{line}{itl:5.1f}{rate:6.1f}{mean(result.energy_errors(members)):6.1f}")


def figures(result: Scored) -> dict[str, float]:
    """Return the figures of the table, per cent."""
    rows = result.rows
    tensors = np.array([r.source == LANGUAGE and not r.query.expert_parallel for r in rows])
    experts = np.array([r.source != SILICON and r.query.expert_parallel for r in rows])
    silicon = np.array([r.source == SILICON for r in rows])
    dense = silicon & np.array([not r.query.model.experts for r in rows])
    language = np.array([r.source == LANGUAGE for r in rows])
    rate, energy = anchored(result, language)
    pick = picked(rows, result.tokens_per_s, result.tpot_s)
    return {
        "throughput, tensor parallel": mean(result.errors("tokens_per_s", tensors)),
        "inter-token latency, tensor parallel": mean(result.errors("itl_s", tensors)),
        "energy per token, tensor parallel": mean(result.energy_errors(tensors)),
        "throughput, expert parallel": mean(result.errors("tokens_per_s", experts)),
        "time to first token, median": 100
        * float(np.median(np.abs(result.errors("ttft_s", silicon)))),
        "time per output token, dense": mean(result.errors("tpot_s", dense)),
        "one anchor: throughput": rate,
        "one anchor: energy": energy,
        "pick under 20 ms: throughput lost": pick.lost,
        "pick under 20 ms: limit broken": pick.broken,
    }


REQUIRED = (10, 10, 10, 30, 45, 18, 5, 6, 10, 5)
AIM = (6, 6, 7, 15, 30, 12, 4, 4.5, 5, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the CSV files")
    data = parser.parse_args().data
    rows, unknown = load_rows(data)
    if unknown:
        print(f"not in the catalogue, left out: {', '.join(unknown)}\n")
    whole = fit(rows)
    result = left_out(rows)
    print("mean absolute error, per cent, of each architecture from the others' rows\n")
    per_source(result)
    print("\nother stages, each GPU from the others\n")
    other = report(data)
    columns = [figures(result), figures(scored(rows, whole.predict(rows)))]
    columns.append(figures(plain_roofline(rows, whole)))
    heads = ["left out", "all rows", "roofline"]
    if installed():
        heads.append("oracle")
        columns.append(figures(by_oracle(rows, whole)))
    print(f"\n{'%':40}{'required':>9}{'aim':>6}{''.join(f'{head:>10}' for head in heads)}")
    for i, name in enumerate(columns[0]):
        values = "".join(f"{column[name]:10.1f}" for column in columns)
        print(f"{name:40}{REQUIRED[i]:9g}{AIM[i]:6g}{values}")
    print(f"{'other stages: throughput':40}{15:9}{10:6}{other:10.1f}")
    print(f"\none query among {COST_QUERIES}: {microseconds(rows):.1f} us (at most 20)")


if __name__ == "__main__":
    main()
