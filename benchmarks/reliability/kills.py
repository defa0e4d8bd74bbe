"""Runs that are killed at random moments and taken up again, until they end.

    python benchmarks/reliability/kills.py [--runs 200] [--seed 0] [--json FILE]

A workflow of tools in child processes, a loop, a branch, and an effect for each item: a POST to a
receiver in this process, which notes every delivery. The run's whole process group gets `kill -9`
at a random moment, so does, half of the time, the run that takes it up. Compared with a run that
nothing disturbed: the result; what was done again though the journal had it; what the receiver got
twice.

In every second run the receiver is said to be `idempotent`: it may get the same key twice, and must
count it once. In the others an effect in doubt ends the run; what came of it is looked up at the
receiver, as a user would, and told by `--settle`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ITEMS = 12
WORKFLOW = """task work(item: Text) -> { text: Text, long: Bool } "Works on an item."
task more(text: Text) -> Text "Works on it some more."
effect task report(text: Text) -> Bool "Tells the receiver." using webhook

workflow w(items: [Text]) -> [{ text: Text, told: Bool }] {
    done = for item in items {
        first = work(item)
        longer = if first.long { yield more(first.text) } else { yield first.text }
        text = repeat up to 2 with so_far = longer {
            so_far = more(so_far)
            yield so_far
        }
        told = report(text)
        yield { text, told }
    }
    return done
}
"""
LIBRARY = """[[executor]]
name = "work"
implements = "work"
description = "Works"
runner = "python"
entry = "work"
file = "tools.py"
quality = {{ value = 1.0, metric = "m", source = "s" }}
pooling = "process"
cores = 1

[[executor]]
name = "more"
implements = "more"
description = "Works"
runner = "python"
entry = "more"
file = "tools.py"
quality = {{ value = 1.0, metric = "m", source = "s" }}
pooling = "thread"

