"""Broken programs must give diagnostics: never another exception, never a hang."""

import random
import re
from pathlib import Path

import pytest

from murakkab.compiler import ast
from murakkab.compiler.formatter import format_source
from murakkab.compiler.parser import parse
from murakkab.ir.diagnostics import CompileError

from .samples import EVERYTHING

ROOT = Path(__file__).parents[2]
CORPUS = [EVERYTHING] + [
    text[:3000]
    for path in sorted([*ROOT.glob("tests/golden/**/*.mkb"), *ROOT.glob("examples/**/*.mkb")])
    for text in [path.read_text("utf-8")]
]
WORDS = re.compile(r"\w+|\s+|.", re.DOTALL)
INSERTS = [
    *("{", "}", "(", ")", "[", "]", ",", ":", "=", "==", "<", "->", "?", "??", "|", "-", "%", "$"),
    *('"', '"""', "\\", "//", "///", "\n", "\r", "\t", "\0", "é", "\u2028", "\ud800", "9" * 30),
    *("if", "else", "for", "in", "yield", "return", "task", "workflow", "effect", "with", "not"),
    *("require", "expect", "repeat", "optional", "using", "type", "import", "true", "kWh", "Foo"),
]


def mutate(text: str, rng: random.Random) -> str:
    """A piece of the text with one to four characters, words or lines changed."""
    pattern = rng.choice((WORDS, WORDS, None))
    parts = pattern.findall(text) if pattern else text.splitlines(keepends=True)
    size = min(len(parts), rng.choice((20, 60, 200)))
    begin = rng.randrange(len(parts) - size + 1) if rng.random() < 0.7 else 0
    parts = parts[begin : begin + size]
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(parts) + 1)
        match rng.randrange(5):
            case 0:
                del parts[at : at + rng.randint(1, 3)]
            case 1:
                parts.insert(at, rng.choice(INSERTS))
            case 2:
                parts[at:at] = parts[at : at + 3]
            case 3:
                parts[at : at + 1] = [rng.choice(INSERTS)]
            case _:
                parts[at : at + 2] = reversed(parts[at : at + 2])
    return "".join(parts)


@pytest.mark.parametrize("seed", range(10))
def test_mutated_programs_give_a_tree_or_diagnostics(seed: int) -> None:
    rng = random.Random(seed)
    outcomes = {"tree": 0, "diagnostics": 0}
    for _ in range(2000):
        text = mutate(rng.choice(CORPUS), rng)
        try:
            assert isinstance(parse(text, "a.mkb"), ast.File)
            formatted = format_source(text, "a.mkb")
            assert format_source(formatted, "a.mkb") == formatted
            outcomes["tree"] += 1
        except CompileError as error:
            lines = text.count("\n") + 1
            spans = [found.span for found in error.diagnostics]
            assert all(span is not None and 1 <= span.line <= lines for span in spans), text
            outcomes["diagnostics"] += 1
    assert min(outcomes.values()) > 20, outcomes


@pytest.mark.parametrize("seed", range(2))
def test_random_characters_give_a_tree_or_diagnostics(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(1000):
        text = "".join(rng.choice(INSERTS) for _ in range(rng.randint(1, 40)))
        try:
            parse(text, "a.mkb")
        except CompileError as error:
            assert error.diagnostics
