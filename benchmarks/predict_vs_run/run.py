"""What a profile predicts of a fan-out and a chain, beside what `mkb run` of them takes.

    .venv-vllm/bin/python benchmarks/predict_vs_run/run.py [--runs 5] [--default-lengths]
        [--json FILE]

One vLLM server on a CPU core; clients on another. `mkb profile` measures it with lengths like those
of the workflows' calls, and with `--default-lengths` a second time with its own, several times as
long. Each workflow is compiled with each profile, and run on the same server.

The server is bound to a core, so it works for as long as the kernel gives it that core. Where
others use the machine, that share is below 1 and changes: it is told for every part, and beside the
plain error stands that of the prediction for the share that the runs had.

`make .venv-vllm/.ready` makes the environment. Needs Linux and 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
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

    def profile(self, name: str, flags: list[str]) -> tuple[Path, float]:
        """Measure the server; return the profile, and the share of its core the server had."""
        path = self.folder / f"{name.replace(' ', '_')}.csv"
        where = ["--endpoint", self.server.url, "--as", f"./{MODEL}", "--loads", LOADS]
        began_s, busy_s = perf_counter(), self.server.busy_s()
        self.mkb("profile", *where, *flags, "-o", str(path))
        return path, (self.server.busy_s() - busy_s) / (perf_counter() - began_s)

    def plan(self, workflow: str, profile: Path) -> Path:
        """Compile a workflow with a profile; return the plan."""
        path = self.folder / f"{workflow}-{profile.stem}.json"
        surroundings = ["--library", str(self.library), "--profiles", str(profile)]
        surroundings += ["--endpoint", f"{MODEL}={self.server.url}", "--target", "vllm"]
        self.mkb("compile", str(HERE / f"{workflow}.mkb"), *surroundings, "-o", str(path))
        return path

    def run(self, plan: Path, salt: int, items: int) -> tuple[float, float]:
        """Run a plan; return the seconds from its first call to its last answer, and the share."""
        questions = [QUESTION.format(salt=salt, n=n) for n in range(items)]
        inputs, record = self.folder / "in.json", self.folder / "record" / "run.json"
        inputs.write_text(json.dumps({"questions": questions}), "utf-8")
        given = ["--inputs", str(inputs), "--library", str(self.library)]
        busy_s = self.server.busy_s()
        self.mkb("run", str(plan), *given, "--record", str(record))
        document = json.loads(record.read_text("utf-8"))
        made = {step["usage"]["output_tokens"] / step["calls"] for step in document["steps"]}
        if made != {float(TOKENS)}:
            raise SystemExit(f"answers have {made} tokens instead of {TOKENS}")
        within_s = float(document["totals"]["measured"]["latency_s"])
        return within_s, (self.server.busy_s() - busy_s) / within_s


@dataclass(frozen=True)
class Comparison:
    """A workflow compiled with a profile: seconds predicted (median) and measured."""

    workflow: str
    profile: str
    at_once: int
    predicted_s: float
    runs_s: list[float]
    profile_share: float
    run_share: float

    @property
    def error(self) -> float:
        """Return how far the prediction is from the median run, relative to that."""
        return self.predicted_s / median(self.runs_s) - 1.0

    @property
    def error_at_share(self) -> float:
        """Return the same for the share of its core that the server had in the runs."""
        at_share_s = self.predicted_s * self.profile_share / self.run_share
        return at_share_s / median(self.runs_s) - 1.0


def compare(bench: Bench, runs: int, names: list[str]) -> list[Comparison]:
    """Profile, compile, and run every plan so often, in turns."""
    plans: dict[tuple[str, str], Path] = {}
    shares: dict[str, float] = {}
    for name in names:
        profile, shares[name] = bench.profile(name, PROFILES[name])
        print(f"  profiled: {name}", file=sys.stderr)
        plans |= {(workflow, name): bench.plan(workflow, profile) for workflow in ITEMS}
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in plans}
    for n in range(runs):
        for i, (key, plan) in enumerate(plans.items()):
            taken[key].append(bench.run(plan, n * len(plans) + i, ITEMS[key[0]]))
        print(f"  {n + 1}/{runs}", file=sys.stderr)
    return [_compared(key, plan, taken[key], shares[key[1]]) for key, plan in plans.items()]


def _compared(
    key: tuple[str, str], plan: Path, taken: list[tuple[float, float]], profile_share: float
) -> Comparison:
    document = json.loads(plan.read_text("utf-8"))
    at_once = sum(int(engine["concurrency"]) for engine in document["engines"])
    predicted_s = float(document["predicted"]["latency_s"]["p50"])
    runs_s, run_shares = [within_s for within_s, _ in taken], [share for _, share in taken]
    return Comparison(*key, at_once, predicted_s, runs_s, profile_share, median(run_shares))


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
    parser.add_argument("--default-lengths", action="store_true", help="take a second profile")
    parser.add_argument("--json", type=Path, help="keep every sample here")
    options = parser.parse_args()
    names = list(PROFILES)[: 2 if options.default_lengths else 1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = write_model(folder)
        arguments = "--enforce-eager --max-model-len 2048 --no-enable-prefix-caching"
        with served(
            sys.executable, folder / MODEL, arguments, folder / "server.log", SERVER_CORE
        ) as server:
            found = compare(Bench(server, folder, library), options.runs, names)
    print(
        f"{'workflow':<10}{'profile':<17}{'at once':>7}{'predicted':>11}{'measured':>10}"
        f"{'error':>9}{'share: profile, runs':>22}{'error at it':>13}"
    )
    for each in found:
        print(
            f"{each.workflow:<10}{each.profile:<17}{each.at_once:>7}{each.predicted_s:>9.2f} s"
            f"{median(each.runs_s):>8.2f} s{each.error:>+9.1%}"
            f"{f'{each.profile_share:.2f}, {each.run_share:.2f}':>22}{each.error_at_share:>+13.1%}"
            f"   runs {min(each.runs_s):.2f} to {max(each.runs_s):.2f} s"
        )
    print(f"wanted: within {WANTED:.0%} of the median run, with lengths like the calls'")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(each) for each in found], indent=1), "utf-8")


if __name__ == "__main__":
    main()
