"""Runs attached to a real server through a proxy that breaks requests: none lost, none twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .models import write_library
from .proxy import Fault, FaultProxy
from .served import free_port
from .workflows import ASK, LIST, SORT, mkb, questions


@pytest.fixture(scope="session")
def only_small(models: Path) -> Path:
    return write_library(models / "small.toml", ["small"])


def test_a_fan_out_of_200_calls_asks_each_question_once(
    proxy: FaultProxy, only_small: Path, tmp_path: Path
) -> None:
    done, document = mkb(tmp_path, ASK, questions(200), only_small, f"small={proxy.url}")
    assert done.returncode == 0, done.stderr
    assert len(document["result"]) == 200
    assert len(proxy.arrived) == 200 and set(proxy.arrived.values()) == {1}
    assert proxy.delivered == proxy.arrived
    assert proxy.most_at_once > 8


FAULTS = {
    "too many requests": Fault("status", status=429, retry_after_s=0.2),
    "internal error": Fault("status", status=500),
    "unavailable": Fault("status", status=503),
    "reset": Fault("reset"),
    "cut": Fault("cut"),
    "malformed": Fault("malformed"),
    "html": Fault("html"),
    "garbage": Fault("garbage"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_what_breaks_once_is_asked_again_and_nothing_else_is(
    fault: Fault, proxy: FaultProxy, only_small: Path, tmp_path: Path
) -> None:
    proxy.plan([Fault(), Fault(), fault])
    done, document = mkb(tmp_path, ASK, questions(20), only_small, f"small={proxy.url}")
    assert done.returncode == 0, done.stderr
    assert len(document["result"]) == 20 and proxy.pending == 0
    assert sorted(proxy.arrived.values()) == [1] * 19 + [2]
    assert len(proxy.delivered) == 20 and set(proxy.delivered.values()) == {1}


def test_a_result_type_is_enforced_by_the_server(
    server_small: str, only_small: Path, tmp_path: Path
) -> None:
    asked = questions(20)
    done, document = mkb(tmp_path, SORT, asked, only_small, f"small={server_small}")
    assert done.returncode == 0, done.stderr
    assert len(document["result"]) == 20
    for found in document["result"]:
        assert found["city"] in ("Prague", "Vienna") and isinstance(found["urgent"], bool)


@pytest.fixture(scope="session")
def rambling(models: Path) -> Path:
    """A library whose model ends its lists after a while, as one drawn at random does."""
    return write_library(models / "rambling.toml", ["small"], max_tokens=256, temperature=1.0)


def calls(folder: Path, step: str) -> list[Any]:
    # by line feeds alone: texts that are drawn at random hold all that `splitlines` takes for ends
    lines = (folder / "run.json.values" / "calls.jsonl").read_text().rstrip("\n").split("\n")
    return [call for call in map(json.loads, lines) if call["step"] == step]


def test_the_items_of_a_list_are_worked_on_while_the_model_writes_it(
    server_small: str, rambling: Path, tmp_path: Path
) -> None:
    endpoint = f"small={server_small}"
    done, document = mkb(tmp_path, LIST, questions(24), rambling, endpoint, "--record", "run.json")
    assert done.returncode == 0, done.stderr
    ended = {call["instance"].removeprefix("found"): call for call in calls(tmp_path, "found")}
    told = [call for call in calls(tmp_path, "text") if "result" in call]
    assert len({call["instance"] for call in told}) == len(told)
    assert len(told) == sum(len(call["result"]["value"]) for call in ended.values())
    assert len(told) == sum(map(len, document["result"]))
    early = [t for t in told if t["start_s"] < ended[t["instance"][4:].rpartition("[")[0]]["end_s"]]
    assert early


def test_a_list_that_is_cut_off_is_continued_and_no_item_is_worked_on_twice(
    proxy: FaultProxy, rambling: Path, tmp_path: Path
) -> None:
    proxy.plan([Fault("cut")] * 6)
    endpoint = f"small={proxy.url}"
    done, document = mkb(tmp_path, LIST, questions(24), rambling, endpoint, "--record", "run.json")
    assert done.returncode == 0, done.stderr
    found = calls(tmp_path, "found")
    assert len([call for call in found if "error" in call]) == 6
    lengths = {c["instance"]: len(c["result"]["value"]) for c in found if "result" in c}
    assert sorted(lengths.values()) == sorted(map(len, document["result"]))
    told = [call["instance"] for call in calls(tmp_path, "text") if "result" in call]
    assert len(told) == len(set(told)) == sum(lengths.values())


def test_a_server_that_always_fails_ends_the_run_with_the_cause(
    proxy: FaultProxy, only_small: Path, tmp_path: Path
) -> None:
    proxy.plan([Fault("status", status=500)] * 50)
    done, document = mkb(tmp_path, ASK, questions(1), only_small, f"small={proxy.url}")
    assert done.returncode == 3
    message = document["diagnostics"][-1]["message"]
    assert "`small`" in message and "500" in message and proxy.url in message
    assert "Question 0000" not in done.stderr + done.stdout


def test_a_call_that_is_never_answered_is_given_up_and_asked_again(
    proxy: FaultProxy, models: Path, tmp_path: Path
) -> None:
    library = write_library(models / "hasty.toml", ["small"], timeout_s=5)
    proxy.plan([Fault("silent")])
    done, document = mkb(tmp_path, ASK, questions(5), library, f"small={proxy.url}")
    assert done.returncode == 0, done.stderr
    assert len(document["result"]) == 5
    assert sorted(proxy.arrived.values()) == [1] * 4 + [2]
    assert set(proxy.delivered.values()) == {1}


def test_an_endpoint_where_nothing_listens_is_told(only_small: Path, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done, document = mkb(tmp_path, ASK, questions(1), only_small, f"small={url}")
    assert done.returncode == 3
    message = document["diagnostics"][-1]["message"]
    assert "`small`" in message and url in message and "cannot be reached" in message
