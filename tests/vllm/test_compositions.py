"""Compositions on a real server: what is asked, how often, and how sure it says that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .models import write_library
from .workflows import mkb

QUESTIONS = [f"Where does the {n}th train go?" for n in range(6)]
SOURCE = """
task city(question: Text) -> "Prague" | "Vienna" | "Brno"
    prompt "{question}"

workflow asked(questions: [Text]) -> ["Prague" | "Vienna" | "Brno"]
    expect len(questions) = 6
    expect questions.tokens = 180
{
    return for question in questions { yield city(question) with { PINS } }
}
"""
CASCADE = """
[[executor]]
name = "both"
kind = "composition"
composition = "cascade"
description = "small first"
members = ["small", "large"]
knobs = { threshold = [0.0, 1.0] }
escalates = [[0.0, 0.0], [1.0, 1.0]]
[executor.quality]
value = 1.0
metric = "none"
source = "weights are random"
"""


@pytest.fixture
def ask(server_small: str, models: Path, tmp_path: Path) -> Any:
    """Return what runs the workflow with pins; both models are the one that the server has."""
    library = write_library(models / "compositions.toml")
    library.write_text(library.read_text() + CASCADE)

    def run(pins: str) -> tuple[list[str], dict[str, int]]:
        source = SOURCE.replace("PINS", pins)
        more = ("--endpoint", f"large={server_small}/v1")
        done, document = mkb(tmp_path, source, QUESTIONS, library, f"small={server_small}", *more)
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(document["result"]) <= {"Prague", "Vienna", "Brno"}
        assert len(document["result"]) == len(QUESTIONS)
        steps = document["run"]["steps"]
        return document["result"], {step["task"]: 0 for step in steps} | _calls(steps)

    return run


def _calls(steps: list[dict[str, Any]]) -> dict[str, int]:
    calls: dict[str, int] = {}
    for step in steps:
        calls[step["task"]] = calls.get(step["task"], 0) + step["calls"]
    return calls


def test_a_vote_asks_no_more_than_it_takes(ask: Any) -> None:
    _, calls = ask('executor: "vote", votes: 3')
    assert 2 * len(QUESTIONS) <= calls["city"] <= 3 * len(QUESTIONS)


def test_a_reflection_drafts_once_and_revises_at_most_so_often(ask: Any) -> None:
    _, calls = ask('executor: "self-reflection", rounds: 2')
    assert calls["city"] == len(QUESTIONS)
    assert len(QUESTIONS) <= calls["city_revise"] <= 2 * len(QUESTIONS)


def test_a_cascade_goes_on_where_the_servers_probabilities_say_so(ask: Any) -> None:
    _, sure = ask('executor: "both", threshold: 0')
    assert sure == {"city_scored": len(QUESTIONS), "city": 0}
    _, never = ask('executor: "both", threshold: 1')
    assert never == {"city_scored": len(QUESTIONS), "city": len(QUESTIONS)}
