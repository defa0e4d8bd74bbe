import pytest

from .checking import diagnostics, found, program, sound

BLOCKS = [
    # every block ends in one `yield`, the body in `return`
    ("a = f(q)", ["5:1 missing-return"]),
    ("yield q", ["4:1 misplaced-yield"]),
    ("return q\nreturn q", ["5:1 statement-after-end"]),
    ("return q\nf(q)\ng(q)", ["5:1 statement-after-end"]),
    ("return if true == g(q) { return q } else { yield q }", ["4:26 misplaced-return"]),
    ("return if g(q) { } else { yield q }", ["4:18 missing-yield"]),
    ("return if g(q) { yield q yield q } else { yield q }", ["4:26 statement-after-end"]),
    ("for_ = for x in [q] { f(x) }\nreturn q", ["4:28 missing-yield"]),
    # `until` belongs to `repeat`
    ("a = for x in [q] { yield x until g(x) }\nreturn q", ["4:34 misplaced-until"]),
    ("yield q until g(q)", ["4:1 misplaced-yield"]),
    (
        "return repeat up to 2 { a = if g(q) { yield q until g(q) } else { yield q } yield a }",
        ["4:53 misplaced-until"],
    ),
    # a number of at least 1
    ("return repeat up to 0 { yield q }", ["4:21 repeat-limit"]),
    ("return repeat up to 1.5 { yield q }", ["4:21 repeat-limit"]),
    # names are bound once in a block
    ("a = q\na = q\nreturn a", ["5:1 rebound-name"]),
    ("q = f(q)\nreturn q", ["4:1 rebound-name"]),
    ("return join(for x in [q] { x = q yield x }, q)", ["4:28 rebound-name"]),
    (
        "return repeat up to 2 with n = q { n = f(n) n = f(n) yield n }",
        ["4:45 rebound-name"],
    ),
    ("return repeat up to 2 with n = q, n = q { yield n }", ["4:35 rebound-name"]),
    # a carried name has the join of its types
    ("return repeat up to 2 with n = 1 { n = q yield q }", ["4:36 mixed-types"]),
    ("return repeat up to 2 with n = [] { n = [n] yield q }", ["4:28 growing-type"]),
    # what control works on
    ("return if q { yield q } else { yield q }", ["4:11 type-mismatch"]),
    ("return if g(q) { yield q } else { yield 1 }", ["4:41 mixed-types"]),
    ("return if g(q) { yield q } else if q { yield q } else { yield q }", ["4:36 type-mismatch"]),
    ("a = for x in q { yield x }\nreturn q", ["4:14 type-mismatch"]),
    ("a = for x in m { yield x }\nreturn q", ["4:14 optional-value"]),
    ("a = for x in [q] where x { yield x }\nreturn q", ["4:24 type-mismatch"]),
    ("return repeat up to 2 { yield q until q }", ["4:39 type-mismatch"]),
    # scopes
    ("a = for x in [q] { y = x yield y }\nreturn y", ["5:8 unknown-name"]),
    ("a = for x in [q] { yield x }\nreturn x", ["5:8 unknown-name"]),
    ("a = b\nb = q\nreturn a", ["4:5 unknown-name"]),
    ("return repeat up to 2 with n = q, k = n { yield k }", ["4:39 unknown-name"]),
    ("a = for x in [x] { yield x }\nreturn q", ["4:15 unknown-name"]),
]


@pytest.mark.parametrize(("body", "expected"), BLOCKS)
def test_blocks(body: str, expected: list[str]) -> None:
    assert found(program(body, "q: Text, m: [Text]?")) == expected


WARNINGS = [
    ("a = f(q)\nreturn q", ["4:1 unused-binding"]),
    ("_a = f(q)\nreturn q", []),
    ("a = f(q)\nb = { a }\nreturn b.a", []),
    ("f(q)\nreturn q", []),
    ("return repeat up to 2 with n = 1 { n = 2 yield q }", ["4:28 unused-binding"]),
    ("return repeat up to 2 with n = 1 { n = n + 1 yield q }", []),
    ("a = q\nreturn join(for x in [a] { a = x yield a }, q)", ["5:28 shadowed-name"]),
    ("return join(for q in [q] { yield q }, q)", ["4:17 shadowed-name"]),
    ("return if true { yield q } else { yield q }", ["4:33 unreachable-branch"]),
    ("return if false { yield q } else { yield q }", ["4:17 unreachable-branch"]),
    ("return if not (1 + 1 == 2) { yield q } else { yield q }", ["4:28 unreachable-branch"]),
    ("return if false and g(q) { yield q } else { yield q }", ["4:26 unreachable-branch"]),
    ("return if g(q) or true { yield q } else { yield q }", ["4:41 unreachable-branch"]),
    ('return if kind == "z" { yield q } else { yield q }', ["4:23 unreachable-branch"]),
    ('return if kind == "x" { yield q } else { yield q }', []),
    ("a = 1\nreturn if a > 2 { yield q } else { yield q }", ["5:17 unreachable-branch"]),
    ("return join(for x in [q] where false { yield x }, q)", ["4:32 unsatisfiable-where"]),
    ("return join(for x in [q] where 1 > 2 { yield x }, q)", ["4:32 unsatisfiable-where"]),
    ("return join(for x in [q] where x != q { yield x }, q)", []),
    # what a loop carries is not constant, whatever it starts from
    (
        "return repeat up to 9 with n = 1 { a = if n > 1 { yield q } else { yield f(q) } "
        "n = n + 1 yield a }",
        [],
    ),
    (
        "return repeat up to 9 with n = 1 { a = if n > 1 { yield q } else { yield f(q) } "
        "n = n + 0.5 yield a }",
        [],
    ),
]


@pytest.mark.parametrize(("body", "expected"), WARNINGS)
def test_warnings(body: str, expected: list[str]) -> None:
    text = program(body, 'q: Text, kind: "x" | "y"')
    sound(text)
    assert found(text) == expected


def test_a_warning_is_no_error() -> None:
    assert {d.severity for d in diagnostics(program("a = 1\nreturn q"))} == {"warning"}


def test_what_is_unused_is_not_reported_beside_errors() -> None:
    assert found(program("drafd = q\nreturn draft")) == ["5:8 unknown-name"]


def test_repeats_that_widen_inside_each_other_settle_quickly() -> None:
    body = "return q"
    for depth in range(20):
        open = f"x{depth} = repeat up to 2 with n{depth} = 1 {{ n{depth} = n{depth} + 0.5 "
        body = f"{open}{body.removeprefix('return q')} yield n{depth} }}\n"
    sound(program(body + "return q"))
