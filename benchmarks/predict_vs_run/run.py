"""What a profile predicts of a fan-out and a chain, beside what `mkb run` of them takes.

    .venv-vllm/bin/python benchmarks/predict_vs_run/run.py [--runs 5] [--json FILE]

One vLLM server on a CPU core; clients on another. `mkb profile` measures it twice: with lengths
like those of the workflows' calls, and with its default lengths, several times as long. Each
workflow is compiled with each profile, and run on the same server. Then the server's share of its
core is told for all of them: where others use the machine, it is below 1, and speeds differ.
`make .venv-vllm/.ready` makes the environment. Needs Linux and 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.with_name("vllm_overhead")))

from server import Server, served  # noqa: E402  # beside the other benchmark of vLLM

MODEL = "large"
CLIENT_CORE, SERVER_CORE = 0, 1
TOKENS = 64  # of every answer
QUESTION = "What happened in round {salt:03} to item {n:05}, and why did it happen?"
ITEMS = {"fan_out": 150, "chain": 50}
# prompts of the workflows have some 80 and 100 tokens (a character each, and the chat template)
PROFILES = {
    "like the calls": ["--isl", "90", "--osl", str(TOKENS), "--time", "30 s"],
    "default lengths": ["--time", "45 s"],
}
LOADS = "1,4,16,64"
WANTED = 0.10
MKB = [sys.executable, "-m", "murakkab"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "typings")}


@dataclass(frozen=True)
class Bench:
    """One server and the files around it."""

    server: Server
    folder: Path
    library: Path

    def mkb(self, *arguments: str) -> str:
        """Run a command on the clients' core; return what it prints."""
        done = subprocess.run(
            [*MKB, *arguments],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            cwd=self.folder,
            preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CORE}),
        )
        if done.returncode:
            raise SystemExit(f"mkb {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    @contextmanager
    def share(self, told: list[float]) -> Iterator[None]:
        """Note the share of its core that the server has while this is entered."""
        began_s, busy_s = perf_counter(), self.server.busy_s()
        yield
        told.append((self.server.busy_s() - busy_s) / (perf_counter() - began_s))

    def profile(self, name: str, flags: list[str]) -> Path:
        """Measure the server."""
        path = self.folder / f"{name.replace(' ', '_')}.csv"
        where = ["--endpoint", self.server.url, "--as", f"./{MODEL}", "--loads", LOADS]
        self.mkb("profile", *where, *flags, "-o", str(path))
        return path

    def plan(self, workflow: str, profile: Path) -> Path:
        """Compile a workflow with a profile; return the plan."""
        path = self.folder / f"{workflow}-{profile.stem}.json"
        surroundings = ["--library", str(self.library), "--profiles", str(profile)]
        surroundings += ["--endpoint", f"{MODEL}={self.server.url}", "--target", "vllm"]
        self.mkb("compile", str(HERE / f"{workflow}.mkb"), *surroundings, "-o", str(path))
        return path

    def run(self, plan: Path, salt: int, items: int) -> float:
        """Run a plan; return the seconds from its first call to its last answer."""
        questions = [QUESTION.format(salt=salt, n=n) for n in range(items)]
        inputs, record = self.folder / "in.json", self.folder / "record" / "run.json"
        inputs.write_text(json.dumps({"questions": questions}), "utf-8")
        given = ["--inputs", str(inputs), "--library", str(self.library)]
        self.mkb("run", str(plan), *given, "--record", str(record))
        document = json.loads(record.read_text("utf-8"))
        made = {step["usage"]["output_tokens"] / step["calls"] for step in document["steps"]}
        if made != {float(TOKENS)}:
            raise SystemExit(f"answers have {made} tokens instead of {TOKENS}")
        return float(document["totals"]["measured"]["latency_s"])


@dataclass(frozen=True)
class Comparison:
    """A workflow compiled with a profile: seconds predicted (median) and measured."""

    workflow: str
    profile: str
    at_once: int
    predicted_s: float
    runs_s: list[float]
    error_band: float

    @property
    def error(self) -> float:
        """Return how far the prediction is from the median run, relative to that."""
        measured_s = median(self.runs_s)
        return (self.predicted_s - measured_s) / measured_s


def compare(bench: Bench, runs: int, shares: dict[str, list[float]]) -> list[Comparison]:
    """Profile, compile, and run every plan so often, in turns."""
    plans: dict[tuple[str, str], Path] = {}
    for name, flags in PROFILES.items():
        with bench.share(shares.setdefault(f"profile, {name}", [])):
            profile = bench.profile(name, flags)
        print(f"  profiled: {name}", file=sys.stderr)
        plans |= {(workflow, name): bench.plan(workflow, profile) for workflow in ITEMS}
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in plans}
    for n in range(runs):
        for i, (key, plan) in enumerate(plans.items()):
            with bench.share(shares.setdefault(f"runs of {key[0]}", [])):
                taken[key].append(bench.run(plan, n * len(plans) + i, ITEMS[key[0]]))
        print(f"  {n + 1}/{runs}", file=sys.stderr)
    return [_compared(key, plan, taken[key]) for key, plan in plans.items()]


def _compared(key: tuple[str, str], plan: Path, runs_s: list[float]) -> Comparison:
    document = json.loads(plan.read_text("utf-8"))
    predicted = document["predicted"]
    at_once = sum(int(engine["concurrency"]) for engine in document["engines"])
    band = float(predicted["error_band"])
    return Comparison(*key, at_once, float(predicted["latency_s"]["p50"]), runs_s, band)


def write_model(folder: Path) -> Path:
    """Write a model that never ends an answer by itself, and a library of it; return its path."""
    code = """
import sys
from pathlib import Path
import models
from safetensors.torch import load_file, save_file
folder = Path(sys.argv[1])
models.write_model(folder / "large", hidden=512, layers=8, heads=8, seed=0)
path = folder / "large" / "model.safetensors"
weights = load_file(path)
weights["model.embed_tokens.weight"][1] = 0  # the end of text is never the likeliest token
save_file(weights, path, metadata={"format": "pt"})
models.write_library(folder / "library.toml", ["large"], max_tokens=int(sys.argv[2]))
"""
    at = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "vllm")}
    command = [sys.executable, "-c", code, str(folder), str(TOKENS)]
    subprocess.run(command, env=at, check=True)
    return folder / "library.toml"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="keep every sample here")
    options = parser.parse_args()
    shares: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = write_model(folder)
        arguments = "--enforce-eager --max-model-len 2048 --no-enable-prefix-caching"
        with served(
            sys.executable, folder / MODEL, arguments, folder / "server.log", SERVER_CORE
        ) as server:
            found = compare(Bench(server, folder, library), options.runs, shares)
    print(f"{'workflow':<10}{'profile':<18}{'at once':>8}{'predicted':>11}{'measured':>10}{'':>8}")
    for each in found:
        print(
            f"{each.workflow:<10}{each.profile:<18}{each.at_once:>8}{each.predicted_s:>9.2f} s"
            f"{median(each.runs_s):>8.2f} s{each.error:>+8.1%}"
            f"   runs {min(each.runs_s):.2f} to {max(each.runs_s):.2f} s"
        )
    print(f"wanted: within {WANTED:.0%} of the median run, with lengths like the calls'")
    for what, told in shares.items():
        print(f"the server's share of its core, {what}: {median(told):.2f}")
    if options.json is not None:
        document = {"comparisons": [asdict(each) for each in found], "shares": shares}
        options.json.write_text(json.dumps(document, indent=1), "utf-8")


if __name__ == "__main__":
    main()
