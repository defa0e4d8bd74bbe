"""Runs on real model servers that are killed, stopped, slow, or answer what is no answer.

    python benchmarks/reliability/servers.py [--runs 100] [--seed 0] [--only FAULT] [--json FILE]

Two vLLM servers, replicas of one engine, and a workflow of an answer, a structured answer and an
effect for each of 20 items. Each run meets one fault at a random moment, and has a bound on its
time. What must come of it is declared with the fault (faults.py): the result of an undisturbed run,
or exit code 3 with a reason that names the engine and the cause, and a journal that, once the fault
is over, goes on to that result.

A run finds its servers kept (`mkb up`), is attached to one of them by its address, or starts two of
its own. Answers are compared with those of an undisturbed run, character by character.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from faults import TROUBLES, Trouble
from kills import mkb
from stage import ITEMS, LIBRARY_FLAG, Stage
from trial import Outcome, Trial


def undisturbed(stage: Stage) -> tuple[dict[str, Any], float]:
    """Return what a run that nothing disturbs answers, by question, and how long its calls take."""
    stage.receiver.deliveries.clear()
    run = mkb(stage.folder, "run", "plan.json", *LIBRARY_FLAG, "--inputs", "inputs.json", "--json")
    out, err = run.communicate()
    if run.returncode:
        raise SystemExit(out + err)
    assert sum(stage.receiver.deliveries.values()) == ITEMS
    document = json.loads(out)
    return {row["text"]: row for row in document["result"]}, document["run"]["totals"]["measured"][
        "latency_s"
    ]


def drawn(runs: int, only: str | None, chance: random.Random) -> list[Trouble]:
    """Return the faults of so many runs, by their weights; those with own servers come last."""
    wanted = [trouble for trouble in TROUBLES if only is None or only in trouble.title]
    if not wanted:
        raise SystemExit(f"there is no fault `{only}`")
    total = sum(trouble.weight for trouble in wanted)
    counts = [runs * trouble.weight // total for trouble in wanted]
    for number in range(runs - sum(counts)):
        counts[number % len(counts)] += 1
    found = [t for t, count in zip(wanted, counts, strict=True) for _ in range(count)]
    chance.shuffle(found)
    return sorted(found, key=lambda trouble: trouble.servers == "own")


def disturbed(stage: Stage, runs: int, only: str | None, seed: int) -> Iterator[Outcome]:
    """Give the outcomes of runs that meet a fault each."""
    chance = random.Random(seed)
    stage.up()
    undisturbed(stage)  # the first one has caches to fill
    answers, whole_s = undisturbed(stage)
    for number, trouble in enumerate(drawn(runs, only, chance)):
        if trouble.servers == "own" and stage.proxies:
            stage.down()
        folder = stage.folder / "runs" / str(number)
        yield Trial(stage, trouble, folder, answers, whole_s, chance).outcome()


def table(found: list[Outcome]) -> str:
    """Return the outcomes by fault."""
    lines = [
        "| fault | runs | over before it came | completed | ended with the right reason | resumed "
        "| lost | doubled | answers unlike | processes left | slowest, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for trouble in TROUBLES:
        some = [outcome for outcome in found if outcome.fault == trouble.title]
        if some:
            lines.append(_row(trouble.title, some, fails=bool(trouble.ends)))
    return "\n".join([*lines, _row("all", found, fails=True)])


def _row(title: str, some: list[Outcome], *, fails: bool) -> str:
    def count(name: str) -> int:
        return sum(getattr(o, name) for o in some)

    ends = [count("right"), count("resumed")] if fails else ["", ""]
    counts = map(count, ("lost", "doubled", "unlike", "left"))
    slowest_s = max(o.seconds for o in some)
    cells = [title, len(some), count("early"), count("completed"), *ends, *counts]
    cells.append(f"{slowest_s:.0f}")
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print what came of all runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="FAULT", help="those whose name holds this")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: list[Outcome] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # kept servers must not stay
    with tempfile.TemporaryDirectory() as name:
        stage = Stage(Path(name).resolve())
        with stage.background():
            for outcome in disturbed(stage, asked.runs, asked.only, asked.seed):
                found.append(outcome)
                told = "; ".join(outcome.wrong) or "as declared"
                line = f"{len(found)} of {asked.runs}: {outcome.fault}, {outcome.seconds:.1f} s"
                print(f"{time.strftime('%H:%M:%S')} {line}: {told}", file=sys.stderr, flush=True)
                if asked.json is not None:
                    asked.json.write_text(json.dumps([asdict(o) for o in found], indent=1) + "\n")
    print(table(found))
    bad = any(o.wrong or o.lost or o.doubled or o.unlike or o.left for o in found)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
