"""How long `mkb` takes to start, beside the bare interpreter, in one run.

    python benchmarks/startup/run.py [--runs 15]

Every row is a new process with byte-code on disk; the rows take turns, so that a busy machine slows
all of them. Medians and the limits they are held to; exit 1 where one is broken.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEMO = "examples/video_qa/video_qa.mkb"


@dataclass(frozen=True)
class Row:
    """A command, and what it may take: a multiple of the interpreter's start, or seconds."""

    name: str
    arguments: tuple[str, ...]
    times: float | None = None
    seconds: float | None = None

    def limit_s(self, bare_s: float) -> float | None:
        return self.times * bare_s if self.times is not None else self.seconds


ROWS = (
    Row("python -c pass", ("-c", "pass")),
    Row("mkb --help", ("-m", "murakkab", "--help"), times=10.0),
    Row(f"mkb check {Path(DEMO).name}", ("-m", "murakkab", "check", DEMO), times=25.0),
    Row(f"mkb compile {Path(DEMO).name}", ("-m", "murakkab", "compile", DEMO), seconds=2.5),
)


def once(row: Row) -> float:
    """Return the wall seconds of one process; the command must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "typings")}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *row.arguments], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - began


def main() -> int:
    """Measure, print the table, and tell whether every limit holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    for row in ROWS:
        once(row)  # writes the byte-code
    measured: dict[str, list[float]] = {row.name: [] for row in ROWS}
    for _ in range(runs):
        for row in ROWS:
            measured[row.name].append(once(row))
    bare_s = statistics.median(measured[ROWS[0].name])
    print(f"{'command':30} {'median':>9} {'min':>9} {'max':>9} {'x bare':>7} {'limit':>9}")
    broken = False
    for row in ROWS:
        found = measured[row.name]
        median_s = statistics.median(found)
        limit_s = row.limit_s(bare_s)
        over = limit_s is not None and median_s > limit_s
        broken = broken or over
        cells = "".join(f" {s * 1e3:6.0f} ms" for s in (median_s, min(found), max(found)))
        limit = "" if limit_s is None else f"{limit_s * 1e3:6.0f} ms"
        print(f"{row.name:30}{cells} {median_s / bare_s:7.1f} {limit:>9}{'  OVER' if over else ''}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
