"""Sections: where a prompt may be taken apart, and where not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.passes.prompts.sections import sections_of


def parts(template: str) -> list[str]:
    return [section.text for section in sections_of(template).sections]


def data(template: str) -> list[bool]:
    return [section.data for section in sections_of(template).sections]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{notes}\nQuestion: {query}", ["{notes}", "Question: {query}"]),
        ("Read it.\n{text}", ["Read it.", "{text}"]),
        ("One.\n\nTwo.", ["One.", "Two."]),
        # a label and what it introduces
        ("Notes:\n{notes}\nBe brief.", ["Notes:\n{notes}", "Be brief."]),
        ("Notes:\n\n{notes}\n\nBe brief.", ["Notes:\n\n{notes}", "Be brief."]),
        # a sentence over two lines
        (
            "Answer with the notes\nthat follow.\n{n}",
            ["Answer with the notes\nthat follow.", "{n}"],
        ),
        ("Answer from the\nNotes. {n}", ["Answer from the\nNotes. {n}"]),
        # steps, tags, fences and headings hold together
        ("1. Read {a}.\n2. Read {b}.\n3. Stop.", ["1. Read {a}.\n2. Read {b}.\n3. Stop."]),
        ("- Read.\n\n- Stop.\n\n{a}", ["- Read.\n\n- Stop.", "{a}"]),
        ("<doc>\nIt is.\n{doc}\n</doc>\n{q}", ["<doc>\nIt is.\n{doc}\n</doc>", "{q}"]),
        ("```\nA.\nB.\n```\n{q}", ["```\nA.\nB.\n```", "{q}"]),
        ("# Notes\n{n}\n\nMore.\n# Task\nDo it.", ["# Notes\n{n}\n\nMore.", "# Task\nDo it."]),
    ],
)
def test_where_a_prompt_comes_apart(template: str, expected: list[str]) -> None:
    assert parts(template) == expected


def test_data_is_a_placeholder_with_its_label() -> None:
    assert data("{a}\nText: {b}\n<c>\n{c}\n</c>\nAnswer {d} now.\nStop.") == [
        *(True, True, True),
        *(False, False),
    ]


def test_sections_that_change_places_keep_blank_lines_around_paragraphs() -> None:
    found = sections_of("\n{a}\nQuestion: {q}\n\nBe brief.\n")
    first, second, last = found.sections
    assert found.written((last, first, second)) == "\nBe brief.\n\n{a}\nQuestion: {q}\n"


lines = st.sampled_from(
    ("{a}", "Text: {b}", "Do it.", "Read", "and go on.", "- one", "<t>", "</t>", "```", "# H", "")
)


@given(st.lists(lines, max_size=12).map("\n".join))
def test_a_template_written_in_its_order_is_itself(template: str) -> None:
    while "\n\n\n" in template:
        template = template.replace("\n\n\n", "\n\n")
    found = sections_of(template)
    assert found.written(found.sections) == template
