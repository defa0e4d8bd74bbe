"""Eight runs at once that share servers, a folder of journals, one of records, and a cache.

    python benchmarks/reliability/together.py [--rounds 5] [--json FILE]

Each has ten questions of its own and ten that all have; what it must give is what it gives alone.
In every second round they share a result cache, empty at first. While they are at work, each
journal is tried to be taken up by another process, which must be refused. Counted are answers that
are not those of the run alone, rows of another run, what was lost or told twice, and what is left.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kills import mkb
from stage import ITEMS, LIBRARY_FLAG, Stage

RUNS = 8
WITHIN_S = 300.0
_ALONE_WITHIN_S = 120.0


@dataclass
class Round:
    """What became of eight runs at once."""

    completed: int = 0
    right: int = 0  # those that gave what they give alone
    refused: int = 0  # attempts to take up a journal that is being written
    let_in: int = 0  # those that were not refused
    foreign: int = 0  # rows of another run
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    left: int = 0  # processes
    cached: int = 0  # calls that the cache answered
    seconds: float = 0.0


class Eight:
    """The eight runs, and what each gives alone."""

    def __init__(self, stage: Stage) -> None:
        """Write their inputs and run each alone."""
        self.stage = stage
        (stage.folder / "journals").mkdir()
        self.questions = [
            [f"{'All' if n % 2 else f'Run {run}'}, question {n}?" for n in range(ITEMS)]
            for run in range(RUNS)
        ]
        for run, asked in enumerate(self.questions):
            text = json.dumps({"questions": asked})
            (stage.folder / f"inputs{run}.json").write_text(text)
        self.alone = []
        for run, asked in enumerate(self.questions):
            document = _document(self.started(run, "alone"), _ALONE_WITHIN_S)
            if not document or [row["text"] for row in document["result"]] != asked:
                raise SystemExit("a run that was alone gave no result")
            self.alone.append(document["result"])

    def started(self, run: int, name: str, *flags: str) -> subprocess.Popen[str]:
        """Start one; its record goes where records go, its journal beside the others."""
        journal = ("--journal", f"journals/{name}-{run}.db")
        what = ("run", "plan.json", *LIBRARY_FLAG, "--inputs", f"inputs{run}.json", "--json")
        return mkb(self.stage.folder, *what, *journal, *flags)

    def at_once(self, number: int) -> Round:
        """Run all of them at the same time, with a cache where the number is odd."""
        found, stage, name = Round(), self.stage, f"round{number}"
        flags = ("--cache", f"cache{number}") if number % 2 else ()
        stage.receiver.deliveries.clear()
        began_s = time.monotonic()
        runs = [self.started(run, name, *flags) for run in range(RUNS)]
        journals = [stage.folder / "journals" / f"{name}-{run}.db" for run in range(RUNS)]
        while not all(map(Path.exists, journals)) and any(run.poll() is None for run in runs):
            time.sleep(0.05)
        self.intrude(found, runs, journals)
        for run, process in enumerate(runs):
            document = _document(process, WITHIN_S - (time.monotonic() - began_s))
            rows = document["result"] if document else []
            found.stuck += document is None
            found.completed += bool(document)
            found.right += rows == self.alone[run]
            found.foreign += sum(row["text"] not in self.questions[run] for row in rows)
            found.cached += sum(s.get("cached", 0) for s in document["run"]["steps"]) if rows else 0
        found.seconds = time.monotonic() - began_s
        told = Counter(text for _, text in stage.receiver.deliveries.elements())
        wanted = Counter(text for questions in self.questions for text in questions)
        found.lost, found.doubled = (wanted - told).total(), (told - wanted).total()
        found.left = stage.left_of_runs()
        return found

    def intrude(
        self, found: Round, runs: list[subprocess.Popen[str]], journals: list[Path]
    ) -> None:
        """Try to take up journals that are being written; a run that has ended may be."""
        takers = [mkb(self.stage.folder, "run", "--resume", str(each)) for each in journals]
        for run, taker in zip(runs, takers, strict=True):
            _, err = taker.communicate()
            if run.poll() is None:
                found.refused += taker.returncode != 0 and "another run is writing" in err
                found.let_in += taker.returncode == 0


def _document(process: subprocess.Popen[str], within_s: float) -> dict[str, Any] | None:
    """Return what a run tells: nothing where it fails, None where it goes on for too long."""
    try:
        out, err = process.communicate(timeout=max(within_s, 0.1))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None
    if process.returncode:
        print(f"exit code {process.returncode}: {out[-2000:]} {err[-1000:]}", file=sys.stderr)
        return {}
    document: dict[str, Any] = json.loads(out)
    return document


def main() -> None:
    """Print what came of all rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # kept servers must not stay
    with tempfile.TemporaryDirectory() as name:
        stage = Stage(Path(name).resolve())
        with stage.background():
            stage.up()
            eight = Eight(stage)
            found = [eight.at_once(number) for number in range(asked.rounds)]
    expected = RUNS * asked.rounds
    print(f"| of {expected} runs, {RUNS} at once | |\n|---|---|")
    rows = [
        ("completed", "completed"),
        ("gave what they give alone", "right"),
        ("attempts to take up a journal that was being written, refused", "refused"),
        ("not refused", "let_in"),
        ("rows of another run", "foreign"),
        ("effects lost", "lost"),
        ("effects done twice", "doubled"),
        (f"still at work after {WITHIN_S:g} s", "stuck"),
        ("processes left", "left"),
        ("calls answered from the cache", "cached"),
    ]
    for title, field in rows:
        print(f"| {title} | {sum(getattr(each, field) for each in found)} |")
    print(f"| slowest round, s | {max(each.seconds for each in found):.0f} |")
    if asked.json is not None:
        asked.json.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
    right = sum(each.right for each in found) == expected
    wrong = any(e.let_in or e.foreign or e.lost or e.doubled or e.left for e in found)
    sys.exit(0 if right and not wrong else 1)


if __name__ == "__main__":
    main()
