"""Tools: what a call counts as, what it is made of, and how long an item takes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.ir.ops import Value
from murakkab.ir.types import TEXT, Base, ListOf, Record
from murakkab.ir.workflow import Task
from murakkab.runtime.errors import CallFailed
from murakkab.runtime.media import Media
from murakkab.runtime.profiling.load import Effort
from murakkab.runtime.profiling.measuring import cases_of, size_of
from murakkab.runtime.profiling.rows import profile_csv
from murakkab.runtime.profiling.tools import Tool, ToolPoint, bench, tool_rows
from murakkab.targets.library import Executor, load_library
from murakkab.targets.profiles import load_profiles

SUMMARIZE = Task("summarize", (Value("text", TEXT),), TEXT)
SEARCH = Task("search", (Value("query", TEXT), Value("passages", ListOf(TEXT))), ListOf(TEXT))
LIBRARY = """[[executor]]
name = "mine"
implements = "summarize"
description = "Repeats a text"
runner = "python"
entry = "repeat"
file = "mine.py"
devices = ["cpu"]
quality = { value = 0.5, metric = "none", source = "test" }
work = { items = "tokens(text) / 10" }
"""
CODE = """import time
def repeat(text):
    if text == "bad":
        raise ValueError("no good")
    time.sleep(0.005)
    return text
"""


@pytest.fixture
def mine(tmp_path: Path) -> Executor:
    (tmp_path / "l.toml").write_text(LIBRARY)
    (tmp_path / "mine.py").write_text(CODE)
    found = load_library([tmp_path / "l.toml"]).get("mine")
    assert found is not None
    return found


def measured(tool: Tool, *levels: int) -> tuple[float, list[ToolPoint]]:
    async def main() -> tuple[float, list[ToolPoint]]:
        async with bench(tool, max(levels)) as ready:
            effort = Effort(requests=6, repeats=2)
            return ready.start_s, [await ready.measured(level, effort) for level in levels]

    return asyncio.run(main())


def test_a_tool_is_measured_by_item_and_its_rows_can_be_read(
    mine: Executor, tmp_path: Path
) -> None:
    tool = Tool(mine, SUMMARIZE, ({"text": "x" * 80},))  # 20 tokens, 2 items
    start_s, points = measured(tool, 1, 2)
    assert start_s > 0.0
    one, two = points
    assert one.items == 2.0 and one.calls == 12
    assert one.latency_s["p50"].value >= 0.0025
    assert two.items == 2.0 and two.items_per_s.value > 0.0
    path = tmp_path / "p.csv"
    path.write_text(profile_csv(tool_rows(mine, points, start_s)))
    profiles = load_profiles([path], shipped=False)
    assert profiles.starts["mine", "cpu", 0] == pytest.approx(start_s, rel=1e-3)
    assert profiles.items["mine", "cpu", 0][0].latency_s[0] == pytest.approx(
        one.latency_s["p50"].value, rel=1e-3
    )


def test_a_tool_that_fails_tells_why(mine: Executor) -> None:
    with pytest.raises(CallFailed, match="raised ValueError: no good"):
        measured(Tool(mine, SUMMARIZE, ({"text": "bad"},)), 1)


def test_inputs_are_files_or_objects_of_parameters(tmp_path: Path) -> None:
    text, many = tmp_path / "a.txt", tmp_path / "many.json"
    text.write_text("a text")
    many.write_text(json.dumps([{"query": "q", "passages": ["a", "b"]}]))
    assert cases_of(SUMMARIZE, [text]) == ({"text": "a text"},)
    assert cases_of(SEARCH, [many]) == ({"query": "q", "passages": ["a", "b"]},)
    made_up = cases_of(SEARCH, [])[0]
    assert len(made_up["passages"]) == 5
    assert size_of(TEXT, made_up["query"]).tokens == pytest.approx(100.0, rel=0.02)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "text", "cannot be all of that"),
        ("a.json", "", "it is not JSON"),
        ("a.json", "[]", "it is no object of query: Text, passages: [Text]"),
        ("a.json", '{"query": "q"}', "`passages` is missing"),
        ("a.json", '{"query": "q", "passages": [], "k": 1}', "`k` is no parameter"),
        ("a.json", '{"query": "q", "passages": 3}', "expected"),
    ],
)
def test_wrong_inputs_are_one_clear_error(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        cases_of(SEARCH, [path])
    assert message in caught.value.diagnostics[0].message


def test_media_are_not_made_up() -> None:
    read = Task("read_text", (Value("frames", ListOf(Base("Image"))),), TEXT)
    with pytest.raises(InputError, match="which is not made up"):
        cases_of(read, [])


@pytest.mark.parametrize(
    ("kind", "value", "fact", "expected"),
    [
        (
            ListOf(Base("Image")),
            [Media("image", data=b"1"), Media("image", data=b"22")],
            "images",
            2,
        ),
        (ListOf(TEXT), ["abcd", "abcdefgh"], "tokens", 3),
        (ListOf(TEXT), ["abcd"] * 7, "len", 7),
        (
            Record((("start", Base("Float")), ("end", Base("Float")))),
            {"start": 2.0, "end": 7.0},
            "duration",
            5,
        ),
    ],
)
def test_sizes_of_values(kind: Any, value: Any, fact: str, expected: float) -> None:
    assert size_of(kind, value).total(fact) == expected
