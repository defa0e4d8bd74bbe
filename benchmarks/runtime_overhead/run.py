"""What a step costs the runtime, beside Ray and LangGraph in the same run.

Every step is a no-op Python function over a list's item. Sides take turns; each run is a new
process. Prints a table of medians. The others run only at the smallest number of steps, for they
need minutes at 100,000. `--others` is a Python that has `ray` and `langgraph`; without it one is
made in a temporary folder (from PyPI). Needs Linux.

    python benchmarks/runtime_overhead/run.py [--rounds 5] [--steps 10000 100000] [--others PYTHON]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--others", help="a Python with ray and langgraph")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        others = options.others or _environment(Path(folder) / "venv")
        sides = {
            "murakkab": [sys.executable, str(HERE / "ours.py")],
            "murakkab, recorded": [sys.executable, str(HERE / "ours.py")],
            "ray": [others, str(HERE / "with_ray.py")],
            "langgraph": [others, str(HERE / "with_langgraph.py")],
        }
        print(f"medians of {options.rounds} rounds; CPU of all processes of a side")
        print(f"{'side':<20}{'steps':>9}{'wall µs/step':>15}{'CPU µs/step':>14}{'peak MiB':>11}")
        for steps in options.steps:
            here = [s for s in sides if s.startswith("murakkab") or steps == min(options.steps)]
            runs: dict[str, list[dict[str, float]]] = {side: [] for side in here}
            for number in range(options.rounds):
                for side in here:
                    command = sides[side]
                    extra = [f"{folder}/{number}.json"] if side.endswith("recorded") else []
                    runs[side].append(_run([*command, str(steps), *extra]))
            for side, found in runs.items():
                wall = 1e6 * median(r["wall_s"] for r in found) / steps
                cpu = 1e6 * median(r["cpu_s"] for r in found) / steps
                peak = median(r["peak_mib"] for r in found)
                print(f"{side:<20}{steps:>9}{wall:>15.1f}{cpu:>14.1f}{peak:>11.0f}", flush=True)


def _environment(folder: Path) -> str:
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "ray", "langgraph"], check=True)
    return python


def _run(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
