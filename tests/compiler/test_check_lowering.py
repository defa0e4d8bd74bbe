import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from murakkab.compiler.frontend import check_text, select
from murakkab.ir.diagnostics import CompileError
from murakkab.ir.verifier import verify

from .checking import found, ops, program, sound
from .programs import programs

GOLDEN = Path(__file__).parents[1] / "golden"
SEEDS = [path.read_text() for path in sorted(GOLDEN.glob("*/*.mkb"))]


def kinds(body: str, params: str = "q: Text, m: Text?, a: Int, b: Int, p: Bool") -> list[str]:
    return [op.kind for op in ops(program(body, params)) if op.kind not in ("return", "yield")]


LOWERED = [
    ("return q", []),
    ("x = q\nreturn x", []),
    ("return (((q)))", []),
    ('return if a != 1 { yield q } else { yield "" }', ["const", "ne", "if", "const"]),
    ("return f(q) + q", ["call", "add"]),
    ("f(q)\nreturn q", ["call"]),
    # a right side without work that cannot fail is strict
    ("x = p and not p\nreturn q", ["not", "and"]),
    ("return m ?? q", ["coalesce"]),
    ("x = p or a / 2 > b\nreturn q", ["const", "div", "gt", "or"]),
    # any other runs only when it is needed
    ("x = p and g(q)\nreturn q", ["if", "call", "const"]),
    ("x = p or g(q)\nreturn q", ["if", "const", "call"]),
    ("x = p and a / b > b\nreturn q", ["if", "div", "gt", "const"]),
    ("x = m ?? optional f(q)\nreturn q", ["is_none", "if", "call"]),
    ("return m ?? f(q)", ["is_none", "if", "call", "const", "coalesce"]),
    # control
    ("x = for i in [q] { yield i }\nreturn q", ["list", "map"]),
    ("x = for i in [q] where g(i) { yield i }\nreturn q", ["list", "filter", "call", "map"]),
    ("return repeat up to 2 { yield q }", ["loop", "const"]),
    ("return repeat up to 2 { yield q until p }", ["loop"]),
]


@pytest.mark.parametrize(("body", "expected"), LOWERED)
def test_what_constructs_become(body: str, expected: list[str]) -> None:
    assert kinds(body) == expected


def values(body: str, params: str = "q: Text") -> list[str]:
    return [op.result.name for op in ops(program(body, params)) if op.result is not None]


NAMES = [
    ("a = f(q)\nb = f(a)\nreturn b", ["a", "b"]),
    ("return f(f(q))", ["f", "f_1"]),
    # a temporary keeps off the names of bindings, even later ones
    ("x = f(f(q))\nf = f(x)\nreturn f", ["f_1", "x", "f"]),
    ("f_1 = f(f(q))\nreturn f_1", ["f", "f_1"]),
    ("a = for x in [q] { t = f(x) yield t }\nt = f(q)\nreturn t", ["list", "a", "t", "t_1"]),
    ("return { n: { q }.q }.n", ["record", "q_1", "record_1", "n"]),
]


@pytest.mark.parametrize(("body", "expected"), NAMES)
def test_values_keep_the_names_of_the_source(body: str, expected: list[str]) -> None:
    assert values(body) == expected


def test_a_loop_yields_its_result_its_condition_and_what_it_carries() -> None:
    body = "return repeat up to 3 with n = 1, m = q { n = n + 1 yield f(m) until n > 2 }"
    (loop,) = (op for op in ops(program(body)) if op.kind == "loop")
    (region,) = loop.regions
    assert loop.attr("limit") == 3
    assert [a.name for a in region.args] == ["n", "m"]
    assert [o.name for o in region.terminator.operands] == ["f", "gt", "n_1", "m"]


def test_effects_stay_in_program_order() -> None:
    body = "post(q)\na = for x in [q] { post(x) yield x }\npost(f(q))\nreturn join(a, q)"
    called = [op.symbol for op in ops(program(body)) if op.kind == "call"]
    assert called == ["post", "post", "f", "post"]


def test_a_called_workflow_is_inlined_without_its_clauses() -> None:
    text = program("return sub(q) + sub(q)") + (
        "workflow sub(x: Text) -> Text require accuracy >= 0.9 { y = f(x) return f(y) }"
    )
    main, sub = sound(text).module.workflows
    assert [op.symbol for op in main.calls()] == ["f"] * 4
    assert (main.requirements, len(sub.requirements)) == ((), 1)


