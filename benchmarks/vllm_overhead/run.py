"""What `mkb run` costs between a workflow and a vLLM server, all sides measured in one run.

1. Tokens a second of a fan-out of 500 calls, against a bare asynchronous client.
2. A chain of three steps over 200 items: all of its time beside the server's own busy time, and
   the same calls made by the bare client and by LangGraph.
3. From the start of `mkb run` to its first request, beside the start of `mkb --version`.

    .venv-vllm/bin/python benchmarks/vllm_overhead/run.py [--pairs 15] [--rounds 5] [--starts 15]
        [--others PYTHON] [--json FILE]

Clients run on the first core, the server on the second; the sides of a pair take turns at being
first. The time of a side is that of its whole process; that from its first request to its last
answer is told beside it. `--others` is a Python that has
`langgraph` and `aiohttp`; without it one is made in a temporary folder (from PyPI).
`make .venv-vllm/.ready` makes the environment. Needs Linux and 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from first_request import Relay
from server import Server, served
from work import MAX_TOKENS, MODEL, questions

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CLIENT_CORE, SERVER_CORE = 0, 1
CALLS, ITEMS = 500, 200
RESAMPLES = 10_000
SALTS = count(1)


@dataclass(frozen=True)
class Sample:
    """One side, once: tokens made, and seconds of its process, of its calls, of the server's work.

    `within_s` is from the first call's start to the last one's end, by the side's own clock.
    """

    side: str
    wall_s: float
    within_s: float
    tokens: float
    busy_s: float


@dataclass(frozen=True)
class Bench:
    """What the measurements share."""

    server: Server
    folder: Path
    library: Path
    others: str

    def plan(self, workflow: str) -> tuple[Path, int]:
        """Compile a workflow; return its plan and how many calls the plan has at work at once."""
        path = self.folder / f"{workflow}.json"
        if not path.exists():
            flags = ["--library", str(self.library), "--endpoint", f"{MODEL}={self.server.url}"]
            source = str(HERE / f"{workflow}.mkb")
            command = [*MKB, "compile", source, "--target", "vllm", *flags, "-o", str(path)]
            subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
        document = json.loads(path.read_text("utf-8"))
        return path, sum(int(engine["concurrency"]) for engine in document["engines"])

    def mkb_run(self, workflow: str, inputs: Path, url: str | None = None) -> list[str]:
        """Return the command that runs a workflow on the server."""
        plan, _ = self.plan(workflow)
        flags = ["--library", str(self.library), "--endpoint", f"{MODEL}={url or self.server.url}"]
        record = ["--record", str(self.record)]
        return [*MKB, "run", str(plan), "--inputs", str(inputs), *record, *flags]

    @property
    def record(self) -> Path:
        """Where `mkb run` keeps its record."""
        return self.folder / "record" / "run.json"

    def commands(self, workflow: str, inputs: Path) -> dict[str, list[str]]:
        """Return the command of every side."""
        arguments = [self.server.url, str(self.plan(workflow)[1]), str(inputs)]
        bare = [sys.executable, str(HERE / "bare.py"), *arguments]
        sides = {"mkb run": self.mkb_run(workflow, inputs), "bare client": bare}
        if workflow == "chain":
            sides["bare client"] = [*bare, "--chain"]
            sides["LangGraph"] = [self.others, str(HERE / "langgraph_chain.py"), *arguments]
        return sides

    def inputs(self, number: int) -> Path:
        """Write inputs that no side has seen."""
        path = self.folder / "inputs.json"
        path.write_text(json.dumps({"questions": questions(number, next(SALTS))}), "utf-8")
        return path

    def sample(self, side: str, command: list[str]) -> Sample:
        """Run a side and measure it."""
        tokens, busy_s = self.server.tokens(), self.server.busy_s()
        wall_s, told = timed(command)
        tokens, busy_s = self.server.tokens() - tokens, self.server.busy_s() - busy_s
        if side == "mkb run":
            within_s = json.loads(self.record.read_text())["totals"]["measured"]["latency_s"]
        else:
            within_s = json.loads(told)["within_s"]
        return Sample(side, wall_s, within_s, tokens, busy_s)


MKB = [sys.executable, "-m", "murakkab"]
# what is installed has its bytecode beside it; a checkout keeps it after the first start
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "typings")}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)


def timed(command: list[str]) -> tuple[float, str]:
    """Return the wall seconds of a process on the clients' core, and what it says."""
    began_s = perf_counter()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CORE}),
    )
    wall_s = perf_counter() - began_s
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return wall_s, done.stdout


