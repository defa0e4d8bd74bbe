"""The commands of the examples' READMEs, as they stand there, on a scripted model."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from murakkab.runtime.executors.sandbox import unavailable

from ..runtime.serving.receiver import receiver, refusal, said
from .scripted import EXAMPLES

URL = "http://127.0.0.1:8000/v1"
PROGRAM = "```python\ndef solve(*given):\n    return given\n```"
# What is asked, by words of the prompt, and what is answered.
ANSWERS = {
    "How confident": json.dumps({"result": "high"}),
    "A draft of the answer": json.dumps({"result": "Answer: 30", "done": True}),
    "Problem:": PROGRAM,
}


def commands(name: str) -> list[str]:
    """Return the `mkb` commands of an example's README, each on one line."""
    text = (EXAMPLES / name / "README.md").read_text("utf-8").replace("\\\n", " ")
    return [re.sub(r"\s+", " ", line[2:]) for line in text.splitlines() if line[:6] == "$ mkb "]


def answer(request: Any, body: Any) -> Any:
    if request.path.endswith("/models"):
        return refusal(404, "")
    prompt = body["messages"][-1]["content"]
    return said(next(given for words, given in ANSWERS.items() if words in prompt))


async def outcome(line: str, folder: Path) -> tuple[int | None, str]:
    """Run a command in a folder with the model at a port of its own; return status and stderr."""
    async with receiver() as server:
        server.usual = lambda request: answer(request, server.bodies[-1])
        words = shlex.split(line.replace(URL, f"{server.url}/v1"))
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "murakkab", *words[1:]),
            cwd=folder,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, told = await running.communicate()
        return running.returncode, told.decode()


@pytest.mark.skipif(
    unavailable() is not None, reason=f"no isolation on this machine: {unavailable()}"
)
@pytest.mark.parametrize("name", ["code_debate", "dynamic_coding", "math_reflect"])
def test_the_commands_of_a_readme_do_what_it_says(name: str, tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns(".*"))
    lines = commands(name)
    assert {line.split()[1] for line in lines} >= {"run", "compile"}
    for line in lines:
        status, told = asyncio.run(outcome(line, copy / name))
        assert status == 0, f"{line}\n{told}"
