"""Runs from the command line whose model server is not there: an exit code, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_WORKFLOW = """
task answer(question: Text) -> Text "Answer a question." prompt "{question}"

workflow ask(question: Text) -> Text
    expect question.tokens = 20
{
    text = answer(question)
    return text
}
"""
_LIBRARY = """
[[executor]]
name = "far"
implements = "generate"
description = "A hosted model."
runner = "openai"
model = "gpt"
devices = ["remote"]
context = 8000
price = { usd_per_mtok_prompt = 1.0, usd_per_mtok_output = 2.0 }
settings = { url = "http://127.0.0.1:1/v1", key_env = "FAR_KEY" }
quality = { value = 0.5, metric = "none", source = "made up for a test" }
work = { prompt_tokens = "tokens(prompt) + 10", output_tokens = 8 }
result = { tokens = 8 }
"""


@pytest.mark.parametrize(
    ("environ", "told", "advice"),
    [
        (
            {},
            "engine `far`: the environment variable `FAR_KEY` with the key of "
            "`http://127.0.0.1:1/v1` is not set",
            "help: export FAR_KEY=…",
        ),
        (
            {"FAR_KEY": "sk-a-secret"},
            "engine `far`: the endpoint `http://127.0.0.1:1/v1` cannot be reached: ",
            "help: check that the server runs and its address",
        ),
    ],
)
def test_a_run_without_its_server_fails_in_order(
    tmp_path: Path, environ: dict[str, str], told: str, advice: str
) -> None:
    (tmp_path / "w.mkb").write_text(_WORKFLOW)
    (tmp_path / "lib.toml").write_text(_LIBRARY)
    command = [sys.executable, "-m", "murakkab", "run", "w.mkb", "--input", "question=Why?"]
    kept = {name: value for name, value in os.environ.items() if name != "FAR_KEY"}
    done = subprocess.run(
        [*command, "--target", "vllm", "--library", "lib.toml", "--record", "r/run.json"],
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": str(Path(__file__).parents[3] / "typings"), **environ},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert told in done.stderr and advice in done.stderr
    everything = done.stdout + done.stderr + (tmp_path / "r" / "run.json").read_text()
    assert "sk-a-secret" not in everything