def rounds(bench: Bench, workflow: str, items: int, number: int) -> list[list[Sample]]:
    """Run every side `number` times, each round with prompts of its own and another order."""
    bench.sample("warm-up", bench.commands(workflow, bench.inputs(items))["bare client"])
    found = []
    for n in range(number):
        commands = list(bench.commands(workflow, bench.inputs(items)).items())
        order = commands[n % len(commands) :] + commands[: n % len(commands)]
        found.append([bench.sample(side, command) for side, command in order])
        walls = ", ".join(f"{s.side} {s.wall_s:.2f} s" for s in found[-1])
        print(f"  {workflow} {n + 1}/{number}: {walls}", file=sys.stderr)
    return found


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median of pairs, by bootstrap."""
    chance = random.Random(0)
    medians = sorted(median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES)]


def of(side: str, samples: Sequence[Sample]) -> Sample:
    return next(sample for sample in samples if sample.side == side)


def fan_out(bench: Bench, pairs: int) -> dict[str, Any]:
    found = rounds(bench, "fan_out", CALLS, pairs)
    concurrency = bench.plan("fan_out")[1]
    print(
        f"\n{CALLS} calls, {concurrency} at once, at most {MAX_TOKENS} tokens each; {pairs} pairs"
    )
    results: dict[str, Any] = {"concurrency": concurrency}
    for name, field in (("whole processes", "wall_s"), ("while calls are at work", "within_s")):
        rates = {
            side: [of(side, pair).tokens / getattr(of(side, pair), field) for pair in found]
            for side in ("mkb run", "bare client")
        }
        ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
        low, high = interval(ratios)
        print(f"  {name}: " + ", ".join(f"{s} {median(r):.0f} tokens/s" for s, r in rates.items()))
        print(f"    ratio {median(ratios):.3f}, 95 % interval {low:.3f} to {high:.3f}")
        results[field] = {"ratios": ratios, "interval": [low, high]}
    print("  wanted: at least 0.97")
    results["pairs"] = [[asdict(sample) for sample in pair] for pair in found]
    return results


def chain(bench: Bench, number: int) -> dict[str, Any]:
    found = rounds(bench, "chain", ITEMS, number)
    print(f"\nchain of 3 steps over {ITEMS} items, {bench.plan('chain')[1]} calls at once")
    print(f"  {'side':<14}{'total':>9}{'server busy':>13}{'total/busy':>12}")
    for side in ("mkb run", "bare client", "LangGraph"):
        samples = [of(side, each) for each in found]
        wall_s, busy_s = median(s.wall_s for s in samples), median(s.busy_s for s in samples)
        ratio = median(s.wall_s / s.busy_s for s in samples)
        print(f"  {side:<14}{wall_s:>7.2f} s{busy_s:>11.2f} s{ratio:>12.3f}")
    print("  wanted of `mkb run`: at most 1.10")
    return {"rounds": [[asdict(sample) for sample in each] for each in found]}


def first_request(bench: Bench, number: int) -> dict[str, Any]:
    inputs = bench.inputs(4)
    starts, firsts = [], []
    for _ in range(number):
        starts.append(timed([*MKB, "--version"])[0])
        relay = Relay(bench.server.url)
        began_s = perf_counter()
        timed(bench.mkb_run("fan_out", inputs, relay.url))
        relay.close()
        if relay.first_s is None:
            raise SystemExit("`mkb run` sent no request")
        firsts.append(relay.first_s - began_s)
    over = [first - start for first, start in zip(firsts, starts, strict=True)]
    low, high = interval(over)
    print(f"\nfrom the start of `mkb run` to its first request, {number} times")
    print(
        f"  start of the command line {median(starts):.3f} s, first request {median(firsts):.3f} s"
    )
    print(f"  over it {median(over):.3f} s, 95 % interval {low:.3f} to {high:.3f} (wanted: 0.3)")
    return {"start_s": starts, "first_request_s": firsts}


def environment(folder: Path) -> str:
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "aiohttp", "langgraph"], check=True)
    return python


def write_model(folder: Path) -> Path:
    """Write the model and a library of it; return the library's path."""
    code = "import sys; from pathlib import Path; import models as m; f = Path(sys.argv[1]);"
    code += "m.write_models(f); m.write_library(f / 'library.toml', ['large'], max_tokens=128)"
    at = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "vllm")}
    subprocess.run([sys.executable, "-c", code, str(folder)], env=at, check=True)
    return folder / "library.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--starts", type=int, default=15)
    parser.add_argument("--others", help="a Python with langgraph and aiohttp")
    parser.add_argument("--json", type=Path, help="keep every sample here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        others = options.others or environment(folder / "venv")
        library = write_model(folder)
        log = folder / "server.log"
        # with a prefix cache, the second side of a pair would find the first one's prompts
        arguments = "--enforce-eager --max-model-len 2048 --no-enable-prefix-caching"
        with served(sys.executable, folder / MODEL, arguments, log, SERVER_CORE) as server:
            bench = Bench(server, folder, library, others)
            results = {
                "fan_out": fan_out(bench, options.pairs),
                "chain": chain(bench, options.rounds),
                "first_request": first_request(bench, options.starts),
            }
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1), "utf-8")


if __name__ == "__main__":
    main()
