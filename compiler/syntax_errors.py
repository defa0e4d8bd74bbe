"""Words for syntax errors: from the place where a parse got stuck to a diagnostic."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lark import Token

from ..ir.diagnostics import Diagnostic, Label, did_you_mean
from ..ir.types import BASE_TYPES
from .lexer import CLOSING, token_span

_COMPARISONS = frozenset({"GE", "LE", "EQ", "NE", "LESSTHAN", "MORETHAN"})
DECLARATIONS = frozenset({"IMPORT", "TYPEDECL", "TASK", "EFFECT", "WORKFLOW"})
_CLAUSES = frozenset({"MINIMIZE", "MAXIMIZE", "REQUIRE", "EXPECT"})
_STATEMENTS = frozenset({"NAME", "YIELD", "RETURN", "RBRACE"})
_LITERALS = frozenset({"NUMBER", "STRING", "LONGSTRING", "TRUE", "FALSE", "NONE"})
_ATOMS = _LITERALS | {"NAME", "LPAR", "LSQB", "LBRACE"}
_EXPRESSIONS = _ATOMS | {"MINUS", "OPTIONAL", "NOT"}
_COMPOUND = frozenset({"FOR", "REPEAT", "IF"})
_OPERATORS = _COMPARISONS | {"PLUS", "MINUS", "STAR", "SLASH", "AND", "OR", "COALESCE", "DOT"}
AFTER_NAME = frozenset({"EQUAL", "COLON", "LPAR", "RPAR", "RSQB", "COMMA", "DOT"})

# What stands together in the grammar is named together: (terminals, words), the widest first.
_GROUPS = (
    (_EXPRESSIONS | _COMPOUND, "an expression"),
    (_EXPRESSIONS, "an expression"),
    (_ATOMS | {"MINUS", "OPTIONAL"}, "a value"),
    (_ATOMS, "a value"),
    (frozenset({"NUMBER", "MONEY", "MINUS", "STRING", "NAME", "TRUE", "FALSE"}), "a value"),
    (frozenset({"NUMBER", "MONEY", "NAME"}), "a quantity or a tier"),
    (frozenset({"TYPE", "LSQB", "LBRACE", "STRING"}), "a type"),
    (frozenset({"NAME", "TYPE", "WORD"}), "a unit"),
    (_STATEMENTS - {"RBRACE"}, "a statement"),
    (DECLARATIONS, "a declaration"),
    (_CLAUSES, "a clause"),
    (_OPERATORS - {"DOT"}, "an operator"),
    (_COMPARISONS, "a comparison"),
    (frozenset({"NUMBER", "MONEY"}), "a quantity"),
    (frozenset({"STRING", "LONGSTRING"}), "a string"),
    (frozenset({"TRUE", "FALSE"}), "`true` or `false`"),
)
_CLASSES = {
    "NAME": "a name",
    "TYPE": "a type",
    "NUMBER": "a number",
    "MONEY": "an amount of money",
    "STRING": "a string",
    "LONGSTRING": "a string",
    "WORD": "a unit",
    "$END": "the end of the file",
}
_NAMED_BY_TEXT = frozenset({"NAME", "TYPE", "WORD", "NUMBER", "MONEY"})


@dataclass(frozen=True, slots=True)
class Mistake:
    """Where a parse got stuck.

    `before` holds up to three tokens that went well, `after` the one that follows, if any;
    `expected` the terminals that would have been right, `open` the innermost open bracket, and
    `spelling` how the fixed terminals are written.
    """

    found: Token
    before: tuple[Token, ...]
    after: tuple[Token, ...]
    expected: frozenset[str]
    open: Token | None
    spelling: dict[str, str]

    @property
    def kind(self) -> str:
        """The terminal found."""
        return self.found.type

    @property
    def is_word(self) -> bool:
        """Whether a reserved word was found."""
        return self.spelling.get(self.kind, "").isalpha()

    @property
    def on_new_line(self) -> bool:
        """Whether nothing precedes the token on its line."""
        return not self.before or (self.found.line or 0) > (self.before[-1].end_line or 0)

    @property
    def declares(self) -> bool:
        """Whether a declaration seems to begin here."""
        return self.kind in DECLARATIONS and self.on_new_line and not self.is_followed_as_name

    @property
    def is_followed_as_name(self) -> bool:
        """Whether the next token is one that comes after names."""
        return bool(self.after) and self.after[0].type in AFTER_NAME

    def follows(self, *kinds: str) -> bool:
        """Tell whether the tokens before end in these terminals."""
        return tuple(token.type for token in self.before[-len(kinds) :]) == kinds

    def word(self, kind: str) -> str:
        """Name a terminal in words."""
        return _CLASSES.get(kind) or f"`{self.spelling[kind]}`"

    def found_words(self) -> str:
        """Name what was found in words."""
        return self.word(self.kind) if self.kind not in _NAMED_BY_TEXT else f"`{self.found}`"

    def wanted(self) -> str | None:
        """Name what was expected in words, or None when that is too much to tell."""
        rest = set(self.expected)
        if not rest <= {"QMARK", "COALESCE"}:
            rest -= {"QMARK", "COALESCE"}  # never what the author forgot
        words: list[str] = []
        for group, name in _GROUPS:
            if group <= rest:
                rest -= group
                words.append(name)
        words += sorted({self.word(kind) for kind in rest})
        if len(words) > 4 or not words:
            return None
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


@dataclass(frozen=True, slots=True)
class _Finding:
    id: str
    message: str
    help: str | None = None
    at: Token | None = None  # the found token when None
    label: tuple[Token, str] | None = None


_Rule = Callable[[Mistake], _Finding | None]


def explain(mistake: Mistake, path: str) -> Diagnostic:
    """Return the most specific diagnostic for a mistake."""
    found = next(filter(None, (rule(mistake) for rule in _RULES)))
    labels: tuple[Label, ...] = ()
    if found.label is not None:
        token, message = found.label
        labels = (Label(token_span(token, path), message),)
    span = token_span(found.at or mistake.found, path)
    return Diagnostic(found.id, found.message, span, labels=labels, help=found.help)


def _unclosed_bracket(m: Mistake) -> _Finding | None:
    if m.open is None or not (m.kind == "$END" or m.declares):
        return None
    closing = m.spelling[CLOSING[m.open.type]]
    return _Finding(
        "unclosed-bracket",
        f"expected `{closing}` before {m.found_words()}",
        label=(m.open, f"this `{m.open}` is never closed"),
    )


def _wrong_bracket(m: Mistake) -> _Finding | None:
    if m.kind not in CLOSING.values():
        return None
    if m.open is None:
        return _Finding("unopened-bracket", f"there is no open bracket for this `{m.found}`")
    closing = CLOSING[m.open.type]
    if m.kind == closing:
        return None
    return _Finding(
        "mismatched-bracket",
        f"expected `{m.spelling[closing]}`, found `{m.found}`",
        label=(m.open, f"this `{m.open}` is still open"),
    )


def _empty_braces(m: Mistake) -> _Finding | None:
    if m.kind != "RBRACE" or not m.follows("LBRACE"):
        return None
    if m.follows("WITH", "LBRACE"):
        return _Finding("empty-pins", "this `with` pins nothing", "leave `with { }` out")
    return _Finding("empty-record", "a record has at least one field", "write `none` for no value")


def _invalid_name(m: Mistake) -> _Finding | None:
    if m.kind == "WORD":
        if "TYPE" in m.expected:
            plain = re.sub(r"[^A-Za-z0-9]", "", m.found.title() if "_" in m.found else m.found)
            advice = "types begin with a capital and hold letters and digits"
            return _named(m, "type", advice, plain[:1].upper() + plain[1:])
        plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", m.found).lower()
        return _named(m, "name", "names hold a to z, digits and `_`", plain)
    if m.kind == "NAME" and "TYPE" in m.expected and "NAME" not in m.expected:
        close = did_you_mean(m.found.capitalize(), BASE_TYPES)
        return _Finding("invalid-name", f"`{m.found}` is no type", close or _capital(m.found))
    if m.kind == "TYPE" and "NAME" in m.expected and "TYPE" not in m.expected:
        advice = f"names begin with a small letter: `{m.found.lower()}`"
        return _Finding("invalid-name", f"`{m.found}` is a type, where a name is expected", advice)
    return None


def _named(m: Mistake, kind: str, advice: str, plain: str) -> _Finding:
    good = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", plain) is not None and plain != m.found
    return _Finding(
        "invalid-name", f"`{m.found}` is no {kind}", f"{advice}: `{plain}`" if good else advice
    )


def _capital(name: str) -> str:
    plain = "".join(part.capitalize() for part in name.split("_"))
    return f"types begin with a capital letter: `{plain}`"


def _reserved_word(m: Mistake) -> _Finding | None:
    at = None
    if m.is_word and "NAME" in m.expected:
        statement = m.kind in ("YIELD", "RETURN") and m.on_new_line
        expression = m.kind in _COMPOUND | {"OPTIONAL", "NOT"}
        equated = bool(m.after) and m.after[0].type in ("EQUAL", "COLON")
        lone = m.is_followed_as_name or not _ATOMS <= m.expected
        if (lone and not statement and not expression) or (expression and equated):
            at = m.found
    elif m.kind in ("EQUAL", "COLON") and m.before and m.before[-1].type in m.spelling:
        at = m.before[-1] if m.before[-1].isalpha() else None
    if at is None:
        return None
    help = f"choose another name, such as `{at}_`"
    return _Finding("reserved-word", f"`{at}` is a word of the language, not a name", help, at)


def _sign(m: Mistake) -> _Finding | None:
    if m.kind == "EQUAL" and _COMPARISONS <= m.expected:
        if "COLON" in m.expected:
            return _Finding("expected-colon", "a pin has no `=`", "write `:`")
        if "PLUS" in m.expected:
            message = "`=` binds a name, and this is an expression"
            return _Finding("expected-comparison", message, "write `==` to compare")
        message = "a requirement is a comparison"
        return _Finding("expected-comparison", message, "write `<=` or `>=`")
    if m.kind in ("EQUAL", "EQ") and "COLON" in m.expected:
        return _Finding("expected-colon", f"expected `:`, found `{m.found}`", "write `:`")
    if m.kind in _COMPARISONS | {"COLON"} and "EQUAL" in m.expected:
        return _Finding("expected-equals", f"expected `=`, found `{m.found}`", "write `=` to bind")
    return None


def _missing_else(m: Mistake) -> _Finding | None:
    if m.expected != {"ELSE"}:
        return None
    return _Finding(
        "missing-else",
        "this `if` has no `else`",
        "an `if` is an expression, so it needs both: add `else { yield none }`",
        at=m.before[-1],
    )


def _chained_comparison(m: Mistake) -> _Finding | None:
    if m.kind not in _COMPARISONS or "AND" not in m.expected:
        return None
    return _Finding("chained-comparison", "comparisons do not chain", "write `a < b and b < c`")


def _single_enum(m: Mistake) -> _Finding | None:
    if m.expected != {"VBAR"}:
        return None
    return _Finding(
        "single-value-enum",
        "an enumeration type has at least two values",
        f"write `Text`, or add another: `{m.before[-1]} | …`",
        at=m.before[-1],
    )


def _missing_result(m: Mistake) -> _Finding | None:
    if m.expected != {"ARROW"}:
        return None
    return _Finding(
        "missing-result-type",
        f"expected `->` and the type of the result, found {m.found_words()}",
        "write `-> Text`",
    )


def _misspelt_start(m: Mistake) -> _Finding | None:
    for kind, starts in (("declaration", DECLARATIONS), ("clause", _CLAUSES)):
        if m.kind == "NAME" and starts <= m.expected:
            known = sorted(m.spelling[start] for start in starts)
            words = ", ".join(f"`{word}`" for word in known)
            help = did_you_mean(m.found, known) or f"a {kind} begins with one of {words}"
            return _Finding(f"expected-{kind}", f"`{m.found}` begins no {kind}", help)
    return None


def _missing_comma(m: Mistake) -> _Finding | None:
    begins = m.kind in (_LITERALS | {"NAME", "TYPE", "OPTIONAL", "NOT"} | _COMPOUND)
    if m.open is None or "COMMA" not in m.expected or not begins:
        return None
    return _Finding(
        "missing-comma", f"expected `,` before {m.found_words()}", "separate the items by `,`"
    )


def _not_a_statement(m: Mistake) -> _Finding | None:
    help = "bind it to a name, or `yield` or `return` it"
    if m.expected == {"EQUAL", "LPAR"} and m.follows("NAME"):
        name = m.before[-1]
        return _Finding("not-a-statement", f"`{name}` alone is no statement", help, at=name)
    begins = m.on_new_line or m.follows("LBRACE")
    if _STATEMENTS <= m.expected and m.kind in _EXPRESSIONS | _COMPOUND and begins:
        return _Finding("not-a-statement", "an expression alone is no statement", help)
    return None


def _needs_parentheses(m: Mistake) -> _Finding | None:
    if m.kind not in _COMPOUND or not _ATOMS <= m.expected:
        return None
    message = f"`{m.found}` must stand in parentheses here"
    return _Finding("needs-parentheses", message, f"write `({m.found} … {{ … }})`")


def _long_string(m: Mistake) -> _Finding | None:
    if m.kind != "LONGSTRING" or "STRING" not in m.expected:
        return None
    return _Finding(
        "long-string", "a string of one line is expected here", 'write it in one line: `"…"`'
    )


def _anything(m: Mistake) -> _Finding:
    wanted = m.wanted()
    if m.kind == "$END":
        where = "too early" if wanted is None else f"where {wanted} is expected"
        return _Finding("unexpected-end", f"the file ends {where}")
    if wanted is None:
        return _Finding("syntax-error", f"{m.found_words()} does not belong here")
    return _Finding("syntax-error", f"expected {wanted}, found {m.found_words()}")


_RULES: tuple[_Rule, ...] = (
    _unclosed_bracket,
    _missing_else,
    _empty_braces,
    _wrong_bracket,
    _invalid_name,
    _reserved_word,
    _sign,
    _chained_comparison,
    _single_enum,
    _missing_result,
    _misspelt_start,
    _missing_comma,
    _not_a_statement,
    _needs_parentheses,
    _long_string,
    _anything,
)
