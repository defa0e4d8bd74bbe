"""The study of Murakkab's paper (OSDI 2026, section 4.3): one day, planned by every policy.

    python benchmarks/osdi26/run.py [--objective cost|energy|gpus] [--a100 N] [--h100 N]
        [--policies P,…] [--wait S] [--percentile p50|p90] [--sizing p90|mean] [--waits] [--json]

N are GPUs of a type that there are at most; as in the paper there are A100s without limit and no
H100s. `--waits` prints instead what `joint` saves over `separate` for each wait that requests
without a latency requirement may have. `--sizing mean` sizes instances by mean tokens and a margin
for chance, and has chance decide in the replay when requests come and what they take. The README
beside this says what was read off which figure.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from murakkab.passes.fleet.day import plan_day
from murakkab.passes.fleet.problem import fleet_problem
from murakkab.passes.fleet.readout import service_plan
from murakkab.runtime.replay import replay
from murakkab.targets.service_plan import summarise
from murakkab.targets.study import POLICIES, Policy, Study, load_study

STUDY = Path(__file__).parent / "data" / "study.toml"
WITHOUT_LIMIT = 8000
VALUES = {"cost": "cost_usd", "energy": "energy_mwh", "gpus": "gpus_max"}
NO_WAIT = "separate, no wait"
WAITS_S = (0.0, 10.0, 30.0, 60.0, 160.0, 600.0, 3600.0)
# Table 2: GPUs, MWh and thousands of dollars of `LangGraph`, `LangGraph+Auto`, `Murakkab Opt` and
# `Murakkab Opt+Mult`
PAPER = {
    "static": (2568, 82.1, 211.7),
    "autoscale": (2472, 80.6, 112.3),
    "separate": (1164, 27.7, 57.2),
    "joint": (912, 22.1, 47.2),
}


def study_of(options: argparse.Namespace) -> Study:
    """Return the study with the GPUs, objective and wait that are asked for."""
    study = load_study(STUDY)
    counts = {"a100": options.a100, "h100": options.h100}
    pools = []
    for pool in study.cluster.pools:
        wanted = counts[pool.name]
        if wanted % pool.gpus and wanted > 0:
            raise SystemExit(f"--{pool.name} {wanted}: nodes have {pool.gpus} GPUs each")
        if wanted:
            pools.append(replace(pool, nodes=wanted // pool.gpus))
    if not pools:
        raise SystemExit("there is no GPU to plan for: give --a100 or --h100 a number above 0")
    cluster = replace(study.cluster, pools=tuple(pools))
    study = replace(
        study,
        cluster=cluster,
        objective=options.objective,
        percentile=options.percentile,
        sizing=options.sizing,
    )
    return waiting(study, options.wait)


def waiting(study: Study, wait_s: float) -> Study:
    """Return the study with a wait for every class without a latency requirement."""
    workflows = tuple(
        replace(
            workflow,
            classes=tuple(
                kind if kind.latency_s is not None else replace(kind, wait_s=wait_s)
                for kind in workflow.classes
            ),
        )
        for workflow in study.workflows
    )
    return replace(study, workflows=workflows)


def measured(study: Study, policy: Policy, name: str = "") -> dict[str, Any]:
    """Plan the day by a policy and return what it comes to, under another name if one is given."""
    fleet = fleet_problem(study)
    day = plan_day(study, fleet, policy)
    plan = service_plan(study, fleet, day)
    found = summarise(plan)
    chance = {"seed": 1, "step_s": 1.0} if study.sizing == "mean" else {}
    by_type = {name.split("-")[0]: count for name, count in found.by_type}
    return {
        "policy": name or policy,
        "gpus_max": found.gpus_max,
        "a100_max": by_type.get("A100", 0),
        "h100_max": by_type.get("H100", 0),
        "energy_mwh": found.energy_j / 3.6e9,
        "cost_usd": found.usd,
        "accuracy": found.accuracy,
        "latency_violations": found.violations,
        "solve_s": day.solve_s,
        "gap": found.gap,
        "unserved": [name for name, _ in plan.unserved],
        "as_asked": {kind.name: kind.in_time for kind in replay(plan, **chance)},
    }


def show(rows: Sequence[dict[str, Any]], study: Study) -> None:
    print(f"minimising {study.objective}; the paper's figures (A100, cost) in brackets\n")
    head = f"{'policy':<18}{'GPUs':>14}{'MWh':>14}{'k$':>16}{'accuracy':>10}{'missed':>8}"
    print(head + f"{'solve':>8}{'gap':>8}  least as asked")
    for row in rows:
        gpus, mwh, usd = PAPER.get(row["policy"], (None, None, None))
        cells = (
            f"{row['gpus_max']}{'' if gpus is None else f' ({gpus})':>7}",
            f"{row['energy_mwh']:.2f}{'' if mwh is None else f' ({mwh})':>7}",
            f"{row['cost_usd'] / 1e3:.1f}{'' if usd is None else f' ({usd})':>8}",
        )
        least = min(row["as_asked"].items(), key=lambda item: item[1])
        print(
            f"{row['policy']:<18}{cells[0]:>14}{cells[1]:>14}{cells[2]:>16}"
            f"{row['accuracy']:>10.3f}{row['latency_violations']:>8.0%}{row['solve_s']:>7.1f}s"
            f"{row['gap']:>8.3%}  {least[1]:.2%} of {least[0]}"
        )
        for name in row["unserved"]:
            print(f"{'':<18}{name} is not served")
    value = {row["policy"]: row[VALUES[study.objective]] for row in rows}
    for name in value:
        if name.startswith("separate") and "joint" in value:
            print(f"\n`joint` saves {1 - value['joint'] / value[name]:.1%} of `{name}`", end="")
    print()


def show_waits(study: Study) -> None:
    """Print what `joint` saves, against classes apart that wait as well and that do not."""
    value = VALUES[study.objective]
    prompt = measured(waiting(study, 0.0), "separate")[value]
    print(f"saving of `joint` in {study.objective}, by the wait that is permitted\n")
    print(
        f"{'wait':>8}{'separate':>12}{'joint':>12}{'saving':>9}{'over separate without waits':>29}"
    )
    for wait_s in WAITS_S:
        own = waiting(study, wait_s)
        apart, joint = measured(own, "separate")[value], measured(own, "joint")[value]
        print(
            f"{wait_s:>6.0f} s{apart:>12,.1f}{joint:>12,.1f}{1 - joint / apart:>9.1%}"
            f"{1 - joint / prompt:>29.1%}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objective", choices=["cost", "energy", "gpus"], default="cost")
    parser.add_argument("--a100", type=int, default=WITHOUT_LIMIT)
    parser.add_argument("--h100", type=int, default=0)
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--wait", type=float, default=60.0, help="seconds")
    parser.add_argument("--percentile", choices=["p50", "p90"], default="p50")
    parser.add_argument("--sizing", choices=["p90", "mean"], default="p90")
    parser.add_argument("--waits", action="store_true", help="print the saving by permitted wait")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    options = parser.parse_args()
    study = study_of(options)
    if options.waits:
        show_waits(study)
        return
    chosen: list[Policy] = [p for p in POLICIES if p in options.policies.split(",")]
    rows = [measured(study, policy) for policy in chosen]
    if "separate" in chosen and options.wait:
        rows.insert(chosen.index("separate"), measured(waiting(study, 0.0), "separate", NO_WAIT))
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        show(rows, study)


if __name__ == "__main__":
    main()
