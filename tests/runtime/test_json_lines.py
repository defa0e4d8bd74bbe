"""Lists in JSON Lines files: what is read, and what is said of lines that are no items."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from murakkab.ir.types import Base, ListOf, Record, Type
from murakkab.runtime.json_lines import LineProblem, open_lines
from murakkab.runtime.values import ValueProblem, check_value, digest, from_json

TEXT, INT = Base("Text"), Base("Int")
PAIR = Record((("id", INT), ("text", TEXT)))
records = st.lists(st.fixed_dictionaries({"id": st.integers(-9, 2**40), "text": st.text()}))


def opened(tmp_path: Path, content: str | bytes, kind: Type = INT) -> Any:
    path = tmp_path / "items.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_lines(kind, path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(records, st.sampled_from(["\n", "\r\n", "\n\n", "  \n"]), st.booleans())
def test_a_list_in_a_file_is_the_list(
    tmp_path: Path, items: list[dict[str, Any]], end: str, ascii_only: bool
) -> None:
    lines = opened(
        tmp_path, "".join(json.dumps(i, ensure_ascii=ascii_only) + end for i in items), PAIR
    )
    assert list(lines) == items and len(lines) == len(items)
    assert lines[-2:] == items[-2:]
    assert digest(lines) == digest(items)  # so either form is the same input
    assert check_value(ListOf(PAIR), lines) is None
    assert check_value(ListOf(INT), lines) is not None


def test_the_last_line_needs_no_end_and_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    assert list(opened(tmp_path, b"\xef\xbb\xbf1\n2")) == [1, 2]


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("1\n\ntwo\n", 3, "is not JSON: expecting value"),
        ('1\n"two"\n', 2, "expected Int, got 'two'"),
        ("1\n2 3\n", 2, "is not JSON: extra data"),
        (b"1\n\xff\n", 2, "is not UTF-8 text (byte 0)"),
        ("[" * 100_000, 1, "is nested too deep"),
        ("9" * 5000, 1, "holds an integer of thousands of digits"),
    ],
)
def test_a_line_that_is_no_item_is_named(
    tmp_path: Path, content: str | bytes, line: int, said: str
) -> None:
    with pytest.raises(LineProblem) as caught:
        opened(tmp_path, content)
    assert caught.value.line == line and said in caught.value.reason
    assert str(caught.value).startswith(f"`{tmp_path / 'items.jsonl'}:{line}`: ")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name, said in (("gone.jsonl", "does not exist"), ("pipe.jsonl", "is not a file")):
        with pytest.raises(ValueProblem, match=said):
            open_lines(INT, tmp_path / name)


def test_media_stand_beside_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "b.png").write_bytes(b"b")
    image = Base("Image")
    lines = opened(tmp_path, '"a.png"\n"b.png"\n', image)
    assert [medium.read() for medium in lines] == [b"a", b"b"]
    assert digest(lines) == digest(from_json(ListOf(image), ["a.png", "b.png"], tmp_path))
    (tmp_path / "b.png").unlink()
    with pytest.raises(OSError, match=r"item 1 of .* does not exist"):
        lines[1]


def test_a_file_that_changes_while_it_is_read_gives_no_items(tmp_path: Path) -> None:
    lines = opened(tmp_path, "1\n2\n")
    with (tmp_path / "items.jsonl").open("a") as file:
        file.write("3\n")
    with pytest.raises(OSError, match="has changed while it was read"):
        lines[0]
