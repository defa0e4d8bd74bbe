"""A `for` over a million items: memory, rate, and a `kill -9` in the middle.

    python benchmarks/reliability/million.py [--items 1000000] [--json FILE] [--parts plain,killed]

Three Python steps that take microseconds, over items from a JSON Lines file to a JSON Lines file,
with a journal. First one run from beginning to end; then one that is killed when half of its items
are done, and taken up. A run's progress is read from its `calls.jsonl`, its resident memory from
`/proc`, once a second. Both result files are compared with what the steps are known to make.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
STEPS = 3
TENTHS = 10
SAMPLE_S = 1.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
WORKFLOW = """task first(item: { id: Int, text: Text }) -> Text "Works on an item."
task second(text: Text) -> Int "Works on it some more."
task third(length: Int, text: Text) -> { length: Int, text: Text } "Puts it together."

workflow w(items: [{ id: Int, text: Text }]) -> [{ length: Int, text: Text }] {
    done = for item in items {
        text   = first(item)
        length = second(text)
        both   = third(length, text)
        yield both
    }
    return done
}
"""
EXECUTOR = """[[executor]]
name = "{name}"
implements = "{name}"
description = "Works"
runner = "python"
entry = "{name}"
file = "tools.py"
quality = {{ value = 1.0, metric = "m", source = "s" }}
pooling = "thread"
"""
TOOLS = """def first(item):
    return f"{item['id']}: {item['text']}"
def second(text):
    return len(text)
def third(length, text):
    return {"length": length, "text": text}
"""


@dataclass
class Sample:
    """Seconds since the command began, calls in its record, resident bytes."""

    at_s: float
    calls: int
    resident: int


@dataclass
class Measured:
    """What was seen of one process."""

    samples: list[Sample] = field(default_factory=list)
    whole_s: float = 0.0
    files: dict[str, int] = field(default_factory=dict)  # bytes, by name

    def at(self, calls: float) -> Sample:
        """Return the first sample with this many calls, or the last."""
        return next((s for s in self.samples if s.calls >= calls), self.samples[-1])


@dataclass
class Killed:
    """What was seen of a run that was killed and taken up."""

    before: Measured
    after: Measured
    completed: int = 0  # calls in the journal when it was killed
    back_s: float = 0.0  # from the second command's start until those were answered


def item_text(number: int) -> str:
    """Return the text of an item: of different lengths, and not all ASCII."""
    return f"item {number} " + "à" * (number % 17)


def prepare(folder: Path, items: int) -> str:
    """Write a project and its items; return the SHA-256 of the results file to expect."""
    (folder / "w.mkb").write_text(WORKFLOW)
    (folder / "tools.py").write_text(TOOLS)
    names = ("first", "second", "third")
    (folder / "library.toml").write_text("\n".join(EXECUTOR.format(name=name) for name in names))
    expected = hashlib.sha256()
    with (folder / "items.jsonl").open("w") as file:
        for number in range(items):
            file.write(json.dumps({"id": number, "text": item_text(number)}) + "\n")
            text = f"{number}: {item_text(number)}"
            line = {"length": len(text), "text": text}
            encoded = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
            expected.update(f"{encoded}\n".encode())
    done = mkb(folder, "compile", "w.mkb", "--library", "library.toml", "-o", "plan.json")
    if done.wait():
        raise SystemExit("the workflow does not compile")
    return expected.hexdigest()


def mkb(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start `mkb` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "murakkab", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "typings")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def watched(folder: Path, name: str, stop_at: int | None, *arguments: str) -> Measured:
    """Watch a run until it ends, or kill it when so many calls are in its record."""
    measured = Measured()
    calls_file = folder / f"{name}.json.values" / "calls.jsonl"
    began_s = time.monotonic()
    run = mkb(folder, "run", *arguments, "--record", f"{name}.json", "--json")
    calls = offset = 0
    while run.poll() is None:
        time.sleep(SAMPLE_S)
        if calls_file.exists():
            with calls_file.open("rb") as file:
                file.seek(offset)
                while chunk := file.read(1 << 22):
                    calls += chunk.count(b"\n")
                offset = file.tell()
        resident = resident_bytes(run.pid)
        if resident:
            measured.samples.append(Sample(time.monotonic() - began_s, calls, resident))
        if stop_at is not None and calls >= stop_at:
            os.killpg(run.pid, signal.SIGKILL)
            break
    _, told = run.communicate()
    measured.whole_s = time.monotonic() - began_s
    if stop_at is None and run.returncode:
        raise SystemExit(told.decode())
    measured.files = {p.name: p.stat().st_size for p in folder.iterdir() if p.is_file()}
    if calls_file.exists():
        measured.files["calls.jsonl"] = calls_file.stat().st_size
    return measured


def resident_bytes(process: int) -> int:
    """Return what a process has in memory, 0 where it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


