"""Programs as people write them, drawn by chance: `for`s over the same lists, effects, loops.

Generated IR (`tests/ir/modules.py`) has every form there is, but seldom those that a pass is for.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

TASKS = """
task ask(text: Text) -> Text "Ask."
task size(text: Text) -> Int "Count."
task good(text: Text) -> Bool "Judge."
task split(text: Text) -> [Text] "Split."
task note(text: Text, number: Int) -> { text: Text, number: Int } "Note."
task total(texts: [Text]) -> Text "Sum up."
effect task post(text: Text) -> Int "Post."
"""
HEAD = "workflow w(q: Text, xs: [Text], flag: Bool) -> {result} {{\n{body}\n}}\n"
TEXT, INT, BOOL, TEXTS, INTS, NOTE, NOTES = (
    *("Text", "Int", "Bool", "[Text]", "[Int]"),
    *("{ text: Text, number: Int }", "[{ text: Text, number: Int }]"),
)
ITEMS = {TEXTS: TEXT, INTS: INT, NOTES: NOTE}
LISTS = {item: kind for kind, item in ITEMS.items()}
# What an expression of a type may be, beside a name: `{Text}` stands for an expression of Text.
FORMS: dict[str, Sequence[str]] = {
    TEXT: (
        *("ask({Text})", "total({[Text]})", "{Text} + {Text}", 'join({[Text]}, "-")'),
        *('(optional ask({Text}) ?? "-")', "{Note}.text", '"a"'),
    ),
    INT: (
        *("size({Text})", "post({Text})", "len({[Text]})", "{Int} + {Int}", "{Note}.number"),
        *("1", "(optional size({Text}) ?? 2)"),
    ),
    BOOL: (
        *("good({Text})", "{Int} > 1", "len({Text}) > 1", "({Bool} and {Bool})"),
        *("not {Bool}", "6 / {Int} > 2.0"),
    ),
    TEXTS: ("split({Text})", "[{Text}, {Text}]", "xs"),
    INTS: ("[{Int}, {Int}]",),
    NOTE: ("note({Text}, {Int})", "{{ text: {Text}, number: {Int} }}"),
    NOTES: ("[{Note}]",),
}
CALLS = (
    *((TEXT, "ask({Text})"), (TEXT, "{Text} + ask({Text})"), (INT, "post({Text})")),
    *(
        (INT, "post({Text})"),
        (INT, "post({Text})"),
        (INT, "size({Text})"),
        (BOOL, "good({Text})"),
        (TEXTS, "split({Text})"),
    ),
    *((NOTE, "note({Text}, {Int})"), (TEXT, "total({[Text]})"), (BOOL, "2 / {Int} > 1.0")),
)


class _Writer:
    """Draws the blocks of one program; names are never used twice."""

    def __init__(self, draw: DrawFn) -> None:
        self._draw = draw
        self._names = 0

    def _one(self, choices: Sequence[str]) -> str:
        return self._draw(st.sampled_from(choices))

    def _name(self) -> str:
        self._names += 1
        return f"v{self._names}"

    def expression(self, kind: str, scope: dict[str, str], depth: int = 2) -> str:
        """Return an expression of a type: mostly something that has a name already."""
        known = [name for name, of in scope.items() if of == kind]
        if known and (depth == 0 or self._draw(st.integers(0, 2)) > 0):
            return self._one(known[-4:])
        return self.filled(self._one(FORMS[kind] if depth else FORMS[kind][-1:]), scope, depth)

    def filled(self, form: str, scope: dict[str, str], depth: int) -> str:
        """Return a form with expressions of the types that it asks for."""
        names = {"Text": TEXT, "Int": INT, "Bool": BOOL, "[Text]": TEXTS, "Note": NOTE}
        for shown, inner in names.items():
            while "{" + shown + "}" in form:
                text = self.expression(inner, scope, max(depth - 1, 0))
                form = form.replace("{" + shown + "}", text, 1)
        return form.replace("{{", "{").replace("}}", "}")

    def block(self, scope: dict[str, str], depth: int, number: int) -> tuple[list[str], list[str]]:
        """Return statements, and the names that they bind; the scope learns them."""
        lines, bound = [], []
        for _ in range(self._draw(st.integers((number + 1) // 2, number))):
            name = self._name()
            ways = [self._let, self._for, self._for, self._for, self._sift, self._if, self._repeat]
            kind, text = self._draw(st.sampled_from(ways if depth else ways[:1]))(scope, depth)
            lines.append(f"{name} = {text}")
            scope[name] = kind
            bound.append(name)
        return lines, bound

    def _inside(self, scope: dict[str, str], depth: int, kind: str) -> tuple[str, str]:
        """Return the statements of a block and an expression of a type to yield."""
        inner = dict(scope)
        lines, bound = self.block(inner, depth - 1, 2)
        fresh = [name for name in bound if inner[name] == kind]
        return "\n".join(lines), fresh[-1] if fresh else self.expression(kind, inner)

    def _let(self, scope: dict[str, str], depth: int) -> tuple[str, str]:
        kind, form = self._draw(st.sampled_from(CALLS))
        return kind, self.filled(form, scope, 1)

    def _for(self, scope: dict[str, str], depth: int) -> tuple[str, str]:
        lists = [name for name, of in scope.items() if of in ITEMS]
        source = self._one(["xs", "xs", lists[-1], *lists[-2:]])
        item, kind = self._name(), self._one([TEXT, INT, NOTE])
        inner = scope | {item: ITEMS[scope[source]]}
        where = ""
        if self._draw(st.integers(0, 4)) == 0:
            where = f" where {self.expression(BOOL, inner)}"
        lines, result = self._inside(inner, depth, kind)
        return LISTS[kind], f"for {item} in {source}{where} {{\n{lines}\nyield {result}\n}}"

    def _sift(self, scope: dict[str, str], depth: int) -> tuple[str, str]:
        """Work on items, and go on with some of them."""
        item, one = self._name(), self._name()
        inner = scope | {item: TEXT}
        lines, bound = self.block(inner, 0, 3)
        number = self.expression(INT, {name: inner[name] for name in bound}, 1)
        lines.append(f"yield {{ text: {self.expression(TEXT, inner)}, number: {number} }}")
        made = "\n".join((f"for {item} in xs {{", *lines, "}"))
        asked = self.expression(BOOL, scope | {one: NOTE})
        where = self._one([f"{one}.number > 1", f"good({one}.text)", asked])
        return TEXTS, f"for {one} in {made} where {where} {{ yield {one}.text }}"

    def _if(self, scope: dict[str, str], depth: int) -> tuple[str, str]:
        kind = self._one([TEXT, INT])
        condition = self.expression(BOOL, scope)
        then, one = self._inside(scope, depth, kind)
        orelse, other = self._inside(scope, depth, kind)
        text = f"if {condition} {{\n{then}\nyield {one}\n}} else {{\n{orelse}\nyield {other}\n}}"
        return kind, text

    def _repeat(self, scope: dict[str, str], depth: int) -> tuple[str, str]:
        carried = self._name()
        first = self._one([name for name, of in scope.items() if of == TEXT])
        inner = scope | {carried: TEXT}
        lines, result = self._inside(inner, depth, TEXT)
        again = f"{carried} = {self.expression(TEXT, inner)}"
        until = f" until {self.expression(BOOL, inner)}" if self._draw(st.booleans()) else ""
        times = self._draw(st.integers(1, 3))
        head = f"repeat up to {times} with {carried} = {first}"
        return TEXT, f"{head} {{\n{lines}\n{again}\nyield {result}{until}\n}}"


@st.composite
def programs(draw: DrawFn) -> str:
    """Programs that compile; their result is a record of most of what they compute."""
    scope = {"q": TEXT, "xs": TEXTS, "flag": BOOL}
    lines, bound = _Writer(draw).block(scope, 2, 5)
    told = [name for name in bound if draw(st.integers(0, 4)) > 0] or bound[-1:]
    lines.append(f"return {{ {', '.join(told)} }}")
    result = "{ " + ", ".join(f"{name}: {scope[name]}" for name in told) + " }"
    return TASKS + HEAD.format(result=result, body="\n".join(lines))
