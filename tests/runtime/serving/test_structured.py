"""Schemas of results, and what may and may not be read out of an answer."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.ir.types import (
    BOOL,
    FLOAT,
    INT,
    JSON,
    NEVER,
    TEXT,
    Base,
    ListOf,
    Record,
    Type,
    enum,
    option,
)
from murakkab.runtime.serving.structured import (
    read_answer,
    repair_messages,
    response_format,
    unsupported_result,
)
from murakkab.runtime.values import ValueProblem, check_value

MOOD = enum(("good", "bad"))
PERSON = Record((("name", TEXT), ("age", option(INT)), ("moods", ListOf(MOOD))))

_NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
_LEAVES = st.sampled_from([TEXT, INT, FLOAT, BOOL, JSON]) | st.lists(
    st.text(max_size=6).filter(lambda text: text.isprintable()), min_size=1, max_size=3
).map(lambda values: enum(tuple(values)))


def _made_of(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    fields = st.lists(st.tuples(_NAMES, inner), max_size=4, unique_by=lambda field: field[0])
    records = fields.map(lambda found: Record(tuple(found)))
    return inner.map(ListOf) | inner.map(option) | records


TYPES = st.recursive(_LEAVES, _made_of, max_leaves=6)
_LARGEST = 2**63 - 1024  # of what is asked for; more is read
_INTS = st.integers(-_LARGEST, _LARGEST)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | _INTS | _FLOATS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "Text": st.text(max_size=20),
    "Int": _INTS,
    "Float": _FLOATS | _INTS,
    "Bool": st.booleans(),
    "Json": _JSON,
}


def values(kind: Type) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of a type."""
    if isinstance(kind, Base):
        return _SCALARS[kind.name]
    if isinstance(kind, ListOf):
        return st.lists(values(kind.item), max_size=3)
    if isinstance(kind, Record):
        return st.fixed_dictionaries({name: values(item) for name, item in kind.fields})
    if hasattr(kind, "values"):
        return st.sampled_from(kind.values)
    return st.none() | values(kind.item)


TYPED = TYPES.flatmap(lambda kind: st.tuples(st.just(kind), values(kind)))


def schema(kind: Type) -> Any:
    form = response_format(kind)
    assert form is not None
    return form["json_schema"]["schema"]


@given(TYPED)
def test_what_fits_a_type_fits_its_schema_and_is_read_back(typed: tuple[Type, Any]) -> None:
    kind, value = typed
    if kind == TEXT:
        assert read_answer(kind, f" {value}\n") == value.strip()
        return
    answer = value if isinstance(kind, Record) else {"result": value}
    jsonschema.Draft202012Validator(schema(kind)).validate(answer)
    assert read_answer(kind, json.dumps(answer)) == value
    fenced = f"\n```json\n{json.dumps(answer, indent=1, ensure_ascii=False)}\n```\n"
    assert read_answer(kind, fenced) == value


_SHARDS = st.sampled_from(
    [*'{}[]",:.-e0195\\', "NaN", "null", "true", '"result":', "\\ud83d", "\ud800", "```", "\n", "é"]
)


@given(TYPES, st.text() | st.lists(_SHARDS, max_size=40).map("".join))
def test_garbage_is_refused_or_read_but_never_anything_else(kind: Type, text: str) -> None:
    try:
        value = read_answer(kind, text)
    except ValueProblem as problem:
        assert str(problem)
        return
    assert check_value(kind, value) is None
    json.dumps(value, ensure_ascii=False).encode()


@given(TYPED, st.data())
def test_a_damaged_answer_is_refused_or_read_but_never_anything_else(
    typed: tuple[Type, Any], data: st.DataObject
) -> None:
    kind, value = typed
    text = json.dumps(value if isinstance(kind, Record) else {"result": value})
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(_SHARDS | st.just("")) + text[at + 1 :]
    try:
        assert check_value(kind, read_answer(kind, damaged)) is None
    except ValueProblem as problem:
        assert str(problem)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (INT, {"type": "integer", "minimum": -_LARGEST, "maximum": _LARGEST}),
        (option(TEXT), {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (MOOD, {"type": "string", "enum": ["bad", "good"]}),
        (ListOf(BOOL), {"type": "array", "items": {"type": "boolean"}}),
        (option(JSON), {}),
    ],
)
def test_what_is_no_record_is_wrapped_in_one(kind: Type, expected: object) -> None:
    assert schema(kind) == {
        "type": "object",
        "properties": {"result": expected},
        "required": ["result"],
        "additionalProperties": False,
    }


def test_the_fields_of_a_record_are_all_required_and_no_others_allowed() -> None:
    found = schema(PERSON)
    assert list(found["properties"]) == found["required"] == ["name", "age", "moods"]
    assert found["additionalProperties"] is False


