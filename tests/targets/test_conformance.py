"""What is called certain to follow a schema does follow it; the documents that are good are."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing.exceptions import Unresolvable

from murakkab.compiler.driver import Request, compile_workflow
from murakkab.targets.conformance import load_schema, surely_conforms, violation
from murakkab.targets.plan import plan_schema
from murakkab.targets.toml_source import shipped_toml

ROOT = Path(__file__).parents[2]

NAMES = st.sampled_from(["a", "b", "c"])
NUMBERS = st.sampled_from([-1, 0, 1, 2, 0.5, 1.0, float("nan"), float("inf"), 10**30])
SCALARS = NUMBERS | st.sampled_from(["", "a", "ab", "ab\n", "1"]) | st.booleans() | st.none()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["array", "boolean", "integer", "null", "number", "object", "string"])
SIZES = st.integers(0, 3)


def ruled(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of one to four rules, both known and unknown ones."""
    rules: dict[str, st.SearchStrategy[Any]] = {
        "$ref": st.sampled_from(["#/$defs/a", "#/$defs/missing"]),
        "additionalProperties": inner,
        "anyOf": st.lists(inner, min_size=1, max_size=3),
        "const": SCALARS,
        "description": st.just("words"),
        "enum": st.lists(SCALARS, min_size=1, max_size=3),
        "exclusiveMinimum": NUMBERS,
        "items": inner,
        "maxItems": SIZES,
        "maxLength": SIZES,
        "maximum": NUMBERS,
        "minItems": SIZES,
        "minLength": SIZES,
        "minimum": NUMBERS,
        "not": inner,
        "oneOf": st.lists(inner, min_size=1, max_size=2),
        "pattern": st.sampled_from(["^a", "b$", r"b$(?!\n)"]),
        "patternProperties": st.dictionaries(st.just("^a"), inner, max_size=1),
        "prefixItems": st.lists(inner, min_size=1, max_size=2),
        "properties": st.dictionaries(NAMES, inner, max_size=3),
        "required": st.lists(NAMES, max_size=2),
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=2),
    }
    return st.lists(st.sampled_from(sorted(rules)), min_size=1, max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: rules[name] for name in names})
    )


SCHEMAS = st.recursive(st.booleans() | ruled(st.booleans()), ruled, max_leaves=6)


@given(SCHEMAS, ruled(st.booleans()), VALUES)
@settings(max_examples=400, deadline=None)
def test_what_is_certain_is_true(schema: Any, definition: Any, value: Any) -> None:
    definition.pop("$ref", None)  # of itself, it has no end
    schema = {"$defs": {"a": definition}, "anyOf": [schema]}
    if surely_conforms(value, schema):
        with suppress(Unresolvable):  # of a reference to nothing, jsonschema has no opinion
            assert Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize("cluster", ["two-a100-nodes", "laptop-cpu"])
def test_a_plan_as_it_is_written_is_certain(cluster: str) -> None:
    source = ROOT / "examples/video_qa/video_qa.mkb"
    described = ROOT / f"examples/clusters/{cluster}.toml"
    plan = compile_workflow(Request(source, target="sim", cluster=described)).plan
    assert surely_conforms(json.loads(plan.to_json()), plan_schema())


@pytest.mark.parametrize("folder", ["catalog", "library"])
def test_the_shipped_files_are_certain(folder: str) -> None:
    for source in shipped_toml(folder):
        assert surely_conforms(source.data, load_schema(folder)), source.file


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 1.0),
        ({"type": "object", "minProperties": 0}, {}),
        ({"oneOf": [{"type": "string"}]}, "a"),
        ({"const": 1}, 1),
    ],
)
def test_what_is_not_certain_is_left_to_jsonschema(schema: dict[str, Any], value: Any) -> None:
    assert not surely_conforms(value, schema)
    assert violation(value, schema) is None


def test_a_violation_says_where_and_what() -> None:
    schema = {"properties": {"a": {"items": {"type": "number", "minimum": 0}}}}
    assert violation({"a": [1, -1]}, schema) == "a/1: -1 is less than the minimum of 0"
    assert violation(None, {"type": "object"}) == ("the document: None is not of type 'object'")
