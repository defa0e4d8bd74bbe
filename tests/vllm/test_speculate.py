"""Branches that run ahead of their condition, on a real server: the same answers, sooner begun."""

from __future__ import annotations

import json
from pathlib import Path
from time import sleep
from typing import Any

from .models import write_library
from .test_prefix import counted
from .workflows import mkb, questions

ASKED = 4
ROUTED = """
task weigh(question: Text) -> Text "Think it over." prompt "Is this hard? {question}"
task short(question: Text) -> Text "Answer shortly." prompt "Answer shortly: {question}"
task long(question: Text) -> Text "Answer at length." prompt "Answer at length: {question}"

workflow routed(questions: [Text]) -> [Text]
    minimize latency
    expect len(questions) = 4
    expect questions.tokens = 80
{
    return for question in questions {
        hard = len(weigh(question)) > 3
        said = if hard { yield long(question) } else { yield short(question) }
        yield said
    }
}
"""
PLAIN = 'bind,canonicalize,place{policy="reference"}'
AHEAD = 'bind,canonicalize,speculate,place{policy="reference"}'


def calls(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "run.json.values" / "calls.jsonl").read_text().rstrip("\n").split("\n")
    return [json.loads(line) for line in lines]


def test_branches_begin_before_their_condition_is_known_and_answers_stay(
    server_small: str, models: Path, tmp_path: Path
) -> None:
    library = write_library(models / "speculate.toml", ["small"], max_tokens=24)

    def run(name: str, pipeline: str) -> tuple[Any, list[dict[str, Any]]]:
        folder = tmp_path / name
        folder.mkdir()
        flags = ("--passes", pipeline, "--record", "run.json")
        endpoint = f"small={server_small}"
        done, document = mkb(folder, ROUTED, questions(ASKED), library, endpoint, *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        return document["result"], calls(folder)

    plain, waited = run("plain", PLAIN)
    ahead, made = run("ahead", AHEAD)
    assert ahead == plain and len(plain) == ASKED
    assert _early(waited) == 0
    assert _early(made) == 2 * ASKED
    assert _comes_to_rest(server_small)  # what was given up is at work no more


def _early(made: list[dict[str, Any]]) -> int:
    """Return how many calls of branches began before the condition's call had ended."""
    ends = {_item(call): call["end_s"] for call in made if call["step"] == "weigh"}
    branches = [call for call in made if call["step"] in ("long", "short")]
    return sum(call["start_s"] < ends[_item(call)] for call in branches)


def _comes_to_rest(server: str) -> bool:
    for _ in range(100):
        if counted(server).running == 0:
            return True
        sleep(0.1)
    return False


def _item(call: dict[str, Any]) -> str:
    return str(call["instance"]).partition("[")[2]
