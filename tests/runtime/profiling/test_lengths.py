"""Lengths of requests: from a distribution, from a trace, within a model's context."""

from __future__ import annotations

from pathlib import Path
from random import Random
from statistics import fmean, median

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.runtime.profiling.lengths import Length, LogNormal, read_trace
from murakkab.runtime.profiling.prompts import PromptWriter


def test_log_normal_lengths_have_the_mean_and_the_tail_of_their_distribution() -> None:
    drawn = LogNormal(200.0, 100.0, 0.8).draw(400, Random(1))
    prompts = sorted(length.prompt for length in drawn)
    assert fmean(prompts) == pytest.approx(200.0, rel=0.02)
    assert median(prompts) == pytest.approx(200.0 / 1.377, rel=0.02)  # exp(0.8² / 2)
    assert fmean(length.output for length in drawn) == pytest.approx(100.0, rel=0.02)


def test_without_spread_all_are_equal() -> None:
    assert set(LogNormal(20.0, 10.0, 0.0).draw(8, Random(1))) == {Length(20, 10)}


def test_what_a_context_does_not_hold_is_shortened() -> None:
    assert Length(100, 100).within(None) == Length(100, 100)
    assert Length(100, 100).within(150) == Length(75, 75)
    assert Length(10, 1000).within(100) == Length(10, 90)
    assert Length(1000, 10).within(100) == Length(90, 10)


@pytest.mark.parametrize(
    "text",
    [
        "isl_tok,osl_tok\n10,5\n20,7\n0,3\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,10,5\n,20,7\n",
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,10,5,15,x\n6,ChatGPT,20,7,27,x\n7,ChatGPT,30,0,30,x\n",
    ],
)
def test_a_trace_gives_its_own_pairs(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    trace = read_trace(path)
    assert sorted(trace.draw(2, Random(0)), key=lambda x: x.prompt) == [
        Length(10, 5),
        Length(20, 7),
    ]
    assert len(trace.draw(5, Random(0))) == 5


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "a trace of requests has columns `isl_tok` and `osl_tok`"),
        ("a,b\n1,2\n", 1, "a trace of requests has columns `isl_tok` and `osl_tok`"),
        ("isl_tok,osl_tok\n", 1, "the trace has no requests"),
        ("isl_tok,osl_tok\n1,2\n1,many\n", 3, "`many` is not a number of tokens"),
        ("isl_tok,osl_tok\n1,2\n1\n", 3, "`` is not a number of tokens"),
        ("isl_tok,osl_tok\n-1,2\n", 2, "a number of tokens is below 0"),
    ],
)
def test_wrong_traces_are_told_with_the_place(
    text: str, line: int, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_trace(path)
    (found,) = caught.value.diagnostics
    assert found.message == message
    assert found.span is not None and found.span.line == line


def test_a_writer_meets_the_tokens_that_a_server_counts() -> None:
    writer = PromptWriter.fitted((8, 64), (8 * 5 + 7, 64 * 5 + 7))
    assert len(writer.write(107, Random(3)).split()) == 20
    assert writer.write(107, Random(3)) != writer.write(107, Random(4))
    assert writer.write(1, Random(3))
