from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from murakkab.compiler import ast
from murakkab.compiler.formatter import format_source
from murakkab.compiler.parser import parse
from murakkab.ir.diagnostics import CompileError

from .programs import programs
from .samples import EVERYTHING


def meaning(node: Any) -> Any:
    """A syntax tree as nested tuples, without places and comments."""
    if isinstance(node, tuple):
        return tuple(meaning(part) for part in node)
    if not is_dataclass(node):
        return node
    kept = [field.name for field in fields(node) if field.name not in ("span", "comments")]
    return (type(node).__name__, *(meaning(getattr(node, name)) for name in kept))


def texts(file: ast.File) -> list[str]:
    return sorted(comment.text.lstrip("/") for comment in file.comments)


def body(text: str) -> str:
    """The formatted statements of a workflow, without its braces and indentation."""
    out = format_source(f"workflow w(x: Text) -> Text {{\n{text}\n}}", "a.mkb")
    lines = out.removeprefix("workflow w(x: Text) -> Text {\n").removesuffix("}\n").split("\n")
    return "\n".join(line.removeprefix("    ") for line in lines)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_formatting_keeps_the_program_and_its_comments_and_is_idempotent(text: str) -> None:
    before = parse(text, "a.mkb")
    out = format_source(text, "a.mkb")
    after = parse(out, "a.mkb")
    assert meaning(after) == meaning(before)
    assert texts(after) == texts(before)
    assert format_source(out, "a.mkb") == out


def test_the_manuals_example_is_already_formatted() -> None:
    assert format_source(EVERYTHING, "a.mkb") == EVERYTHING


def test_a_program_in_one_line_gets_the_canonical_layout() -> None:
    squeezed = " ".join(
        line.split("//")[0].strip() for line in EVERYTHING.split('"""')[0].split("\n")
    )
    squeezed = squeezed.removesuffix("prompt")
    out = format_source(squeezed, "a.mkb")
    assert out.startswith('import "std/media"\n\ntask name_objects(frames: [Image]) -> [Text] "Na')
    assert '    "Answer the query from the notes."\n    system "You' in out


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x=f( a,b , )", "x = f(a, b)\n"),
        ("a=1 longer=2\nlong=3", "a      = 1\nlonger = 2\nlong   = 3\n"),
        ("a=1\n\n\n\nlonger=2", "a = 1\n\nlonger = 2\n"),
        ("a=1\n// why\nlonger=2", "a = 1\n// why\nlonger = 2\n"),
        ("x={a,b:1,} y=[ ] z={ a }", "x = { a, b: 1 }\ny = []\nz = { a }\n"),
        ("x=- 1*( 2+y . z )", "x = -1 * (2 + y.z)\n"),
        ("x=not a or b??c", "x = not a or b ?? c\n"),
        (
            "x=optional f(a)with{n<=10,t :0.70,g:-5s,m>=$1.50,}",
            "x = optional f(a) with { n <= 10, t: 0.70, g: -5 s, m >= $1.50 }\n",
        ),
        (
            "x=if a{yield 1}else if b{yield 2}else{yield 3}",
            "x = if a { yield 1 } else if b { yield 2 } else { yield 3 }\n",
        ),
        ("x=for a in b where c{yield a}", "x = for a in b where c { yield a }\n"),
        (
            "x=repeat up to 3 with a=1,b=2,{a=b yield a until a>3}",
            "x = repeat up to 3 with a = 1, b = 2 {\n    a = b\n    yield a until a > 3\n}\n",
        ),
        ("x=for a in b{f(a) yield a}", "x = for a in b {\n    f(a)\n    yield a\n}\n"),
    ],
)
def test_statements(source: str, expected: str) -> None:
    assert body(source) == expected


LONG = "a_rather_long_name_of_a_binding"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            f"x = f({LONG}, {LONG}, {LONG}, 1)",
            f"x = f(\n    {LONG},\n    {LONG},\n    {LONG},\n    1,\n)\n",
        ),
        (
            f"x = f({LONG}) with {{ a: {LONG}, b: {LONG}, c: 1 }}",
            f"x = f({LONG}) with {{\n    a: {LONG},\n    b: {LONG},\n    c: 1,\n}}\n",
        ),
        (
            f"x = {LONG} + {LONG} - {LONG} * 2 + 1",
            f"x = {LONG}\n    + {LONG}\n    - {LONG} * 2\n    + 1\n",
        ),
        (
            f"x = for y in {LONG} where {LONG} > 1 and {LONG} {{ yield y }}",
            f"x = for y in {LONG}\n        where {LONG} > 1 and {LONG} {{\n    yield y\n}}\n",
        ),
        (
            f"x = if {LONG} {{ yield {LONG} }} else {{ yield {LONG} }}",
            f"x = if {LONG} {{\n    yield {LONG}\n}} else {{\n    yield {LONG}\n}}\n",
        ),
    ],
)
def test_long_lines_break_at_the_outermost_place(source: str, expected: str) -> None:
    assert body(source) == expected


def test_no_line_with_a_break_in_it_is_longer_than_a_hundred_columns() -> None:
    args = ", ".join(f"g(value_{i}, [other_{i}, {{ a, b: {i} }}])" for i in range(30))
    out = body(f"x = f({args}) ?? h({args})")
    assert max(map(len, out.split("\n"))) <= 96


def test_comments_stay_where_they_are_between_parts() -> None:
    source = """\
// first

/// doc
task f(
    // of a
    a: Text,  // the a
    b: Text,
    // last parameter
) -> Text
    // words
    "Do it."  // said

workflow w(x: Text) -> Text
    // fast
    require latency <= 3 s  // very
    // end of clauses
{
    // at the start
    y = f(
        x,  // one
        // two
        x,
    )  // after

    z = [
        // nothing yet
    ]
    return y  // done
    // at the end
}
// last
"""
    assert format_source(source, "a.mkb") == source


def test_a_comment_inside_a_part_moves_in_front_of_it() -> None:
    assert body("x = a + // why\n b") == "// why\nx = a + b\n"


def test_a_documentation_comment_does_not_become_one_of_another_declaration() -> None:
    out = format_source("type A /// not a doc\n = Text", "a.mkb")
    assert out == "// not a doc\ntype A = Text\n"


def test_long_strings_move_with_the_code_and_keep_their_value() -> None:
    source = 'task f(a: Text) -> Text\nprompt """one\n  two\n\n  three"""'
    out = format_source(source, "a.mkb")
    assert out.split("\n")[1:] == [
        '    prompt """',
        "    one",
        "      two",
        "",
        '      three"""',
        "",
    ]
    assert meaning(parse(out, "a.mkb")) == meaning(parse(source, "a.mkb"))


def test_declarations_are_set_apart_but_for_groups_of_a_kind() -> None:
    source = (
        'import "a"\nimport "b"\ntype A = Text\ntype B = Text\ntask f() -> A\nworkflow w() -> A {}'
    )
    out = format_source(source, "a.mkb")
    assert out == (
        'import "a"\nimport "b"\n\ntype A = Text\ntype B = Text\n\n'
        "task f() -> A\n\nworkflow w() -> A {}\n"
    )


@pytest.mark.parametrize("source", ["", "\n\n", "\r\n \t"])
def test_an_empty_file_stays_empty(source: str) -> None:
    assert format_source(source, "a.mkb") == ""


def test_a_program_with_a_syntax_error_is_not_formatted() -> None:
    with pytest.raises(CompileError) as caught:
        format_source("task f(", "a.mkb")
    assert [found.id for found in caught.value.diagnostics] == ["unclosed-bracket"]