BEGIN = ("plan.json", "--library", "library.toml", "--input", "items=@items.jsonl")


def plain(items: int) -> Measured:
    """Run from beginning to end; the results must be those expected."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = prepare(folder, items)
        to = ("--results", "out.jsonl", "--journal", "run.db")
        measured = watched(folder, "plain", None, *BEGIN, *to)
        if sha256(folder / "out.jsonl") != expected:
            raise SystemExit("the results are not those expected")
        return measured


def killed(items: int) -> Killed:
    """Kill a run in the middle and take it up; the results must be those expected."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = prepare(folder, items)
        to = ("--results", "out.jsonl", "--journal", "run.db")
        before = watched(folder, "before", items * STEPS // 2, *BEGIN, *to)
        if (folder / "out.jsonl").exists():
            raise SystemExit("a run that was killed left results under their final name")
        with closing(sqlite3.connect(folder / "run.db")) as connection:
            (completed,) = connection.execute("SELECT count(*) FROM step").fetchone()
        after = watched(folder, "after", None, "--resume", "run.db")
        if sha256(folder / "out.jsonl") != expected:
            raise SystemExit("the results of the run taken up are not those expected")
        with (folder / "after.json").open() as file:
            steps = json.load(file)["steps"]
        if sum(step.get("restored", 0) for step in steps) != completed:
            raise SystemExit("steps that the journal had were done again")
        return Killed(before, after, completed, after.at(completed).at_s)


def by_tenths(measured: Measured, calls: int) -> Sequence[tuple[str, str, str]]:
    """Return rows: the tenth, items a second in it, megabytes at its end."""
    rows = []
    last = next(s for s in measured.samples if s.calls or s is measured.samples[-1])
    for tenth in range(1, TENTHS + 1):
        here = measured.at(calls * tenth / TENTHS)
        if here.calls <= last.calls:
            continue
        rate = (here.calls - last.calls) / STEPS / max(here.at_s - last.at_s, 1e-9)
        rows.append((f"{tenth}", f"{rate:,.0f}", f"{here.resident / 2**20:.0f}"))
        last = here
    return rows


def show(title: str, measured: Measured, items: int) -> None:
    """Print what was seen of one process."""
    print(f"\n{title}: {measured.whole_s:,.0f} s")
    print(f"{'tenth':>8}{'items/s':>12}{'MB resident':>14}")
    for row in by_tenths(measured, items * STEPS):
        print(f"{row[0]:>8}{row[1]:>12}{row[2]:>14}")
    peak = max(sample.resident for sample in measured.samples)
    print(f"at most {peak / 2**20:.0f} MB resident")
    for name in ("items.jsonl", "out.jsonl", "run.db", "run.db-wal", "calls.jsonl"):
        if name in measured.files:
            print(f"{name}: {measured.files[name] / 2**20:,.1f} MB")
    sys.stdout.flush()


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--parts", default="plain,killed")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: dict[str, object] = {"items": asked.items}
    print(f"{asked.items:,} items through {STEPS} steps")
    if "plain" in asked.parts:
        whole = plain(asked.items)
        found["plain"] = asdict(whole)
        show("from beginning to end", whole, asked.items)
    if "killed" in asked.parts:
        two = killed(asked.items)
        found["killed"] = asdict(two)
        show("killed in the middle", two.before, asked.items)
        show("taken up", two.after, asked.items)
        print(f"{two.completed:,} calls were in the journal: answered after {two.back_s:,.0f} s")
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