def test_parameters_of_an_inlined_workflow_have_their_declared_types() -> None:
    text = program('return sub(q, 1, []) ?? "x"') + (
        "workflow sub(t: Text?, n: Float, l: [[Text]]) -> Text? {\n"
        'a = t ?? f("x")\nb = for x in l { yield for y in x { yield y + a } }\n'
        "c = t == none\nd = n / 2\n"
        "return if c or d > 1 { yield join(flatten(b), a) } else { yield none }\n}"
    )
    sound(text)


CYCLES = [
    ("workflow a(x: Int) -> Int { return a(x) }", ["1:36 recursive-workflow"]),
    (
        "workflow a(x: Int) -> Int { return b(x) }\nworkflow b(x: Int) -> Int { return a(x) }",
        ["2:36 recursive-workflow"],
    ),
    (
        "workflow a(x: Int) -> Int { return b(x) }\nworkflow b(x: Int) -> Int { return x }\n"
        "workflow c(x: Int) -> Int { return a(b(x)) }",
        [],
    ),
]


@pytest.mark.parametrize(("text", "expected"), CYCLES)
def test_workflows_do_not_call_themselves(text: str, expected: list[str]) -> None:
    assert found(text) == expected


def test_inlining_that_doubles_at_each_step_is_refused() -> None:
    steps = [
        f"workflow w{i}(x: Text) -> Text {{ return w{i - 1}(x) + w{i - 1}(x) }}"
        for i in range(1, 60)
    ]
    text = (
        program("return w59(q)")
        + "workflow w0(x: Text) -> Text { return f(x) }\n"
        + "\n".join(steps)
    )
    assert [line.split()[1] for line in found(text)] == ["workflow-too-large"]


def test_a_long_chain_of_workflows_is_refused_not_a_crash() -> None:
    steps = [f"workflow w{i}(x: Bool) -> Bool {{ return w{i - 1}(x) }}" for i in range(1, 2000)]
    deep = "workflow w0(x: Bool) -> Bool { return " + "not " * 100 + "x }\n"
    assert [line.split()[1] for line in found(deep + "\n".join(steps))] == ["workflow-too-large"]


def test_selection_keeps_one_workflow_and_its_tasks() -> None:
    text = program("return f(q)") + "workflow other(x: Text) -> Bool { return g(x) }"
    checked = sound(text)
    module = select(checked, "other")
    verify(module)
    assert [w.name for w in module.workflows] == ["other"]
    assert [t.name for t in module.tasks] == ["g"]
    assert [t.name for t in checked.module.tasks] == ["f", "g"]


@pytest.mark.parametrize(
    ("text", "name", "id", "help"),
    [
        (program("return q"), "mian", "unknown-workflow", "did you mean `main`?"),
        (program("return q"), "zzz", "unknown-workflow", "the file declares `main`"),
        ("type A = Int", None, "no-workflow", None),
        (
            program("return q") + "workflow b(x: Int) -> Int { return x }",
            None,
            "choose-workflow",
            "choose one with `--workflow`: `main`, `b`",
        ),
    ],
)
def test_selection_that_fails(text: str, name: str | None, id: str, help: str | None) -> None:
    with pytest.raises(CompileError) as caught:
        select(check_text(text), name)
    (error,) = caught.value.diagnostics
    assert (error.id, error.help) == (id, help)


def test_checking_twice_gives_the_same_module() -> None:
    for text in SEEDS:
        if "--emit flow" in text.split("\n", 1)[0]:
            assert check_text(text).module == check_text(text).module


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_any_program_is_either_wrong_or_has_valid_ir(text: str) -> None:
    _checks_or_says_why(text)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SEEDS), st.data())
def test_mutated_programs_are_either_wrong_or_have_valid_ir(seed: str, data: st.DataObject) -> None:
    tokens = re.findall(r'"""(?:.|\n)*?"""|"[^"\n]*"|//[^\n]*\n|\w+|\s+|\S', seed)
    for _ in range(data.draw(st.integers(1, 4))):
        here = data.draw(st.integers(0, len(tokens) - 1))
        there = data.draw(st.integers(0, len(tokens) - 1))
        action = data.draw(st.sampled_from(["copy", "delete", "swap"]))
        if action == "delete":
            tokens[here] = ""
        elif action == "copy":
            tokens[here] = tokens[there]
        else:
            tokens[here], tokens[there] = tokens[there], tokens[here]
    _checks_or_says_why("".join(tokens))


def _checks_or_says_why(text: str) -> None:
    try:
        checked = check_text(text)
    except CompileError as error:
        assert any(d.severity == "error" for d in error.diagnostics)
        assert all(d.span is not None for d in error.diagnostics)
        return
    verify(checked.module)
