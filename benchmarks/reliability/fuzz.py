"""A long run of hostile inputs through every reader of files that are not to be trusted.

Each reader of `tests/fuzz` gets mutations of good inputs, at most 64 KiB each. It may take them or
refuse them with an error for the user; anything else is a crash, and more than a second of CPU time
is a hang. Readers take turns, a process for each turn, until `--inputs` or `--seconds` are used up;
from the second turn on, fast readers have longer ones.
Prints a table; the inputs that broke something stay in `--save`. Ends with 1 where there are any.

    python benchmarks/reliability/fuzz.py [--inputs N] [--seconds S] [--only READER] [--seed N]
        [--turn N] [--json FILE] [--save DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from types import FrameType

ROOT = Path(__file__).parents[2]
HANG_S = 1.0  # of CPU time, for one input
STUCK_S = 180.0  # by the clock, inside C code where no signal is seen: the machine may be busy
MEMORY_BYTES = 6 << 30


class Hang(BaseException):
    """An input took too long; no reader catches this."""


@dataclass
class Tally:
    """What became of a reader's inputs; `faults` are by the place that broke."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    crashes: int = 0
    hangs: int = 0
    slowest_ms: float = 0.0
    cpu_s: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)  # the place, and a file that shows it

    def add(self, other: Tally) -> None:
        for name in ("inputs", "accepted", "refused", "crashes", "hangs", "cpu_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest_ms = max(self.slowest_ms, other.slowest_ms)
        self.faults = {**other.faults, **self.faults}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, help="of all readers together")
    parser.add_argument("--seconds", type=float, help="by the clock")
    parser.add_argument("--only", action="append", help="this reader; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--turn", type=int, default=1000, help="inputs of a reader at a time")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--save", type=Path, default=Path("fuzz-faults"))
    parser.add_argument("--child", nargs=2, metavar=("READER", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if options.child is not None:
        name, folder = options.child
        tally = _turn(name, options.seed, options.turn, Path(folder), options.save)
        print(json.dumps(asdict(tally)))
        return 0
    if options.inputs is None and options.seconds is None:
        parser.error("say how long: `--inputs N`, `--seconds S` or both")
    tallies = _run(options)
    print(_table(tallies))
    return int(any(tally.faults for tally in tallies.values()))


# ---- turns


def _run(options: argparse.Namespace) -> dict[str, Tally]:
    from tests.fuzz.readers import READERS

    names = [reader.name for reader in READERS if reader.name in (options.only or (reader.name,))]
    tallies = {name: Tally() for name in names}
    ends = time.monotonic() + (options.seconds or float("inf"))
    left = options.inputs or sys.maxsize
    number = 0
    while left > 0 and time.monotonic() < ends and names:
        for name in names:
            count = min(_share(tallies, name, options.turn), left)
            if count <= 0 or time.monotonic() >= ends:
                break
            seed = options.seed * 1_000_000 + number
            tallies[name].add(_apart(name, seed, count, options.save))
            left -= count
            if options.json is not None:
                document = {name: asdict(tally) for name, tally in tallies.items()}
                options.json.write_text(json.dumps(document, indent=1) + "\n")
        number += 1
    return tallies


def _share(tallies: dict[str, Tally], name: str, turn: int) -> int:
    """Return the inputs of a reader's turn: fast readers get more, up to four times as many."""
    done = [tally for tally in tallies.values() if tally.cpu_s > 0.0]
    own = tallies[name]
    if own not in done:
        return turn
    mean_s = sum(tally.cpu_s for tally in done) / sum(tally.inputs for tally in done)
    return round(turn * min(max(mean_s * own.inputs / own.cpu_s, 0.25), 4.0))


def _apart(name: str, seed: int, count: int, save: Path) -> Tally:
    """Have a turn in a process of its own, which may die without ending the others."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        command = [sys.executable, __file__, "--child", name, folder, "--save", str(save)]
        command += ["--seed", str(seed), "--turn", str(count)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in _while_moving(child, Path(folder) / "input"):
            pass
        said, _ = child.communicate()
        if child.returncode == 0:
            return Tally(**json.loads(said.splitlines()[-1]))
        last = Path(folder) / "input"
        data = last.read_bytes() if last.exists() else b""
        died = f"the process ended with {child.returncode} (seed {seed})"
        return Tally(inputs=1, crashes=1, faults={died: _saved(save, name, data)})


def _while_moving(child: subprocess.Popen[str], current: Path) -> Iterator[None]:
    """Wait for a process; kill it where it has been at one input for too long."""
    while True:
        try:
            child.wait(timeout=5)
            return
        except subprocess.TimeoutExpired:
            yield
        if current.exists() and time.time() - current.stat().st_mtime > STUCK_S:
            child.kill()


def _turn(name: str, seed: int, count: int, folder: Path, save: Path) -> Tally:
    from tests.fuzz.mutation import Mutator
    from tests.fuzz.readers import BY_NAME, outcome

    reader = BY_NAME[name]
    good = reader.seeds()
    mutator, rng = Mutator(good, reader.form), Random(f"{name}/{seed}")
    own = folder / "files"
    own.mkdir()
    for data in good:  # so that imports and tables are there before anything is timed
        outcome(reader, data, own)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, _hangs)
    tally, started = Tally(), time.process_time()
    for _ in range(count):
        data = mutator.input(rng)
        (folder / "input").write_bytes(data)
        tally.inputs += 1
        began, fault = time.process_time(), None
        signal.setitimer(signal.ITIMER_PROF, HANG_S)
        try:
            try:
                found = outcome(reader, data, own)
                tally.accepted += found == "accepted"
                tally.refused += found == "refused"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
        except (Exception, Hang) as error:
            fault = error
        tally.slowest_ms = max(tally.slowest_ms, 1e3 * (time.process_time() - began))
        if fault is not None:
            tally.hangs += isinstance(fault, Hang)
            tally.crashes += not isinstance(fault, Hang)
            _keep(tally, _place(fault), save, name, data)
    tally.cpu_s = time.process_time() - started
    return tally


def _hangs(number: int, frame: FrameType | None) -> None:
    raise Hang(f"more than {HANG_S:g} s")


def _place(error: BaseException) -> str:
    """Return what was raised and by which line of ours, so that each fault is kept once."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if _is_ours(Path(f.filename))]
    where = ours[-1] if ours else frames[-1]
    file = Path(where.filename).resolve()
    shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
    return f"{type(error).__name__} at {shown}:{where.lineno}"


def _is_ours(file: Path) -> bool:
    return file.is_relative_to(ROOT) and ".venv" not in file.parts and file != Path(__file__)


def _keep(tally: Tally, place: str, save: Path, name: str, data: bytes) -> None:
    if place not in tally.faults:
        tally.faults[place] = _saved(save, name, data)


def _saved(save: Path, name: str, data: bytes) -> str:
    path = save / name / hashlib.sha256(data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


# ---- what is printed


def _table(tallies: dict[str, Tally]) -> str:
    header = (
        f"{'reader':<18}{'inputs':>10}{'refused':>10}{'accepted':>10}{'crashes':>9}{'hangs':>7}"
    )
    lines = [f"{header}{'slowest ms':>12}{'CPU s':>8}"]
    whole = Tally()
    for name, tally in [*tallies.items(), ("all", whole)]:
        if tally is not whole:
            whole.add(tally)
        lines.append(
            f"{name:<18}{tally.inputs:>10,}{tally.refused:>10,}{tally.accepted:>10,}"
            f"{tally.crashes:>9}{tally.hangs:>7}{tally.slowest_ms:>12.0f}{tally.cpu_s:>8.0f}"
        )
    lines += [f"{file}: {place}" for place, file in whole.faults.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
