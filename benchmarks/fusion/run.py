"""What fusion, concurrency and substitution give, on real vLLM servers, all sides in one run.

    .venv-vllm/bin/python benchmarks/fusion/run.py [--repeats 5] [--one-by-one 3]
        [--only WORKFLOW ...] [--no-passes] [--docetl PYTHON] [--json FILE]

Two models with random weights, parameters 4 : 1, on one core; clients on the other. Each workflow
is run as it is written (-O0), optimised (-O2) with the large model alone and with both, in
LangGraph, and one call at a time; and with each pass alone that changes it. The sides of a repeat
take turns at being first, and the servers forget all prompts in between.

`--docetl` names a Python that has `docetl` (0.3), for the pipeline on reviews in DocETL itself.
`make .venv-vllm/.ready` makes the environment. Needs Linux and 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "typings")]

from corpus import INPUTS  # noqa: E402  # beside this file
from measure import SEQUENTIAL, Sample, Suite  # noqa: E402
from report import print_workflow, report  # noqa: E402
from serving import (  # noqa: E402
    CLIENT_CORE,
    LARGE,
    SMALL,
    Models,
    models_served,
    write_library,
)

_LOADS = "1,4,16"
_LOAD_TIME = "6 s"
_LENGTHS = ["--isl", "250", "--osl", "128"]  # like those of the workflows


def profile(models: Models, folder: Path) -> tuple[Path, ...]:
    """Measure both servers as `mkb profile` does; return the files."""
    found = []
    for name in (LARGE, SMALL):
        path = folder / f"{name}.csv"
        where = ["--endpoint", models.servers[name].url, "--as", f"./{name}"]
        limits = ["--loads", _LOADS, "--time", _LOAD_TIME, *_LENGTHS, "-o", str(path)]
        command = [sys.executable, "-m", "murakkab", "profile", *where, *limits]
        at = {**os.environ, "PYTHONPATH": str(ROOT / "typings")}
        done = subprocess.run(command, cwd=folder, env=at, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"`mkb profile` failed:\n{done.stderr[-2000:]}")
        found.append(path)
    return tuple(found)


def measured(
    suite: Suite, name: str, repeats: int, one_by_one: int, passes: bool, docetl: str | None
) -> list[Sample]:
    """Run every side so often, in turns; one call at a time takes long: that less often."""
    source, inputs = HERE / "workflows" / f"{name}.mkb", INPUTS[name]
    sides = list(suite.sides(source))
    sides += suite.passes(source) if passes else []
    suite.sample(name, sides[0], inputs)  # the server compiles each schema once
    found = []
    for n in range(repeats):
        order = sides[n % len(sides) :] + sides[: n % len(sides)]
        order = [side for side in order if side.name != SEQUENTIAL or n < one_by_one]
        found += [suite.sample(name, side, inputs) for side in order]
        if docetl is not None and name == "reviews":
            found.append(suite.sample_docetl(docetl))
    return found


def main() -> None:
    """Measure and print the tables."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that its servers end with it
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--one-by-one", metavar="N", type=int, default=3, help="repeats of -O0 --sequential (3)"
    )
    parser.add_argument("--only", nargs="*", choices=list(INPUTS), default=list(INPUTS))
    parser.add_argument("--no-passes", action="store_true", help="leave the passes alone out")
    parser.add_argument("--docetl", metavar="PYTHON", help="a Python that has docetl")
    parser.add_argument("--json", type=Path, help="keep every sample here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with models_served(folder) as models:
            os.sched_setaffinity(0, {CLIENT_CORE})
            suite = Suite(
                models=models,
                folder=folder,
                alone=write_library(folder / "alone.toml", (LARGE,)),
                both=write_library(folder / "both.toml", (LARGE, SMALL)),
                profiles=profile(models, folder),
                written={},
            )
            samples: list[Sample] = []
            for workflow in options.only:
                found = measured(
                    suite,
                    workflow,
                    options.repeats,
                    options.one_by_one,
                    not options.no_passes,
                    options.docetl,
                )
                print_workflow(found, models.parameters)
                samples += found
                if options.json is not None:
                    keep(samples, models.parameters, options.json)
            parameters = models.parameters
    report(samples, parameters)


def keep(samples: list[Sample], parameters: Mapping[str, int], path: Path) -> None:
    """Write what was measured so far."""
    rows = [sample.row() for sample in samples]
    path.write_text(json.dumps({"parameters": parameters, "samples": rows}), "utf-8")


if __name__ == "__main__":
    main()
