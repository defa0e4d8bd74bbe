"""Arrival traces: what is read of them, and what is wrong with those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.targets.arrivals import Arrivals, load_arrivals


def trace(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text)
    return path


def test_a_column_of_a_trace(tmp_path: Path) -> None:
    path = trace(tmp_path, "start_s,chat,code\n0,10,1\n60,20,2\n120,0,3\n")
    assert load_arrivals(path, "chat") == Arrivals(60.0, (10.0, 20.0, 0.0))
    assert load_arrivals(path, "code").requests == (1.0, 2.0, 3.0)


def test_gaps_are_filled_on_demand(tmp_path: Path) -> None:
    path = trace(tmp_path, "start_s,chat\n60,\n120,10\n180,\n300,40\n360,\n")
    found = load_arrivals(path, "chat", "interpolate")
    assert found == Arrivals(60.0, (10.0, 10.0, 20.0, 30.0, 40.0, 40.0), filled=4)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "no column `start_s`"),
        ("start_s,chta\n0,1\n60,1\n", 1, "no column `chat`"),
        ("start_s,chat\n", 1, "fewer than two periods"),
        ("start_s,chat\n0,\n60,\n", 1, "fewer than two periods"),
        ("start_s,chat\n0,1\n60,-2\n", 3, "`chat` is `-2`; it must be a number of at least 0"),
        ("start_s,chat\n0,1\n60,nan\n", 3, "`chat` is `nan`"),
        ("start_s,chat\n0,1\n60,inf\n", 3, "`chat` is `inf`"),
        ("start_s,chat\nnoon,1\n60,2\n", 2, "`start_s` is `noon`"),
        ("start_s,chat\n0,1\n60,2\n60,3\n", 4, "not above that of the row before"),
        ("start_s,chat\n0,1\n60,2\n90,3\n200,3\n", 5, "no whole number of periods of 30 s"),
        ("start_s,chat\n0,1\n60\n", 3, "the row has 1 cells, the header 2"),
        ("start_s,chat\n0,1\n60,2\n180,3\n", 1, "has no requests for 1 of 4 periods, the first"),
    ],
)
def test_what_is_wrong_with_a_trace(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_arrivals(trace(tmp_path, text), "chat")
    first = caught.value.diagnostics[0]
    assert said in first.message
    assert first.id == "bad-trace"
    assert first.span is not None and first.span.line == line


def test_a_misspelt_column_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="chta"):
        load_arrivals(trace(tmp_path, "start_s,chta\n0,1\n60,1\n"), "chat")
