"""Workflows that the tests run on real servers, and the command line that runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "typings")}
ASK = """
task answer(question: Text) -> Text "Answer a question." prompt "{question}"

workflow ask(questions: [Text]) -> [Text]
    minimize latency
    expect len(questions) = 200
    expect questions.tokens = 4000
{
    answers = for question in questions {
        text = answer(question)
        yield text
    }
    return answers
}
"""
SORT = """
task sort(question: Text) -> { city: "Prague" | "Vienna", urgent: Bool } "Sort a question."
    prompt "Which city, and is it urgent? {question}"

workflow sorted(questions: [Text]) -> [{ city: "Prague" | "Vienna", urgent: Bool }]
    expect len(questions) = 20
    expect questions.tokens = 400
{
    sorts = for question in questions { found = sort(question) yield found }
    return sorts
}
"""
LIST = """
task cities(question: Text) -> ["Prague" | "Vienna"] "List cities."
    prompt "Where to, and where then? {question}"
task answer(city: "Prague" | "Vienna") -> Text "Tell of a city." prompt "What of {city}?"

workflow listed(questions: [Text]) -> [[Text]]
    expect len(questions) = 4
    expect questions.tokens = 40
{
    lists = for question in questions {
        found = cities(question)
        told = for city in found { text = answer(city) yield text }
        yield told
    }
    return lists
}
"""


def questions(number: int) -> list[str]:
    return [f"Question {n:04}?" for n in range(number)]


def command(folder: Path, source: str, asked: list[str], library: Path, *flags: str) -> list[str]:
    """Write a workflow and its inputs into a folder; return what runs it there."""
    (folder / "w.mkb").write_text(source)
    (folder / "in.json").write_text(json.dumps({"questions": asked}))
    mkb_run = [sys.executable, "-m", "murakkab", "run", "w.mkb", "--inputs", "in.json", "--json"]
    return [*mkb_run, "--target", "vllm", "--library", str(library), *flags]


def mkb(
    folder: Path, source: str, asked: list[str], library: Path, endpoint: str, *flags: str
) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Run a workflow with a model at an endpoint, `NAME=URL`; return its JSON document too."""
    done = subprocess.run(
        command(folder, source, asked, library, "--endpoint", f"{endpoint}/v1", *flags),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120.0,
    )
    return done, json.loads(done.stdout)
