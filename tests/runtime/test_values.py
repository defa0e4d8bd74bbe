"""Inputs by declared type, checks of values, encoding and digests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from murakkab.ir.types import (
    BOOL,
    FLOAT,
    INT,
    JSON,
    TEXT,
    Base,
    ListOf,
    Record,
    Type,
    enum,
    option,
)
from murakkab.runtime.media import Media
from murakkab.runtime.values import (
    ValueProblem,
    check_value,
    digest,
    encode,
    from_json,
    parse_input,
)

VIDEO, FILE, EMBEDDING = Base("Video"), Base("File"), Base("Embedding")
NOTE = Record((("text", TEXT), ("score", option(FLOAT))))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (TEXT, '{"not": "parsed"} ', '{"not": "parsed"} '),
        (TEXT, "", ""),
        (TEXT, "@@home", "@home"),
        (TEXT, "@words.txt", "from a file\n"),
        (INT, "-3", -3),
        (FLOAT, "2", 2),
        (FLOAT, "2.5e1", 25.0),
        (BOOL, "true", True),
        (enum(("low", "high")), "low", "low"),
        (option(INT), "none", None),
        (option(INT), "7", 7),
        (option(TEXT), "seven", "seven"),
        (JSON, '{"a": [1, null]}', {"a": [1, None]}),
        (ListOf(TEXT), '["a", "b"]', ["a", "b"]),
        (ListOf(INT), "@numbers.json", [1, 2]),
        (NOTE, '{"text": "a"}', {"text": "a", "score": None}),
        (NOTE, '{"score": 1, "text": "a"}', {"text": "a", "score": 1}),
    ],
)
def test_an_input_is_read_by_its_declared_type(
    kind: Type, text: str, value: Any, tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text("from a file\n")
    (tmp_path / "numbers.json").write_text("[1, 2]")
    assert parse_input(kind, text, tmp_path) == value


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        (INT, "3.0", "expected Int, got 3.0"),
        (INT, "true", "expected Int, got True"),
        (INT, "three", "expected Int, written as JSON: "),
        (FLOAT, "NaN", "expected a finite Float, got nan"),
        (BOOL, "1", "expected Bool, got 1"),
        (enum(("low", "high")), "mid", """expected one of "high" | "low", got 'mid'"""),
        (ListOf(INT), "[1, null]", "in item 1: expected Int, got none"),
        (NOTE, '{"text": "a", "sore": 1}', "got a record with `score`, `text`, `sore`"),
        (NOTE, '{"text": "a", "score": "x"}', "in field `score`: expected Float, got 'x'"),
        (JSON, "[" * 100_000, "expected Json, written as JSON: "),
        (VIDEO, "absent.mp4", "expected Video: `absent.mp4` does not exist"),
        (VIDEO, ".", "expected Video: `.` is not a file"),
        (VIDEO, "a\0b", "is not a path"),
        (TEXT, "@absent.txt", "`absent.txt` does not exist"),
        (TEXT, "@latin.txt", "`latin.txt` is not UTF-8 text (byte 0)"),
    ],
)
def test_an_input_that_does_not_fit_says_why(
    kind: Type, text: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9")
    with pytest.raises(ValueProblem) as caught:
        parse_input(kind, text, tmp_path)
    assert problem in str(caught.value)


def test_a_medium_is_a_readable_file_found_from_the_base_folder(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"frames")
    found = parse_input(VIDEO, "a.mp4", tmp_path)
    assert found == Media("video", path=str(tmp_path / "a.mp4"))
    inside = from_json(ListOf(Record((("v", VIDEO),))), [{"v": "a.mp4"}], tmp_path)
    assert inside == [{"v": found}]


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        (TEXT, "a", None),
        (TEXT, b"a", "expected Text, got a Python `bytes`"),
        (VIDEO, Media("image", data=b""), "expected Video, got image `image of 0 bytes`"),
        (FILE, Media("image", data=b""), None),
        (EMBEDDING, [0.5, 1], None),
        (EMBEDDING, np.zeros(3), None),
        (EMBEDDING, np.zeros((3, 3)), "expected Embedding (a list of numbers)"),
        (ListOf(TEXT), ("a",), "expected [Text], got a tuple of 1"),
        (JSON, {"a": {1}}, "expected Json, got a Python `set`"),
        (FLOAT, float("inf"), "expected a finite Float, got inf"),
        (TEXT, 2**16000, "expected Text, got an integer of 16001 bits"),
        (INT, -(2**63), None),
        (INT, 2**63, "expected Int of 64 bits, got 9223372036854775808"),
    ],
    ids=lambda value: "number" if isinstance(value, int) else None,  # too long to be a name
)
def test_values_are_checked_against_types(kind: Type, value: Any, problem: str | None) -> None:
    found = check_value(kind, value)
    if problem is None:
        assert found is None
    else:
        assert found is not None
        assert problem in found


def test_media_are_encoded_by_digest_and_the_digest_does_not_depend_on_their_place(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"pixels")
    on_disk, in_memory = Media("image", path=str(path)), Media("image", data=b"pixels")
    assert encode([on_disk]) == [
        {"media": "image", "sha256": in_memory.digest(), "path": str(path)}
    ]
    assert encode(in_memory) == {"media": "image", "sha256": in_memory.digest(), "bytes": 6}
    assert digest({"frames": [on_disk]}) == digest({"frames": [in_memory]})
    path.write_bytes(b"other pixels")
    assert digest(on_disk) != digest(in_memory)


def test_a_digest_does_not_depend_on_the_order_of_fields() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest([1, 2]) != digest([2, 1])
