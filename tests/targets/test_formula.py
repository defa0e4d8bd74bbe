"""Formulas compute what they say, over sizes and knobs, and say where they are wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.ir.types import FLOAT, TEXT, Base, ListOf, Record
from murakkab.targets.formula import FormulaError, constant, parse_formula
from murakkab.targets.sizes import SCENE_SECONDS, Size, default_size, rendered

VIDEO, IMAGE = Base("Video"), Base("Image")
SCENE = Record((("video", VIDEO), ("start", FLOAT), ("end", FLOAT)))


def value(text: str, **knobs: int | float | str) -> float:
    params = {
        "scene": default_size(SCENE),
        "frames": Size(length=4, item=Size(pixels=1000, images=1)),
        "text": Size(tokens=50),
    }
    return parse_formula(text).evaluate(params, knobs)


numbers = st.integers(1, 99).map(str)
arithmetic = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(" + | - | * ".split("|")), inner).map("".join),
        inner.map(lambda e: f"({e})"),
        inner.map(lambda e: f"-({e})"),
        st.tuples(inner, numbers).map(lambda p: f"({p[0]}) / {p[1]}"),
        st.tuples(inner, inner).map(lambda p: f"max({p[0]}, {p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"min({p[0]}, {p[1]})"),
    ),
    max_leaves=12,
)


@given(arithmetic)
def test_arithmetic_is_pythons(text: str) -> None:
    expected = eval(text, {"min": min, "max": max})  # generated above, from digits and signs
    assert math.isclose(parse_formula(text).evaluate({}, {}), expected, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tokens(text) + 40", 90),
        ("len(frames)", 4),
        ("images(frames) * 2", 8),
        ("pixels(frames) / 784", 4000 / 784),
        ("duration(scene)", SCENE_SECONDS),
        ("duration(scene.video)", 60),
        ("scene.video.fps", 25),
        ("ceil(duration(scene) / 30) * 1500", 1500),
        ("len(text)", 200),
        ("min(k, len(frames)) - 1", 2),
        ("2e3 - 1.5", 1998.5),
    ],
)
def test_measures(text: str, expected: float) -> None:
    assert value(text, k=3) == expected


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("tokens(text) +", 14, "expected a number, a name or `(`, found the end"),
        ("2 $ 3", 2, "`$` has no meaning in a formula"),
        ("(1 + 2", 6, "expected `)`, found the end"),
        ("token(text)", 0, "no function `token`; did you mean `tokens`?"),
        ("1 2", 2, "expected an operator, found `2`"),
        ("tokens(1 + 2)", 0, "`tokens` measures one parameter or field"),
        ("scene.3", 6, "expected a field, found `3`"),
        ("__import__('os')", 11, "no meaning"),
        ("", 0, "found the end"),
        ("(" * 400, 51, "nested too deeply"),
        ("1" + " + 1" * 200_000, 500, "longer than 500 characters"),
    ],
)
def test_mistakes_have_a_place(text: str, offset: int, message: str) -> None:
    with pytest.raises(FormulaError, match=r".") as caught:
        parse_formula(text)
    assert message in str(caught.value)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens(query)", "no parameter `query`"),
        ("beam", "no knob `beam`"),
        ("mode", "knob `mode` is not a number"),
        ("1 / (2 - 2)", "division by zero"),
        ("duration(scene.audio)", "no field `audio`"),
        ("scene.start", "measure it"),
    ],
)
def test_what_cannot_be_evaluated(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        value(text, mode="fast")


def test_names_and_equality() -> None:
    assert parse_formula("tokens(scene.video) + k").names() == {"scene", "k"}
    assert parse_formula("1 + 2") == parse_formula("1 + 2")
    assert constant(180).evaluate({}, {}) == 180


def test_sizes_add_up() -> None:
    notes = default_size(ListOf(Record((("speech", TEXT), ("frames", ListOf(IMAGE))))))
    one = notes.item
    assert one is not None
    assert notes.total("tokens") == notes.length * one.total("tokens") > 500
    assert notes.total("images") == 25
    prompt = rendered([notes, Size(tokens=7)], literal_tokens=3)
    assert prompt.total("tokens") == notes.total("tokens") + 10
    assert prompt.total("images") == 25


def test_facts_can_be_set() -> None:
    scenes = default_size(ListOf(SCENE))
    changed = scenes.with_fact("len", 8).with_fact("item.duration", 4)
    changed = changed.with_fact("item.video.pixels", 99)
    assert changed.total("duration") == 32
    assert changed.total("pixels") == 8 * 99
    assert default_size(ListOf(TEXT)).with_fact("tokens", 40).total("tokens") == 40
    with pytest.raises(ValueError, match="no part `audio`"):
        scenes.with_fact("item.audio.bytes", 1)
    with pytest.raises(ValueError, match="not a fact"):
        scenes.with_fact("weight", 1)
