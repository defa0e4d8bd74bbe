from pathlib import Path

import pytest

from murakkab.compiler import ast
from murakkab.compiler.lexer import MAX_NESTING
from murakkab.compiler.parser import parse
from murakkab.compiler.source import MAX_BYTES, decode_source, read_source
from murakkab.ir.diagnostics import CompileError, Diagnostic, InputError

from .samples import EVERYTHING
from .test_formatter import meaning


def file(text: str) -> ast.File:
    return parse(text, "a.mkb")


def body(text: str) -> tuple[ast.Statement, ...]:
    (declaration,) = file(f"workflow w(x: Text) -> Text {{ {text} }}").declarations
    assert isinstance(declaration, ast.WorkflowDecl)
    return declaration.body.statements


def expression(text: str) -> ast.Expr:
    (statement,) = body(f"return {text}")
    assert isinstance(statement, ast.Return)
    return statement.value


def shown(node: ast.Expr | ast.Block) -> str:
    """An expression with all its parentheses, as a compact text."""
    match node:
        case ast.Literal(value):
            return repr(value)
        case ast.Ref(name):
            return name
        case ast.Binary(op, left, right):
            return f"({shown(left)} {op} {shown(right)})"
        case ast.Unary(op, operand):
            return f"({op} {shown(operand)})"
        case ast.Field(base, name):
            return f"{shown(base)}.{name.text}"
        case ast.Paren(inner):
            return f"[{shown(inner)}]"
        case ast.Call(callee, args, _, _, optional):
            return f"{'optional ' * optional}{callee.text}({', '.join(map(shown, args))})"
    raise AssertionError(node)


