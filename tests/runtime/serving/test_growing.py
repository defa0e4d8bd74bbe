"""Lists that are read while they are written: the items, however the text is cut into pieces."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.ir.types import INT, TEXT, ListOf, Record, Type
from murakkab.runtime.serving.growing import GrowingList
from murakkab.runtime.serving.structured import read_answer
from murakkab.runtime.values import ValueProblem

from .test_structured import TYPES, values

NAMED = Record((("name", TEXT), ("tags", ListOf(TEXT))))
LISTS = TYPES.flatmap(lambda item: st.tuples(st.just(item), st.lists(values(item), max_size=4)))
FORMS = (
    '{{"result": {}}}',
    '  {{ "result" :\n{} }}\n',
    "{}",
    '```json\n{{"result": {}}}\n```',
    '<think>Is it [1, 2]? {{"result": [</think>\n{{"result": {}}}',
)


def fed(item: Type, pieces: list[str]) -> list[Any]:
    growing = GrowingList(item)
    return [found for piece in pieces for found in growing.feed(piece)]


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in pairwise(places)]


@given(LISTS, st.sampled_from(FORMS), st.lists(st.integers(0)), st.booleans())
def test_the_items_are_those_of_the_whole_answer(
    typed: tuple[Type, list[Any]], form: str, cuts: list[int], plain: bool
) -> None:
    item, wanted = typed
    answer = form.format(json.dumps(wanted, ensure_ascii=plain))
    assert fed(item, pieces_of(answer, cuts)) == wanted
    assert fed(item, list(answer)) == wanted
    assert read_answer(ListOf(item), answer) == wanted


_SHARDS = st.sampled_from(
    [*'{}[]",:.-e01\\', "true", '{"result":[', '{"result": [1, 2', "\\ud83d", "<think>", "\n"]
)


@given(TYPES, st.text() | st.lists(_SHARDS, max_size=40).map("".join), st.lists(st.integers(0)))
def test_what_an_answer_turns_out_to_hold_begins_with_what_was_found_in_it(
    item: Type, text: str, cuts: list[int]
) -> None:
    found = fed(item, pieces_of(text, cuts))
    try:
        whole = read_answer(ListOf(item), text)
    except ValueProblem:
        return
    assert whole[: len(found)] == found


def test_an_item_is_there_as_soon_as_it_has_ended() -> None:
    growing = GrowingList(NAMED)
    assert growing.feed('{"result": [{"name": "a, ]}", "tags": ["x", "\\"') == []
    assert growing.feed('"]}') == []
    assert growing.feed(",") == [{"name": "a, ]}", "tags": ["x", '"']}]
    assert growing.feed(' {"name": "b", "tags": []}]}') == [{"name": "b", "tags": []}]


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ('{"result": [1, "two", 3]}', [1]),
        ('{"result": [1, 2 3, 4]}', [1]),
        ("[1, , 2]", [1]),
        ("[1, 2}, 3]", [1]),
        ('{"result": 1}', []),
        ('{"other": [1, 2]}', []),
        ("Sure: [1, 2]", []),
        ("[]", []),
        ("[1, 2] and [3, 4]", [1, 2]),
    ],
)
def test_nothing_is_taken_from_beyond_what_is_wrong(answer: str, wanted: list[int]) -> None:
    assert fed(INT, list(answer)) == wanted