def test_text_is_free_and_only_json_keeps_a_schema_from_being_strict() -> None:
    assert response_format(TEXT) is None
    strict = {kind: response_format(kind) for kind in (PERSON, JSON, ListOf(option(JSON)))}
    assert [form and form["json_schema"]["strict"] for form in strict.values()] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("inner", [Base("Image"), Base("Embedding"), Base("Index"), NEVER])
def test_what_no_text_can_stand_for_is_refused_wherever_it_is(inner: Type) -> None:
    for kind in (inner, ListOf(inner), option(inner), Record((("a", INT), ("b", inner)))):
        reason = unsupported_result(kind)
        assert reason is not None and "a language model answers in text" in reason
        with pytest.raises(ValueError, match="answers in text"):
            response_format(kind)
    assert unsupported_result(PERSON) is None


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (MOOD, "good", "good"),
        (MOOD, ' "bad"\n', "bad"),
        (option(MOOD), "good", "good"),
        (option(MOOD), "null", None),
        (enum(("1", "2")), "2", "2"),
        (ListOf(INT), "[1, 2.0]", [1, 2]),
        (INT, str(-(2**63)), -(2**63)),
        (FLOAT, "1" + 20 * "0", 1e20),
        (BOOL, '```\n{"result": true}\n```', True),
        (PERSON, '{"name": "Ada", "moods": []}', {"name": "Ada", "age": None, "moods": []}),
        (INT, "<think>\n5 or 6?\n</think>\n\n6", 6),
        (TEXT, "<think>\n\n</think>\n\n yes ", "yes"),
        (TEXT, "```\ncode\n```", "```\ncode\n```"),
        (JSON, '{"result": {"a": [1, null]}}', {"a": [1, None]}),
        (JSON, '{"a": 1}', {"a": 1}),
    ],
)
def test_answers_of_servers_that_take_no_notice_of_schemas(
    kind: Type, text: str, value: Any
) -> None:
    found = read_answer(kind, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (INT, "", "expected Int as JSON, got an empty answer"),
        (INT, "six", "not JSON: expecting value at line 1, column 1"),
        (
            PERSON,
            '{"name": "A',
            "expected {name: Text, .*not JSON: unterminated",
        ),
        (PERSON, '{"name": "A", "age": "6", "moods": []}', "in field `age`: expected Int, got '6'"),
        (PERSON, '{"name": "A", "moods": [], "x": 1}', "got a record with `name`, `moods`, `x`"),
        (PERSON, '{"name": "A"}', "expected {name: Text.*}, got a record with `name`"),
        (
            ListOf(MOOD),
            '["good", "awful"]',
            "in item 1: expected one of .*, got 'awful'",
        ),
        (MOOD, "Good!", "not JSON"),
        (INT, "true", "expected Int, got True"),
        (INT, "1.5", "expected Int, got 1.5"),
        (INT, str(2**63), "expected Int of 64 bits"),
        (INT, "9" * 5000, "thousands of digits"),
        (FLOAT, "1e999", "expected a finite Float, got inf"),
        (FLOAT, "NaN", "has no `NaN`"),
        (JSON, '[{"a": 1, "a": 2}]', "has the key 'a' twice"),
        (JSON, "[" * 200 + "]" * 200, "nested more than 100 levels deep"),
        (JSON, "[" * 200_000, "nested more than 100 levels deep"),
        (TEXT, "a\ud800", r"holds `\ud800`, half a character"),
        (ListOf(TEXT), '["\\udc00"]', r"holds `\udc00`, half a character"),
        (PERSON, '```json\n{"name": "A"}\n```\nHope this helps!', "not JSON"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(kind: Type, text: str, said: str) -> None:
    with pytest.raises(ValueProblem) as caught:
        read_answer(kind, text)
    first, _, rest = said.partition(".*")
    assert first in str(caught.value)
    assert rest in str(caught.value)


def test_brackets_in_strings_are_no_nesting() -> None:
    text = "[{" * 300
    assert read_answer(ListOf(TEXT), json.dumps([text, '"' + text])) == [text, '"' + text]


def test_a_wrong_answer_of_a_thousand_fields_is_told_in_few_words() -> None:
    with pytest.raises(ValueProblem) as caught:
        read_answer(PERSON, json.dumps({f"field_{i}": i for i in range(1000)}))
    assert len(str(caught.value)) <= 1001


def test_asking_again_shows_the_answer_and_what_is_wrong_with_it() -> None:
    asked = [{"role": "user", "content": "How old?"}]
    again = repair_messages(asked, "<think>hm</think> six", "expected Int")
    assert again[0] is asked[0] and asked == again[:1]
    assert again[1] == {"role": "assistant", "content": "six"}
    assert again[2]["role"] == "user"
    assert "expected Int" in again[2]["content"]


@pytest.mark.parametrize("answer", ["", "x" * 100_000, "\ud800"])
def test_asking_again_can_always_be_sent(answer: str) -> None:
    again = repair_messages([], answer, "no \ud800")
    assert 0 < len(again[0]["content"]) <= 2001
    json.dumps(again, ensure_ascii=False).encode()