[[executor]]
name = "report"
implements = "webhook"
description = "Tells"
runner = "python"
entry = "webhook"
quality = {{ value = 1.0, metric = "m", source = "s" }}
settings = {{ url = "{url}" }}
idempotent = {idempotent}
"""
TOOLS = """import os, time
from pathlib import Path
def note(line):
    file = os.open(Path(__file__).with_name("done.log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\\n".encode())
    os.close(file)
def work(item):
    time.sleep(0.02)
    note(f"work {item}")
    return {"text": item, "long": item[-1] in "147"}
def more(text):
    time.sleep(0.01)
    note(f"more {text}")
    return text + "+"
"""


class Receiver:
    """Counts deliveries by key; answers slowly enough to be caught between the two."""

    def __init__(self) -> None:
        """Listen on a free port."""
        self.deliveries: Counter[tuple[str, str]] = Counter()  # by key and text
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                key = self.headers["Idempotency-Key"]
                time.sleep(0.005)
                receiver.deliveries[key, body["text"]] += 1
                time.sleep(0.005)
                try:
                    self.send_response(204)
                    self.end_headers()
                except OSError:
                    return  # whoever asked was killed

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def texts(self) -> Counter[str]:
        """Return how often each text was delivered, a key counted once."""
        return Counter(text for _, text in self.deliveries)


@dataclass
class Outcome:
    """What became of one run."""

    idempotent: bool
    kills: int = 0
    takes: int = 0  # how often it was taken up
    in_doubt: int = 0
    same_result: bool = False
    repeated_steps: int = 0
    repeated_effects: int = 0
    lost_effects: int = 0


def mkb(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `mkb` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "murakkab", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "typings")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextmanager
def project(idempotent: bool) -> Iterator[tuple[Path, Receiver]]:
    """Give a folder with the workflow, and the receiver it reports to."""
    receiver = Receiver()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "w.mkb").write_text(WORKFLOW)
        (folder / "tools.py").write_text(TOOLS)
        text = LIBRARY.format(url=receiver.url, idempotent=str(idempotent).lower())
        (folder / "library.toml").write_text(text)
        inputs = {"items": [f"item {n}" for n in range(ITEMS)]}
        (folder / "inputs.json").write_text(json.dumps(inputs))
        done = mkb(folder, "compile", "w.mkb", "--library", "library.toml", "-o", "plan.json")
        if done.wait():
            raise SystemExit(done.communicate()[1])
        yield folder, receiver


BEGIN = ("run", "plan.json", "--library", "library.toml", "--inputs", "inputs.json")


def completed(folder: Path) -> set[str]:
    """Return what the journal holds as completed, as the tools note it."""
    path = folder / "run.db"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as connection:
        try:
            rows = connection.execute("SELECT instance FROM step").fetchall()
        except sqlite3.OperationalError:
            return set()  # killed before it was whole
    return {instance for (instance,) in rows}


def done_by_tools(folder: Path) -> Counter[str]:
    """Return how often each piece of work was done."""
    path = folder / "done.log"
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


def undisturbed() -> tuple[Any, float, Counter[str]]:
    """Return the result, seconds and work of a run that nothing disturbs."""
    with project(idempotent=True) as (folder, receiver):
        began_s = time.monotonic()
        run = mkb(folder, *BEGIN, "--json")
        out, err = run.communicate()
        if run.returncode:
            raise SystemExit(err)
        assert sum(receiver.deliveries.values()) == ITEMS
        return json.loads(out)["result"], time.monotonic() - began_s, done_by_tools(folder)


def disturbed(chance: random.Random, wanted: Any, whole_s: float, idempotent: bool) -> Outcome:
    """Kill a run, take it up, perhaps kill that too, and so on until it ends."""
    outcome = Outcome(idempotent)
    settled: list[str] = []
    with project(idempotent) as (folder, receiver):
        while True:
            resumes = bool(completed(folder)) or _is_journal(folder / "run.db")
            if not resumes:
                for path in folder.glob("run.db*"):
                    path.unlink()
            begin = ("run", "--resume", "run.db") if resumes else (*BEGIN, "--journal", "run.db")
            words = [word for told in settled for word in ("--settle", told)]
            known, before = completed(folder), done_by_tools(folder)
            run = mkb(folder, *begin, *words, "--json")
            settled = []
            outcome.takes += resumes
            if outcome.kills == 0 or (outcome.kills < 4 and chance.random() < 0.5):
                try:
                    out, err = run.communicate(timeout=chance.uniform(0.0, 1.1 * whole_s))
                except subprocess.TimeoutExpired:
                    os.killpg(run.pid, signal.SIGKILL)
                    run.communicate()
                    outcome.kills += 1
                    outcome.repeated_steps += repeated(known, before, done_by_tools(folder))
                    continue
            else:
                out, err = run.communicate()
            outcome.repeated_steps += repeated(known, before, done_by_tools(folder))
            if run.returncode == 0:
                break
            settled = in_doubt(folder, receiver, json.loads(out), err)
            outcome.in_doubt += len(settled)
        outcome.same_result = json.loads(out)["result"] == wanted
        counts = receiver.texts()
        texts = [each["text"] for each in wanted]
        outcome.repeated_effects = sum(counts[text] > 1 for text in texts)
        if not idempotent:
            outcome.repeated_effects += sum(n > 1 for n in receiver.deliveries.values())
        outcome.lost_effects = sum(counts[text] == 0 for text in texts)
    return outcome


def _is_journal(path: Path) -> bool:
    if not path.exists():
        return False
    with closing(sqlite3.connect(path)) as connection:
        try:
            return connection.execute("SELECT count(*) FROM run").fetchone() == (1,)
        except sqlite3.OperationalError:
            return False


def repeated(known: set[str], before: Counter[str], after: Counter[str]) -> int:
    """Return how many calls of `work` were made again that the journal had."""
    again = {line for line in after if after[line] > before[line]}
    return sum(f"work item {name[6:-1]}" in again for name in known if name.startswith("first["))


def in_doubt(folder: Path, receiver: Receiver, document: Any, err: str) -> list[str]:
    """Look up at the receiver what came of effects in doubt; return the words for `--settle`."""
    failures = document.get("failures", [])
    found = [f["instance"] for f in failures if "whether it happened" in f["reason"]]
    if not found:
        raise SystemExit(f"a run ended for another reason:\n{err}{json.dumps(document, indent=1)}")
    with closing(sqlite3.connect(folder / "run.db")) as connection:
        (run,) = connection.execute("SELECT id FROM run").fetchone()
    import hashlib

    words = []
    for instance in found:
        key = hashlib.sha256(f"{run} {instance}".encode()).hexdigest()[:32]
        came = any(each == key for each, _ in receiver.deliveries)
        words.append(f"{instance}={'true' if came else 'again'}")
    return words


def main() -> None:
    """Print what came of all runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    wanted, whole_s, _ = undisturbed()
    chance = random.Random(asked.seed)
    found = []
    for number in range(asked.runs):
        found.append(disturbed(chance, wanted, whole_s, idempotent=number % 2 == 0))
        if sys.stderr.isatty():
            print(f"\r{number + 1} of {asked.runs}", end="", file=sys.stderr)
    print(f"{len(found)} runs of {ITEMS} items; undisturbed, one takes {whole_s:.1f} s\n")
    rows = [
        ("killed at least once", sum(o.kills > 0 for o in found)),
        ("kills", sum(o.kills for o in found)),
        ("taken up", sum(o.takes for o in found)),
        ("effects in doubt, settled", sum(o.in_doubt for o in found)),
        ("results unlike the undisturbed one", sum(not o.same_result for o in found)),
        ("completed steps done again", sum(o.repeated_steps for o in found)),
        ("effects done twice", sum(o.repeated_effects for o in found)),
        ("effects lost", sum(o.lost_effects for o in found)),
    ]
    for name, count in rows:
        print(f"{name:<36}{count:>6}")
    if asked.json is not None:
        asked.json.write_text(json.dumps([asdict(o) for o in found], indent=1) + "\n")
    broken = any(
        not o.same_result or o.repeated_steps or o.repeated_effects or o.lost_effects for o in found
    )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
