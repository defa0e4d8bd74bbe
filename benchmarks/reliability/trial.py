"""One run that meets a fault: started, disturbed, taken up where it ended, and counted."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import Trouble
from kills import mkb
from stage import ITEMS, LIBRARY_FLAG, STEPS, Stage, Weather

_STARTS_WITHIN_S = 30.0  # of which a moment is drawn, for servers that are killed while they start
_TAKEN_UP_WITHIN_S = 300.0


@dataclass
class Outcome:
    """What became of one run; `right` where a run that had to fail did so for its reason."""

    fault: str
    early: bool = False  # it was over before the fault came
    completed: bool = False
    right: bool = False
    resumed: bool = False
    lost: int = 0
    doubled: int = 0
    unlike: int = 0  # answers that are not those of the undisturbed run
    left: int = 0  # processes
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


@dataclass
class Trial:
    """A run with a folder for its journal and record.

    answers: what an undisturbed run gave, by question; whole_s: how long its calls took.
    """

    stage: Stage
    trouble: Trouble
    folder: Path
    answers: dict[str, Any]
    whole_s: float
    chance: random.Random

    def outcome(self) -> Outcome:
        """Run it through the fault, and take it up where it ended."""
        found, stage, trouble = Outcome(self.trouble.title), self.stage, self.trouble
        self.folder.mkdir(parents=True)
        stage.receiver.deliveries.clear()
        began_s = time.monotonic()
        run = self._started("plan.json", *LIBRARY_FLAG, "--inputs", "inputs.json")
        over = self._disturb(run)
        found.early = run.poll() is not None
        code, document, err = _ended(run, began_s + trouble.within_s)
        # what lasts is met by every call that is left: a run that has its result had none
        found.early = found.early or (bool(trouble.ends) and code == 0)
        found.seconds = time.monotonic() - began_s
        if code is None:
            found.wrong.append(f"still at work after {trouble.within_s:g} s")
        self._count_calls(found, frozenset())
        found.left = stage.left_of_runs()
        over()
        stage.storm(Weather())
        fails = bool(trouble.ends) and not found.early
        if fails and code is not None:
            reasons = [each["reason"] for each in document.get("failures", [])]
            found.right = code == 3 and self._is_right(document)
            if not found.right:
                found.wrong.append(f"exit code {code}, reasons: {reasons}")
            code, document, err = self._taken_up(found)
            found.resumed = code == 0
        if code not in (0, None):
            found.wrong.append(f"exit code {code}: {json.dumps(document)[-2000:]} {err[-1000:]}")
        found.completed = code == 0 and not fails
        self._count(found, document)
        return found

    def _started(self, *arguments: str) -> subprocess.Popen[str]:
        record = ("--record", str(self.folder / f"{len(arguments)}.json"), "--json")
        if "--resume" not in arguments:
            record += ("--journal", str(self.folder / "run.db"))
        if self.trouble.servers == "attached":
            address = f"{self.stage.engine}={self.stage.proxies[0].url}/v1"
            record += ("--endpoint", address)
        return mkb(self.stage.folder, "run", *arguments, *record)

    def _disturb(self, run: subprocess.Popen[str]) -> Callable[[], None]:
        """Have the fault happen; return what ends it."""
        stage, trouble, chance = self.stage, self.trouble, self.chance
        weather = Weather(trouble.faults, trouble.share, trouble.most, chance)
        stage.storm(Weather())  # which begins to count requests
        if trouble.most is not None:
            stage.storm(weather)
        if trouble.servers == "own" and chance.random() < 0.5:
            _until(lambda: len(stage.servers()) == 2, run)
            time.sleep(chance.uniform(0.0, _STARTS_WITHIN_S))
        else:
            _until(stage.at_work, run)
            time.sleep(chance.uniform(0.0, self.whole_s))
        if trouble.act is not None:
            return trouble.act(stage, chance)
        stage.storm(weather)
        return lambda: None

    def _is_right(self, document: dict[str, Any]) -> bool:
        """Tell whether a reason names the engine and the cause that the fault declares."""
        engine = self.stage.engine
        return any(
            (each["engine"] == engine or f"engine `{engine}`" in each["instance"])
            and re.search(self.trouble.ends, each["reason"])
            for each in document["failures"]
        )

    def _taken_up(self, found: Outcome) -> tuple[int | None, dict[str, Any], str]:
        known = self._completed()
        run = self._started("--resume", str(self.folder / "run.db"))
        ended = _ended(run, time.monotonic() + _TAKEN_UP_WITHIN_S)
        self._count_calls(found, known)
        found.left += self.stage.left_of_runs()
        return ended

    # ---- what is counted

    def _completed(self) -> frozenset[str]:
        """Return the calls that the journal holds, by instance."""
        with closing(sqlite3.connect(self.folder / "run.db")) as connection:
            rows = connection.execute("SELECT instance FROM step").fetchall()
        return frozenset(instance for (instance,) in rows)

    def _count_calls(self, found: Outcome, known: frozenset[str]) -> None:
        """Count calls that were done twice, or though they were known."""
        newest = max(self.folder.glob("*.json.values"), key=lambda p: p.stat().st_mtime)
        lines = map(json.loads, (newest / "calls.jsonl").read_text().splitlines())
        done = Counter(
            line["instance"] for line in lines if "result" in line and not line.get("restored")
        )
        found.doubled += sum(n - 1 for n in done.values()) + len(known & done.keys())

    def _count(self, found: Outcome, document: dict[str, Any]) -> None:
        """Count what is missing of the result, at the receiver and in the journal."""
        rows = {row["text"]: row for row in document.get("result") or []}
        told = self.stage.receiver.texts()
        completed = self._completed()
        calls = {f"{step}[{n}]" for step in STEPS for n in range(ITEMS)}
        found.lost = len(self.answers.keys() - rows.keys()) + len(calls - completed)
        found.lost += sum(told[text] == 0 for text in self.answers)
        found.doubled += sum(told[text] > 1 for text in self.answers)
        found.doubled += sum(n > 1 for n in self.stage.receiver.deliveries.values())
        found.unlike = sum(rows[text] != self.answers[text] for text in self.answers.keys() & rows)
        if list(rows) != list(self.answers):
            found.wrong.append("the result has other items, or another order")


def _until(true: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    """Wait for something, no longer than the run goes on."""
    while run.poll() is None and not true():
        time.sleep(0.02)


def _ended(run: subprocess.Popen[str], until_s: float) -> tuple[int | None, dict[str, Any], str]:
    """Return a run's exit code, document and words; kill it where it takes too long."""
    try:
        out, err = run.communicate(timeout=max(until_s - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        return None, {}, run.communicate()[1]
    return run.returncode, json.loads(out) if out else {}, err
