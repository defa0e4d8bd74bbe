import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.ir.template import Placeholder, TemplateError, parse_template


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("plain", ("plain",)),
        ("{a}", (Placeholder(("a",), 0, 3),)),
        ("x {scene.start} y", ("x ", Placeholder(("scene", "start"), 2, 15), " y")),
        ("{a}{b_1}", (Placeholder(("a",), 0, 3), Placeholder(("b_1",), 3, 8))),
        ('{{"a": {a}}}', ('{"a": ', Placeholder(("a",), 7, 10), "}")),
        ("{{{a}}}", ("{", Placeholder(("a",), 2, 5), "}")),
        ("{{}}", ("{}",)),
        ("{{{{", ("{{",)),
    ],
)
def test_templates_are_split(text: str, parts: tuple[str | Placeholder, ...]) -> None:
    assert parse_template(text) == parts


@pytest.mark.parametrize(
    ("text", "offset", "end"),
    [
        ("a }", 2, 3),
        ("a {b", 2, 3),
        ("a {}", 2, 4),
        ("{ a }", 0, 5),
        ("{a.}", 0, 4),
        ("{A}", 0, 3),
        ("{a-b} {c}", 0, 5),
        ("{a}}", 3, 4),
    ],
)
def test_malformed_templates_say_where(text: str, offset: int, end: int) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(text)
    assert (caught.value.offset, caught.value.end) == (offset, end)


@given(st.text(alphabet="ab{}. \n"))
def test_doubling_every_brace_gives_the_text_back(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert "".join(str(part) for part in parse_template(doubled)) == text
