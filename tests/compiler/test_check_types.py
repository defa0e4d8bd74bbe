import pytest

from murakkab.compiler.frontend import check_text

from .checking import diagnostics, found, ops, program, sound

VALID = [
    # conversions: Int to Float, T to T?, enumeration to a wider one and to Text, in depth
    ("Int", "Float"),
    ("Text", "Text?"),
    ("Int", "Float?"),
    ('"a" | "b"', "Text"),
    ('"a" | "b"', '"c" | "b" | "a"'),
    ("[Int]", "[Float]"),
    ("{ x: Int }", "{ x: Float? }"),
    ("{ x: Int, y: Text }", "{ y: Text, x: Int }"),
    ("[{ x: [Int] }]?", "[{ x: [Float] }?]?"),
    ("Video", "Video"),
    ("Json", "Json"),
]
INVALID = [
    ("Float", "Int", "type-mismatch"),
    ("Text?", "Text", "optional-value"),
    ("Text", '"a" | "b"', "type-mismatch"),
    ('"a" | "z"', '"a" | "b"', "type-mismatch"),
    ("{ x: Int, y: Int }", "{ x: Int }", "type-mismatch"),
    ("{ x: Int }", "{ x: Int, y: Int? }", "type-mismatch"),
    ("[Text?]", "[Text]", "type-mismatch"),
    ("Int", "Text", "type-mismatch"),
    ("Text", "Json", "type-mismatch"),
    ("Image", "File", "type-mismatch"),
    ("Int", "Bool", "type-mismatch"),
]


@pytest.mark.parametrize(("source", "target"), VALID)
def test_values_convert(source: str, target: str) -> None:
    sound(program("return x", f"x: {source}", target))


@pytest.mark.parametrize(("source", "target", "id"), INVALID)
def test_values_do_not_convert(source: str, target: str, id: str) -> None:
    assert found(program("return x", f"x: {source}", target)) == [f"4:8 {id}"]


EXPRESSIONS = [
    ("1 + 2", "Int"),
    ("1 + 2.0", "Float"),
    ("a - a * a", "Int"),
    ("a / a", "Float"),
    ("-a", "Int"),
    ("-b", "Float"),
    ("t + t", "Text"),
    ('"x" + kind', "Text"),
    ("[1] + [2.5]", "[Float]"),
    ("[]", "[Never]"),
    ("[] + [t]", "[Text]"),
    ("[1, none]", "[Int?]"),
    ("[{ x: 1 }, { x: 2.5 }]", "[{x: Float}]"),
    ('["x", "y"]', '["x" | "y"]'),
    ("none", "Never?"),
    ("a < b", "Bool"),
    ('t >= "m"', "Bool"),
    ("kind < t", "Bool"),
    ("m == none", "Bool"),
    ("a == 2.5", "Bool"),
    ("video != video", "Bool"),
    ("{ a, b: t }", "{a: Int, b: Text}"),
    ("{ a, b: { c: t } }.b.c", "Text"),
    ("m ?? t", "Text"),
    ("m ?? none", "Text?"),
    ("m ?? m ?? t", "Text"),
    ('optional f(t) ?? ""', "Text"),
    ("optional maybe(t)", "Text?"),
    ("len(t) + len([a])", "Int"),
    ("flatten([[a], []])", "[Int]"),
    ('join([t, kind], ", ")', "Text"),
    ("not (a == 1 and b == 2 or p)", "Bool"),
    ("(if p { yield 1 } else { yield none })", "Int?"),
    ("(if p { yield 1 } else if p { yield 2.5 } else { yield none })", "Float?"),
    ("(for i in [1, 2] { yield i * 2.5 })", "[Float]"),
    ("(for i in [1] where i > 0 { yield { i } })", "[{i: Int}]"),
    ("(repeat up to 2 { yield a until p })", "Int"),
    ('(repeat up to 2 with x = "" { x = f(x) yield x })', "Text"),
    ("(repeat up to 2 with x = none { x = a yield x })", "Int"),
    ("(repeat up to 2 with x = none { yield x })", "Never?"),
]


@pytest.mark.parametrize(("expression", "kind"), EXPRESSIONS)
def test_expressions_have_types(expression: str, kind: str) -> None:
    params = 'a: Int, b: Float, t: Text, m: Text?, p: Bool, video: Video, kind: "x" | "y"'
    text = program(f"value = {expression}\nreturn t", params)
    text += 'task maybe(text: Text) -> Text? "Perhaps."'
    values = {str(op.result.type) for op in ops(text) if op.result and op.result.name == "value"}
    assert values == {kind}


ERRORS = [
    ('"a" + 1', "3", "bad-operands"),
    ("p + p", "3", "bad-operands"),
    ("[1] - [1]", "3", "bad-operands"),
    ("t * 2", "3", "bad-operands"),
    ("p < p", "3", "bad-operands"),
    ("t < 1", "3", "bad-operands"),
    ("t == 1", "3", "bad-operands"),
    ("[t] == t", "3", "bad-operands"),
    ("m + t", "3", "optional-value"),
    ("m < t", "3", "optional-value"),
    ("-t", "4", "type-mismatch"),
    ("not t", "7", "type-mismatch"),
    ("p and t", "9", "type-mismatch"),
    ("t or p", "3", "type-mismatch"),
    ("t ?? t", "3", "not-optional"),
    ("m ?? 1", "8", "mixed-types"),
    ("[1, t]", "7", "mixed-types"),
    ("{ t, t }", "8", "duplicate-field"),
    ("t.size", "5", "unknown-field"),
    ("{ t }.u", "9", "unknown-field"),
    ("data.x", "8", "unknown-field"),
    ("len(1)", "7", "type-mismatch"),
    ("len(m)", "7", "optional-value"),
    ("len(t, t)", "10", "wrong-arity"),
    ("flatten([t])", "11", "type-mismatch"),
    ("join(t, t)", "8", "type-mismatch"),
    ("join([t])", "3", "wrong-arity"),
    ("f(1)", "5", "type-mismatch"),
    ("f(m)", "5", "optional-value"),
    ("f()", "3", "wrong-arity"),
    ("f(t, t)", "8", "wrong-arity"),
    ("h(t)", "3", "unknown-task"),
    ("t(t)", "3", "unknown-task"),
    ("f", "3", "unknown-name"),
    ("missing", "3", "unknown-name"),
    ("{ missing }", "5", "unknown-name"),
    ("optional post(t)", "3", "optional-effect"),
    ("optional len(t)", "3", "not-a-task"),
    ("len(t) with { k: 1 }", "17", "not-a-task"),
]


