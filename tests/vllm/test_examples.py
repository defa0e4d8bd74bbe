"""The examples, whole, on a real server: its model says noise, so no test is ever passed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from murakkab.runtime.executors.sandbox import unavailable

from .models import SERVER_ARGS, write_library, write_model
from .served import served
from .workflows import ENVIRONMENT, ROOT

EXAMPLES = ROOT / "examples"
CODE_TOOLS = ("--library", str(EXAMPLES / "code_tools/library.toml"))
# Noise is long in UTF-8, and each round shows reports of the last one, a token for every byte.
CONTEXT_TOKENS = 8192
sandboxed = pytest.mark.skipif(
    unavailable() is not None, reason=f"no isolation on this machine: {unavailable()}"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a function that runs an example on a server, and gives its result and its steps."""
    folder = tmp_path_factory.mktemp("examples")
    write_model(folder / "small", hidden=64, layers=2, heads=2, seed=1, context=CONTEXT_TOKENS)
    library = write_library(folder / "library.toml", ["small"], context=CONTEXT_TOKENS)
    arguments = f"{SERVER_ARGS} --max-model-len {CONTEXT_TOKENS}"

    def run_on(url: str, name: str, *flags: str) -> tuple[Any, dict[str, int]]:
        source = EXAMPLES / name
        command = [sys.executable, "-m", "murakkab", "run", str(source / f"{name}.mkb"), "--json"]
        command += ["--inputs", str(source / "inputs.json"), "--library", str(library)]
        command += ["--endpoint", f"small={url}/v1", *flags]
        done = subprocess.run(
            command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=200.0
        )
        assert done.returncode == 0, done.stdout + done.stderr
        document = json.loads(done.stdout)
        steps = {step["step"]: step["calls"] for step in document["run"]["steps"]}
        return document["result"], steps

    with served(folder / "small", arguments, folder / "small.log") as url:
        yield lambda name, *flags: run_on(url, name, *flags)


@sandboxed
def test_coders_and_testers_debate_for_all_rounds(run: Any) -> None:
    result, steps = run("code_debate", *CODE_TOOLS)
    assert not result["passed"] and result["report"]
    assert steps["write_program"] == steps["write_tests"] == 8
    assert steps["own"] == 8 and steps["check"] == 16


@sandboxed
@pytest.mark.parametrize(("accuracy", "reviews"), [("0.95", 0), ("0.99", 3)])
def test_writers_try_for_all_rounds(run: Any, accuracy: str, reviews: int) -> None:
    required = ("--require", f"accuracy >= {accuracy}")
    result, steps = run("dynamic_coding", *CODE_TOOLS, *required)
    assert not result["passed"] and result["report"]
    assert steps["write_first"] == 1 and steps["outcome"] == 9
    assert steps["advice"] == reviews


def test_reflection_ends_when_it_is_confident_or_its_rounds_are_used_up(run: Any) -> None:
    result, steps = run("math_reflect")
    assert result["confidence"] in ("high", "medium", "low")
    (rounds,) = set(steps.values())
    assert rounds == 4 or result["confidence"] == "high"
