"""Start-up figures: from what runs record to what a plan predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from murakkab.runtime.starts import start_profile
from murakkab.targets.profiles import load_profiles


def record(model: str, *servers: dict[str, Any], device: str = "cpu", tp: int = 0) -> Any:
    blank = {"origin": "own", "start_s": None, "sleep_s": None, "wake_s": None}
    engine = {"model": model, "device": device, "tp": tp}
    return {"engines": [{**engine, "servers": [blank | server for server in servers]}]}


def test_rows_are_medians_of_what_was_started(tmp_path: Path) -> None:
    text = start_profile(
        [
            record("b", {"start_s": 30.0}, {"start_s": 50.0}, device="A100", tp=2),
            record("b", {"start_s": 32.0, "sleep_s": 1.0, "wake_s": 0.5}, device="A100", tp=2),
            record("a", {"start_s": 12.345}),
            record("c", {"origin": "attached", "start_s": None}),
            record("d", {"origin": "warm", "wake_s": 2.0}),
        ]
    )
    assert text.splitlines()[1:] == [
        "a,,cpu,0,12.3,,,vllm,,median of 1 start in run records",
        "b,,A100,2,32,1,0.5,vllm,,median of 3 starts in run records",
    ]


def test_profiles_take_the_rows_back(tmp_path: Path) -> None:
    path = tmp_path / "starts.csv"
    path.write_text(start_profile([record("Qwen/Qwen3-8B", {"start_s": 21.0}, tp=0)]))
    assert load_profiles([path]).starts["Qwen/Qwen3-8B", "cpu", 0] == 21.0