@pytest.mark.parametrize(("expression", "column", "id"), ERRORS)
def test_wrong_expressions_are_reported_once_where_they_stand(
    expression: str, column: str, id: str
) -> None:
    text = program(f"_={expression}\nreturn t", "t: Text, m: Text?, p: Bool, data: Json")
    assert found(text) == [f"4:{column} {id}"]


def test_an_error_does_not_cascade() -> None:
    body = (
        "a = missing\nb = a.x + 1\nc = for i in b { yield optional f(i) ?? i }\nreturn join(c, a)"
    )
    assert found(program(body)) == ["4:5 unknown-name"]


def test_all_independent_errors_are_reported_in_source_order() -> None:
    body = "a = f(1)\nb = len(2)\nc = h(a)\nreturn 4"
    assert found(program(body)) == [
        "4:7 type-mismatch",
        "5:9 type-mismatch",
        "6:5 unknown-task",
        "7:8 type-mismatch",
    ]


TYPES = [
    ("type A = B\ntype B = [A?]", ["2:11 recursive-type"]),
    ("type A = A", ["1:10 recursive-type"]),
    ("type A = { x: Missing }", ["1:15 unknown-type"]),
    ("type A = Never", ["1:10 unknown-type"]),
    ("workflow w(x: Text) -> [Gone?] { return x }", ["1:25 unknown-type"]),
    ("type A = Int\ntype A = Text", ["2:6 duplicate-declaration"]),
    ("type Video = Text", ["1:6 duplicate-declaration"]),
    ("type A = { x: Int, x: Int }", ["1:20 duplicate-field"]),
    ('type A = B?\ntype B = "x" | "y"\ntype C = [A]', []),
    ("type A = {}", []),
]


@pytest.mark.parametrize(("text", "expected"), TYPES)
def test_type_declarations(text: str, expected: list[str]) -> None:
    assert found(text) == expected


def test_an_option_of_an_option_is_an_option() -> None:
    sound(program("return x", "x: A?", "Text?") + "type A = Text?")


def test_types_are_structural_and_stand_before_or_after_their_use() -> None:
    text = program("return rec(a)", "a: Note", "Other") + (
        "type Note = { n: Int, text: Text }\ntype Other = { text: Text?, n: Float }"
    )
    sound(text)


EXPLOSIONS = [
    [f"type T{i} = {{ a: T{i + 1}, b: T{i + 1} }}" for i in range(60)] + ["type T60 = Int"],
    [f"type T{i} = [T{i + 1}]" for i in range(5000)] + ["type T5000 = Int"],
    ["type A = { a: B, b: B }"]
    + [f"type {c} = {{ {', '.join(f'f{i}: Int' for i in range(600))} }}" for c in "BC"],
]


@pytest.mark.parametrize("lines", EXPLOSIONS, ids=["wide", "deep", "flat"])
def test_types_that_explode_when_written_out_are_refused(lines: list[str]) -> None:
    assert {line.split()[1] for line in found("\n".join(lines))} == {"type-too-large"}


def test_a_long_cycle_of_types_is_reported_where_it_closes() -> None:
    lines = [f"type T{i} = T{i + 1}" for i in range(3000)] + ["type T3000 = T0"]
    assert found("\n".join(lines)) == ["3001:14 recursive-type"]


@pytest.mark.parametrize(
    "step",
    ["[{}]", "{{ a: {}, b: {} }}", "for x in [q] {{ yield {{ x: {}, y: {} }} }}"],
    ids=["list", "record", "for"],
)
def test_values_whose_types_explode_are_refused(step: str) -> None:
    lines = ["a0 = q"] + [f"a{i + 1} = {step.replace('{}', f'a{i}').format()}" for i in range(120)]
    ids = {line.split()[1] for line in found(program("\n".join([*lines, "return q"])))}
    assert ids == {"type-too-large"}


def test_messages_name_types_as_the_author_does() -> None:
    text = program("return rec([note])", "note: Note") + "type Note = { text: Text, n: Float }"
    error = diagnostics(text)[1]
    assert error.message == "parameter `note` wants `Note`, this is `[Note]`"


def test_the_static_type_of_an_inlined_result_is_the_declared_one() -> None:
    text = program("return sub(q) ?? q") + "workflow sub(x: Text?) -> Text? { return x ?? none }"
    sound(text)
    assert [w.name for w in check_text(text).module.workflows] == ["main", "sub"]


def test_the_greatest_integer_can_be_written() -> None:
    sound("workflow w() -> Int { return 9223372036854775807 }")
    assert found("workflow w() -> Int { return 9223372036854775808 }") == ["1:30 number-too-large"]