def findings(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as caught:
        file(text)
    return caught.value.diagnostics


def clauses(text: str) -> tuple[ast.Clause, ...]:
    (declaration,) = file(f"workflow w() -> Text {text} {{}}").declarations
    assert isinstance(declaration, ast.WorkflowDecl)
    return declaration.clauses


def test_the_manuals_example_parses_into_its_declarations() -> None:
    kinds = [type(d).__name__ for d in file(EVERYTHING).declarations]
    assert kinds == ["Import", "TaskDecl", "TaskDecl", "TaskDecl", "WorkflowDecl"]


def test_newlines_mean_nothing() -> None:
    spread = 'workflow w ( x : Text ) -> Text "d" require cost <= $1 { return f ( x ) }'
    assert meaning(file(spread)) == meaning(file(spread.replace(" ", "\r\n")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4", "((1 + (2 * 3)) - 4)"),
        ("a / b / c", "((a / b) / c)"),
        ("-a.b * - 2", "((- a.b) * (- 2))"),
        ("a.b.c", "a.b.c"),
        ("a or b and not c == d", "(a or (b and (not (c == d))))"),
        ("a <= b + 1", "(a <= (b + 1))"),
        ("a ?? b ?? c or d", "((a ?? b) ?? (c or d))"),
        ('optional f(x) ?? ""', "(optional f(x) ?? '')"),
        ("(a + 1) * f(b, -1,)", "([(a + 1)] * f(b, (- 1)))"),
        ("not not true", "(not (not True))"),
        ("none", "None"),
        ("0.50", "0.5"),
        ("007", "7"),
        ("p95 + s - energy * len(h)", "((p95 + s) - (energy * len(h)))"),
    ],
)
def test_operators_bind_as_the_grammar_says(text: str, expected: str) -> None:
    assert shown(expression(text)) == expected


@pytest.mark.parametrize(
    "name", ["energy", "s", "p95", "best", "len", "h", "model", "rate", "tokens", "cost", "_x1"]
)
def test_words_of_clauses_are_ordinary_names_elsewhere(name: str) -> None:
    first, second = body(f"{name} = {name} return {name}")
    assert isinstance(first, ast.Bind) and first.name.text == name
    assert isinstance(second, ast.Return) and shown(second.value) == name


def test_lists_records_and_trailing_commas() -> None:
    items = expression("[1, [], [a, b,],]")
    assert isinstance(items, ast.ListExpr)
    assert [type(item).__name__ for item in items.items] == ["Literal", "ListExpr", "ListExpr"]
    record = expression("{ a, b: 1 + 2, }")
    assert isinstance(record, ast.RecordExpr)
    assert [(name.text, value and shown(value)) for name, value in record.fields] == [
        ("a", None),
        ("b", "(1 + 2)"),
    ]


def test_pins() -> None:
    call = expression(
        'f(x) with { frames <= 10, temperature: 0.7, gpu: "A100", device: cpu, flag: true,'
        " low >= - 5, t < 2 min, rate: 120 / min, share != 85 %, price == $0.01, }"
    )
    assert isinstance(call, ast.Call)
    seen: list[tuple[object, ...]] = []
    for pin in call.pins:
        match pin.value:
            case ast.Quantity(value, unit):
                seen.append((pin.name.text, pin.op, value, unit))
            case ast.Literal(literal):
                seen.append((pin.name.text, pin.op, literal, "literal"))
            case ast.Name(word):
                seen.append((pin.name.text, pin.op, word, "name"))
    assert seen == [
        ("frames", "<=", 10.0, ""),
        ("temperature", ":", 0.7, ""),
        ("gpu", ":", "A100", "literal"),
        ("device", ":", "cpu", "name"),
        ("flag", ":", True, "literal"),
        ("low", ">=", -5.0, ""),
        ("t", "<", 2.0, "min"),
        ("rate", ":", 120.0, "/ min"),
        ("share", "!=", 85.0, "%"),
        ("price", "==", 0.01, "$"),
    ]


def test_for_with_and_without_where() -> None:
    loop = expression("for a in f(x).b where a > 1 and c { yield { a } }")
    assert isinstance(loop, ast.For)
    assert (loop.item.text, shown(loop.source)) == ("a", "f(x).b")
    assert loop.where is not None and shown(loop.where) == "((a > 1) and c)"
    plain = expression("for a in b { yield a }")
    assert isinstance(plain, ast.For) and plain.where is None


def test_repeat_with_carried_names_and_until() -> None:
    loop = expression("repeat up to 3 with a = 1, b = f(x) with { k: 3 }, { yield a until a > b }")
    assert isinstance(loop, ast.Repeat)
    assert loop.limit.value == 3
    assert [(name.text, shown(value)) for name, value in loop.carried] == [
        ("a", "1"),
        ("b", "f(x)"),
    ]
    (end,) = loop.body.statements
    assert isinstance(end, ast.Yield) and end.until is not None
    assert shown(end.until) == "(a > b)"
    plain = expression("repeat up to 2 { yield x }")
    assert isinstance(plain, ast.Repeat) and plain.carried == ()


def test_else_if_is_an_if_in_orelse() -> None:
    node = expression("if a { yield 1 } else if b { yield 2 } else { yield 3 }")
    assert isinstance(node, ast.If) and isinstance(node.orelse, ast.If)
    assert isinstance(node.orelse.orelse, ast.Block)


def test_statements_follow_each_other_without_separators() -> None:
    kinds = [type(s).__name__ for s in body("notify(x) y = x z = y notify(z) return z")]
    assert kinds == ["CallStatement", "Bind", "Bind", "CallStatement", "Return"]


def test_clauses() -> None:
    minimize, maximize, accuracy, latency, tier = clauses(
        "minimize energy then cost maximize accuracy require accuracy >= 85 %"
        " require p95 latency <= 30 s require cost < best"
    )
    assert isinstance(minimize, ast.Minimize) and not minimize.maximize
    assert [metric.text for metric in minimize.metrics] == ["energy", "cost"]
    assert isinstance(maximize, ast.Minimize) and maximize.maximize
    assert isinstance(accuracy, ast.Require) and accuracy.percentile is None
    assert isinstance(accuracy.value, ast.Quantity)
    assert (accuracy.value.value, accuracy.value.unit) == (85.0, "%")
    assert isinstance(latency, ast.Require) and latency.percentile is not None
    assert (latency.percentile.text, latency.metric.text, latency.op) == ("p95", "latency", "<=")
    assert isinstance(tier, ast.Require) and isinstance(tier.value, ast.Name)


@pytest.mark.parametrize(
    ("text", "function", "path", "value", "unit"),
    [
        ("rate = 120 / min", None, ["rate"], 120.0, "/ min"),
        ("accuracy = 0.66", None, ["accuracy"], 0.66, ""),
        ("video.duration = 60s", None, ["video", "duration"], 60.0, "s"),
        ("len(scenes) = 8", "len", ["scenes"], 8.0, ""),
        ("tokens(answer) = 200 tokens", "tokens", ["answer"], 200.0, "tokens"),
        ("x.y = 3 kWh / min", None, ["x", "y"], 3.0, "kWh / min"),
    ],
)
def test_expectations(
    text: str, function: str | None, path: list[str], value: float, unit: str
) -> None:
    (clause,) = clauses(f"expect {text}")
    assert isinstance(clause, ast.Expect)
    assert (clause.function, [name.text for name in clause.path]) == (function, path)
    assert (clause.value.value, clause.value.unit) == (value, unit)


def test_types() -> None:
    (declaration,) = file(
        'type A = { a: Text?, b: [[Int]], c: "x" | "y" | "z", d: {}, }'
    ).declarations
    assert isinstance(declaration, ast.TypeDecl) and isinstance(declaration.type, ast.TypeRecord)
    kinds = {name.text: kind for name, kind in declaration.type.fields}
    assert isinstance(kinds["a"], ast.TypeOption)
    assert isinstance(kinds["b"], ast.TypeList) and isinstance(kinds["b"].item, ast.TypeList)
    assert isinstance(kinds["c"], ast.TypeEnum)
    assert [value.value for value in kinds["c"].values] == ["x", "y", "z"]
    assert kinds["d"] == ast.TypeRecord((), kinds["d"].span)


def test_a_task_keeps_its_items_in_order() -> None:
    (task,) = file(
        'effect task f(a: Text,) -> Bool "one" using g system "s" prompt """p""" "two"'
    ).declarations
    assert isinstance(task, ast.TaskDecl) and task.effect
    assert [d.value for d in task.descriptions] == ["one", "two"]
    assert (task.usings[0].text, task.systems[0].value, task.prompts[0].long) == ("g", "s", True)
    assert (task.span.line, task.span.column, task.span.end_column) == (1, 1, 78)


def test_strings() -> None:
    assert expression(r'"a\\\"\n\tb"') == ast.Literal('a\\"\n\tb', expression(r'"a\\\"\n\tb"').span)
    long = expression('"""\n    a \\n\n\n      b\n    """')
    assert isinstance(long, ast.Literal) and long.long
    assert long.value == "a \\n\n\n  b\n"
    crlf = expression('"""\r\n  a\r\n  b"""')
    assert isinstance(crlf, ast.Literal) and crlf.value == "a\nb"


def test_documentation_belongs_to_the_declaration_that_follows() -> None:
    one, two, three = file(
        "/// a\n/// b\ntype A = Text // x\ntype B = A /// no\ntype C = B"
    ).declarations
    assert isinstance(one, ast.TypeDecl) and one.doc == "a\nb"
    assert isinstance(two, ast.TypeDecl) and two.doc is None
    assert isinstance(three, ast.TypeDecl) and three.doc is None


def test_comments_are_kept_with_their_place() -> None:
    comments = file("// one\ntype A = Text // two\n").comments
    assert [(c.text, c.own_line, c.span.line, c.span.column) for c in comments] == [
        ("// one", True, 1, 1),
        ("// two", False, 2, 15),
    ]


def test_several_mistakes_are_reported_at_once_in_source_order() -> None:
    found = findings(
        "workflow a() -> Text {\n  x = f(,)\n  y = g(1 2)\n  return z\n}\n"
        "task b(x Text) -> Text\nworkflow c() -> Text require cost = 1 require speed <= 3 s {}"
    )
    assert [(f.id, f.span and f.span.line) for f in found] == [
        ("syntax-error", 2),
        ("missing-comma", 3),
        ("syntax-error", 6),
        ("expected-comparison", 7),
        ("unknown-metric", 7),
    ]


def test_the_end_of_the_file_is_placed_after_the_last_token() -> None:
    (found,) = findings("task f(a: Text) ->\n\n// nothing more\n")
    assert (found.id, found.span and (found.span.line, found.span.column)) == (
        "unexpected-end",
        (1, 19),
    )


DEEP = 10_000


@pytest.mark.parametrize(
    "text",
    [
        "(" * DEEP + "1" + ")" * DEEP,
        "[" * DEEP,
        "not " * DEEP + "x",
        "-" * DEEP + "1",
        "1" + " + 1" * DEEP,
        "x" + ".x" * DEEP,
        "x" + " ?? x" * DEEP,
        "f(" * DEEP,
        "if a { yield 1 } else " * 3000 + "{ yield 2 }",
        "for a in b { yield " * DEEP,
    ],
    ids=lambda text: text[:8],
)
def test_deep_nesting_is_a_diagnostic(text: str) -> None:
    found = findings(f"workflow w() -> Text {{ return {text} }}")
    assert [f.id for f in found] == ["nesting-too-deep"]


def test_nesting_up_to_the_limit_parses() -> None:
    depth = MAX_NESTING - 10
    assert isinstance(expression("(" * depth + "1" + ")" * depth), ast.Paren)


def test_a_long_file_is_not_a_deep_one() -> None:
    assert len(body("x = 1 " * 5000)) == 5000


def test_source_is_utf8_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.mkb"
    path.write_bytes(b"\xef\xbb\xbf// \xc3\xa9\r\n")
    assert read_source(path) == "// é\r\n"


@pytest.mark.parametrize(
    ("data", "id", "line", "column"),
    [
        (b"a\n \xff", "not-utf8", 2, 2),
        (b"\xc3\xa9\0", "nul-byte", 1, 2),
        ("a".encode("utf-16"), "not-utf8", 1, 1),
    ],
)
def test_source_that_is_no_text_is_a_diagnostic(
    data: bytes, id: str, line: int, column: int
) -> None:
    with pytest.raises(CompileError) as caught:
        decode_source(data, "a.mkb")
    (found,) = caught.value.diagnostics
    assert found.span is not None
    assert (found.id, found.span.line, found.span.column) == (id, line, column)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    large = tmp_path / "large.mkb"
    large.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(CompileError, match="larger than 1 MiB"):
        read_source(large)
    with pytest.raises(InputError) as missing:
        read_source(tmp_path / "none.mkb")
    assert missing.value.diagnostics[0].id == "no-such-file"
    with pytest.raises(InputError) as folder:
        read_source(tmp_path)
    assert folder.value.diagnostics[0].id == "unreadable-file"
