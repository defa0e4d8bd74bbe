"""From what runs record to what a plan predicts: starts, calls of servers, calls of tools."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from murakkab.runtime.profiling.records import record_rows
from murakkab.runtime.profiling.rows import profile_csv
from murakkab.runtime.record import RunRecord
from murakkab.targets.library import load_library
from murakkab.targets.profiles import load_profiles

BLANK = {"origin": "own", "start_s": None, "sleep_s": None, "wake_s": None}


def record(model: str, *servers: dict[str, Any], device: str = "cpu", tp: int = 0) -> RunRecord:
    engine = {"engine": "e", "model": model, "device": device, "tp": tp}
    engines = [{**engine, "servers": [BLANK | server for server in servers]}]
    return RunRecord({"engines": engines, "steps": []})


def with_calls(folder: Path, number: int, *, step: str = "text", **engine: Any) -> RunRecord:
    """Write calls of 2 s, four at a time, of 30 and 50 tokens."""
    path = folder / f"run-{number}.json"
    kept = folder / f"{path.name}.values"
    kept.mkdir()
    usage = {"prompt_tokens": 30, "output_tokens": 50}
    lines = [
        {"instance": step, "attempt": 1, "step": step, "engine": "e"}
        | {"start_s": 2.0 * n, "end_s": 2.0 * n + 2.0, "usage": usage}
        | {"result": {"sha256": "0" * 64}}
        for n in range(3)
        for _ in range(4)
    ]
    lines.append({**lines[0], "error": "broke", "end_s": 100.0})
    (kept / "calls.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    document = {
        "engines": [{"engine": "e", "servers": [BLANK], **engine}] if engine else [],
        "steps": [{"step": step, "executor": "webhook" if step == "sent" else None}],
    }
    return RunRecord(document, path)


def test_starts_are_medians_of_what_was_started() -> None:
    rows = record_rows(
        [
            record("b", {"start_s": 30.0}, {"start_s": 50.0}, device="A100", tp=2),
            record("b", {"start_s": 32.0, "sleep_s": 1.0, "wake_s": 0.5}, device="A100", tp=2),
            record("a", {"start_s": 12.345}),
            record("c", {"origin": "attached", "start_s": None}),
            record("d", {"origin": "warm", "wake_s": 2.0}),
        ]
    )
    assert profile_csv(rows).splitlines()[1:] == [
        "a,,cpu,0,12.3,,,vllm,,median of 1 start in run records",
        "b,,A100,2,32,1,0.5,vllm,,median of 3 starts in run records",
    ]


def test_calls_of_a_server_give_its_rate_and_the_requests_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    runs = [with_calls(tmp_path, n, model="m", device="cpu", tp=0) for n in range(2)]
    path.write_text(profile_csv(record_rows(runs)))
    (point,) = load_profiles([path], shipped=False).tokens["m", "cpu", 0]
    assert (point.isl_tok, point.osl_tok, point.in_flight) == (30.0, 50.0, 4.0)
    assert point.load_tokens_per_s == 100.0
    assert point.request_s == pytest.approx(2.0)
    assert point.source == "24 calls in run records"


def test_replicas_share_the_calls(tmp_path: Path) -> None:
    run = with_calls(tmp_path, 0, model="m", device="cpu", tp=0, servers=[BLANK, BLANK])
    (row,) = record_rows([run])
    assert (row["in_flight"], row["load_tokens_per_s"]) == ("2", "50")


def test_calls_of_a_tool_give_the_time_of_an_item(tmp_path: Path) -> None:
    tool = load_library().get("rapidocr")
    assert tool is not None
    tools = {"webhook": replace(tool, name="webhook", work=())}
    (row,) = record_rows([with_calls(tmp_path, 0, step="sent")], tools)
    assert (row["model"], row["latency_p50_s"], row["load_items_per_s"]) == ("webhook", "2", "2")
    assert row["source"] == "12 calls in run records"


def test_a_record_without_calls_gives_nothing() -> None:
    assert record_rows([record("m", {"origin": "attached"})]) == []
    assert profile_csv([]).startswith("model,")
