"""`mkb profile` on the command line: against a server, against none, with wrong flags."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from murakkab.targets.profiles import load_profiles

from ..runtime.profiling.model_server import ModelServer, model_server
from .conftest import Mkb
from .process import started

MkbJson = Callable[..., dict[str, Any]]
QUICK = ("--requests", "8", "--repeats", "2", "--isl", "30", "--osl", "10", "--spread", "0")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server(slots=8) as running:
        yield running


def test_a_server_is_measured_and_its_profile_compiled_with(
    server: ModelServer, mkb: Mkb, tmp_path: Path
) -> None:
    flags = ("--loads", "1,4", "--device", "cpu", "--as", "org/m", *QUICK)
    result = mkb("profile", "--endpoint", server.url, *flags, "-o", "p.csv")
    assert "1 at once" in result.stdout and "first token" in result.stdout
    assert "wrote `p.csv`" in result.stderr
    found = load_profiles([tmp_path / "p.csv"], shipped=False).tokens["org/m", "cpu", 0]
    assert found and found[0].source.startswith("mkb profile")
    document = json.loads((tmp_path / "p.csv.json").read_text())
    assert document["schema"] == "murakkab/profile/1"
    assert document["subject"]["engine_version"] == "9.9"
    # how many were really in flight depends on the machine; never more than the load
    one, four = (point["in_flight"] for point in document["points"])
    assert one <= 1.01 < four <= 4.01
    low = document["points"][0]["tokens_per_s"]
    assert low["low"] <= low["value"] <= low["high"]


def test_other_rows_of_the_file_stay(server: ModelServer, mkb: Mkb, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(
        "model,device,tp,load_tokens_per_s,tpot_p50_ms,start_s,source\n"
        "other,cpu,0,10,100,,ours\nstand-in,remote,0,10,100,,ours\nother,cpu,0,,,3,ours\n"
    )
    mkb("profile", "--endpoint", server.url, "--loads", "2", *QUICK, "-o", "p.csv")
    profiles = load_profiles([path], shipped=False)
    assert set(profiles.tokens) == {("other", "cpu", 0), ("stand-in", "remote", 0)}
    assert profiles.tokens["stand-in", "remote", 0][0].source.startswith("mkb profile, 20")
    assert profiles.starts == {("other", "cpu", 0): 3.0}


def test_json_holds_the_profile_where_no_file_is_named(
    server: ModelServer, mkb_json: MkbJson
) -> None:
    document = mkb_json("profile", "--endpoint", server.url, "--loads", "2", *QUICK)
    assert document["csv"].startswith("model,")
    assert document["points"][0]["load"] == {"kind": "closed", "level": 2.0}


def test_what_is_measured_before_a_failure_is_kept(mkb: Mkb, tmp_path: Path) -> None:
    with model_server(good=30) as server:
        flags = ("--loads", "1,2,4", *QUICK, "-o", "p.csv")
        result = mkb("profile", "--endpoint", server.url, *flags, exit_code=3)
    assert "answered 500: out of order" in result.stderr
    assert "finished and kept in `p.csv`: 1 at once" in result.stderr
    assert len(load_profiles([tmp_path / "p.csv"], shipped=False).tokens) == 1


def test_an_interrupt_keeps_what_is_finished(server: ModelServer, tmp_path: Path) -> None:
    server.step_s = 0.005
    command = ("profile", "--endpoint", server.url, "--loads", "1,2", *QUICK)
    process = started(tmp_path, *command, "--requests", "10", "-o", "p.csv")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("1 at once:"):
            break
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "finished and kept in `p.csv`: 1 at once" in told and "interrupted" in told
    (found,) = load_profiles([tmp_path / "p.csv"], shipped=False).tokens.values()
    assert len(found) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give one of `--endpoint URL`, `--launch MODEL` and `--executor NAME`"),
        (("--endpoint", "http://h/v1", "--launch", "m"), "give one of"),
        (("--endpoint", "h:80"), "it is not an `http://` or `https://` URL"),
        (("--endpoint", "http://h/v1", "--loads", "1,-4"), "`--loads`: `-4` is not a whole number"),
        (("--endpoint", "http://h/v1", "--loads", "0.5"), "`0.5` is not a whole number above 0"),
        (("--endpoint", "http://h/v1", "--loads", ""), "`` is not a whole number above 0"),
        (("--endpoint", "http://h/v1", "--rates", "nan"), "`nan` is not a number above 0"),
        (("--endpoint", "http://h/v1", "--isl", "nan"), "`--isl`: `nan` is not a number of tokens"),
        (("--endpoint", "http://h/v1", "--osl", "-5"), "`--osl`"),
        (("--endpoint", "http://h/v1", "-o", "."), "`.`"),
        (("--endpoint", "http://h/v1", "--time", "5 J"), "`5 J` is not a time"),
        (("--endpoint", "http://h/v1", "--tp", "2"), "`--tp` counts GPUs"),
        (("--endpoint", "http://h/v1", "--key-env", "NO_KEY"), "`NO_KEY` is not set"),
        (("--endpoint", "http://h/v1", "--trace", "ask.mkb", "--isl", "5"), "`--trace` says all"),
        (("--endpoint", "http://h/v1", "--trace", "ask.mkb"), "a trace of requests has columns"),
        (("--endpoint", "http://h/v1", "-o", "no/p.csv"), "cannot write `no/p.csv`"),
        (("--endpoint", "http://h/v1", "-o", "ask.mkb"), "unknown column"),
        (("--endpoint", "http://h/v1", "--gpus", "a"), "`a` is not a list of numbers"),
        (("--launch", "m", "--model", "n"), "`--model` is about endpoints"),
        (("--launch", "rapidocr"), "`rapidocr` is of runner `python`"),
    ],
)
def test_wrong_flags_are_one_clear_error(flags: tuple[str, ...], message: str, mkb: Mkb) -> None:
    result = mkb("profile", *flags, exit_code=2)
    assert message in result.stderr


def test_servers_that_cannot_be_measured_are_one_clear_error(server: ModelServer, mkb: Mkb) -> None:
    wrong = mkb("profile", "--endpoint", server.url, "--model", "gpt", exit_code=3)
    assert f"`{server.url}` serves `stand-in`, not `gpt`" in wrong.stderr
    assert "--model NAME" in wrong.stderr
    elsewhere = server.url.replace("/v1", "/api")
    lost = mkb("profile", "--endpoint", elsewhere, "--model", "m", exit_code=3)
    assert "answered 404" in lost.stderr
    nobody = mkb("profile", "--endpoint", "http://127.0.0.1:9/v1", exit_code=3)
    assert "cannot be reached" in nobody.stderr
    with model_server(names=("a", "b")) as several:
        unclear = mkb("profile", "--endpoint", several.url, exit_code=3)
    assert "serves `a`, `b`" in unclear.stderr


def test_a_tool_is_measured(mkb: Mkb, tmp_path: Path) -> None:
    flags = ("--executor", "textrank", "--loads", "1", "--requests", "4", "--repeats", "2")
    result = mkb("profile", *flags, "-o", "p.csv")
    assert "an item" in result.stdout and "ready after" in result.stderr
    profiles = load_profiles([tmp_path / "p.csv"], shipped=False)
    assert set(profiles.items) == set(profiles.starts) == {("textrank", "cpu", 0)}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--executor", "textrnk"), "no executor is named `textrnk`"),
        (("--executor", "llama-3.1-8b"), "is of runner `vllm`"),
        (("--executor", "rapidocr"), "`read_text` takes frames: [Image], which is not made up"),
        (("--executor", "textrank", "--input", "no.json"), "cannot use `no.json`"),
        (("--executor", "textrank", "--tp", "2"), "`--tp` is about servers"),
        (("--launch", "m", "--input", "f"), "give `--executor NAME`"),
    ],
)
def test_wrong_tools_are_one_clear_error(flags: tuple[str, ...], message: str, mkb: Mkb) -> None:
    assert message in mkb("profile", *flags, exit_code=2).stderr
