"""`--endpoint` on the command line: what it takes, and what it never shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Mkb

MkbJson = Callable[..., dict[str, Any]]
CANARY = "sk-canary-71c2"
NAME = "llama-3.1-8b"
MOOD = """task mood(review: Text) -> "good" | "bad" prompt "Is this review good? {review}"
workflow moods(review: Text) -> "good" | "bad" { return mood(review) }
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mood.mkb"
    path.write_text(MOOD)
    return str(path)


def test_an_endpoint_is_compiled_for(file: str, mkb_json: MkbJson) -> None:
    printed = mkb_json("compile", file, "--endpoint", f"{NAME}=http://h/v1/")
    assert printed["plan"]["engines"][0]["endpoint"]["url"] == "http://h/v1"


@pytest.mark.parametrize(
    "given",
    [
        [f"http://me:{CANARY}@h/v1"],
        [f"http://me:{CANARY}@h/v1?key=1"],
        [f"{NAME}=http://me:{CANARY}@h/v1"],
        [f"{NAME}=http://h/v1?key={CANARY}"],
        [f"={CANARY}"],
        [f"{NAME}=http://h/v1", f"{NAME}=http://{CANARY}/v1"],
    ],
)
def test_wrong_endpoints_are_not_repeated(given: list[str], file: str, mkb: Mkb) -> None:
    flags = [part for value in given for part in ("--endpoint", value)]
    result = mkb("compile", file, *flags, exit_code=2)
    assert "--endpoint" in result.output
    assert CANARY not in result.output
