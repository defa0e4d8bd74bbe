"""Syntactically valid `.mkb` programs for property tests, as lists of tokens and as text."""

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

NAMES = ("x", "y", "scene", "notes", "energy", "s", "p95", "best", "len", "h", "model", "rate")
TYPES = ("Text", "Int", "Float", "Image", "Scene")
UNITS = ("s", "min", "kWh", "/ min", "tokens / s", "%", "GB", "J / h")
METRICS = ("energy", "cost", "latency", "gpus", "accuracy")

Tokens = list[str]

names = st.sampled_from(NAMES)
numbers = st.one_of(
    st.integers(0, 10**6).map(str),
    st.floats(0, 1000).map(lambda value: f"{value:.3f}"),
)
strings = st.text(st.sampled_from('ab {}é/\\"\n\t'), max_size=60).map(
    lambda text: '"' + "".join(_escape(char) for char in text) + '"'
)
long_strings = st.lists(st.text(st.sampled_from(" \tab\\"), max_size=8), min_size=1).map(
    lambda lines: '"""' + "\n".join(lines) + '"""'
)


def _escape(char: str) -> str:
    return {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}.get(char, char)


@st.composite
def listed(draw: DrawFn, part: SearchStrategy[Tokens], least: int = 0, most: int = 3) -> Tokens:
    """Parts with `,` between them and perhaps after the last."""
    parts = draw(st.lists(part, min_size=least, max_size=most))
    tokens = [token for one in parts for token in (*one, ",")]
    return tokens if draw(st.booleans()) else tokens[:-1]


def types() -> SearchStrategy[Tokens]:
    primary = st.sampled_from(TYPES).map(lambda name: [name])
    enums = st.lists(strings, min_size=2, max_size=4).map(_alternatives)

    def larger(inner: SearchStrategy[Tokens]) -> SearchStrategy[Tokens]:
        fields = listed(st.tuples(names, inner).map(lambda f: [f[0], ":", *f[1]]))
        return st.one_of(
            inner.map(lambda kind: ["[", *kind, "]"]),
            fields.map(lambda tokens: ["{", *tokens, "}"]),
            inner.map(lambda kind: ["[", *kind, "]", "?"]),
        )

    optional = primary.map(lambda kind: [*kind, "?"])
    return st.recursive(st.one_of(primary, optional, enums), larger, max_leaves=4)


def _alternatives(values: list[str]) -> Tokens:
    return [token for value in values for token in ("|", value)][1:]


@st.composite
def quantities(draw: DrawFn) -> Tokens:
    if draw(st.booleans()):
        return [f"${draw(numbers)}"]
    unit = draw(st.sampled_from(("", *UNITS)))
    return [draw(numbers), *unit.split()]


@st.composite
def pins(draw: DrawFn) -> Tokens:
    sign = draw(st.sampled_from((":", "<=", ">=", "==", "!=", "<", ">")))
    value = draw(
        st.one_of(
            quantities(),
            quantities().map(lambda tokens: ["-", *tokens]),
            st.one_of(strings, names, st.sampled_from(("true", "false"))).map(lambda t: [t]),
        )
    )
    return [draw(names), sign, *value]


@st.composite
def calls(draw: DrawFn, depth: int) -> Tokens:
    args = draw(listed(expressions(depth - 1)))
    tokens = [draw(names), "(", *args, ")"]
    if draw(st.integers(0, 3)) == 0:
        tokens += ["with", "{", *draw(listed(pins(), least=1)), "}"]
    return tokens


@st.composite
def atoms(draw: DrawFn, depth: int) -> Tokens:
    kind = draw(st.integers(0, 9 if depth > 0 else 3))
    if kind <= 1:
        return [draw(names)]
    if kind <= 3:
        literal = st.one_of(strings, long_strings, numbers, st.sampled_from(("true", "none")))
        return [draw(literal)]
    if kind <= 6:
        return draw(calls(depth))
    if kind == 7:
        return ["(", *draw(expressions(depth - 1)), ")"]
    if kind == 8:
        return ["[", *draw(listed(expressions(depth - 1))), "]"]
    field = st.tuples(names, expressions(depth - 1))
    plain = field.map(lambda part: [part[0]])
    given = field.map(lambda part: [part[0], ":", *part[1]])
    return ["{", *draw(listed(st.one_of(plain, given), least=1)), "}"]


@st.composite
def operations(draw: DrawFn, depth: int) -> Tokens:
    """What may stand in a condition: everything up to `or`."""
    if depth <= 0:
        return draw(atoms(0))
    kind = draw(st.integers(0, 7))
    if kind <= 2:
        return draw(atoms(depth))
    if kind == 3:
        return ["optional", *draw(calls(depth))]
    if kind == 4:
        return [*draw(atoms(depth - 1)), ".", draw(names)]
    if kind == 5:
        return ["-", *draw(atoms(depth - 1))]
    if kind == 6:
        return ["not", *draw(operations(depth - 1))]
    parts = draw(st.lists(atoms(depth - 1), min_size=2, max_size=5))
    ops = draw(st.sampled_from((("+", "-", "*", "/"), ("and", "or"), ("+", "and", "*", "or"))))
    tokens = list(parts[0])
    for part in parts[1:]:
        tokens += [draw(st.sampled_from(ops)), *part]
    if draw(st.integers(0, 3)) == 0:
        tokens = ["(", *tokens, ")", draw(st.sampled_from(("<", "==", ">="))), *draw(atoms(0))]
    return tokens


@st.composite
def expressions(draw: DrawFn, depth: int = 3) -> Tokens:
    kind = draw(st.integers(0, 8)) if depth > 0 else 0
    if kind <= 4:
        return draw(operations(depth))
    if kind == 5:
        return [*draw(operations(depth - 1)), "??", *draw(operations(depth - 1))]
    if kind == 6:
        source = draw(operations(depth - 1))
        where = ["where", *draw(operations(depth - 1))] if draw(st.booleans()) else []
        return ["for", draw(names), "in", *source, *where, *draw(blocks(depth - 1))]
    if kind == 7:
        carry = st.tuples(names, atoms(depth - 1)).map(lambda part: [part[0], "=", *part[1]])
        carried = ["with", *draw(listed(carry, least=1))] if draw(st.booleans()) else []
        return ["repeat", "up", "to", "3", *carried, *draw(blocks(depth - 1, repeated=True))]
    tokens = ["if", *draw(operations(depth - 1)), *draw(blocks(depth - 1)), "else"]
    if draw(st.booleans()):
        tokens += ["if", *draw(operations(0)), *draw(blocks(depth - 1)), "else"]
    return [*tokens, *draw(blocks(depth - 1))]


@st.composite
def blocks(draw: DrawFn, depth: int, repeated: bool = False) -> Tokens:
    tokens = ["{"]
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.integers(0, 3)) == 0:
            tokens += draw(calls(depth - 1))
        else:
            tokens += [draw(names), "=", *draw(expressions(depth - 1))]
    tokens += ["yield", *draw(expressions(depth - 1))]
    if repeated and draw(st.booleans()):
        tokens += ["until", *draw(expressions(0))]
    return [*tokens, "}"]


params = listed(st.tuples(names, types()).map(lambda part: [part[0], ":", *part[1]]))


@st.composite
def tasks(draw: DrawFn) -> Tokens:
    effect = ["effect"] if draw(st.booleans()) else []
    tokens = [*effect, "task", draw(names), "(", *draw(params), ")", "->", *draw(types())]
    text = st.one_of(strings, long_strings)
    item = st.one_of(
        strings.map(lambda token: [token]),
        text.map(lambda token: ["system", token]),
        text.map(lambda token: ["prompt", token]),
        names.map(lambda token: ["using", token]),
    )
    return [*tokens, *(token for one in draw(st.lists(item, max_size=3)) for token in one)]


@st.composite
def clauses(draw: DrawFn) -> Tokens:
    kind = draw(st.integers(0, 4))
    metrics = st.sampled_from(METRICS)
    if kind == 0:
        return ["minimize", draw(metrics), "then", draw(metrics)]
    if kind == 1:
        return ["maximize", "accuracy"]
    if kind == 2:
        percentile = draw(st.sampled_from(([], ["p50"], ["p99"])))
        bound = draw(st.one_of(quantities(), st.sampled_from((["best"], ["basic"]))))
        return ["require", *percentile, draw(metrics), "<=", *bound]
    if kind == 3:
        fact = [draw(st.sampled_from(("len", "tokens"))), "(", draw(names), ")"]
    else:
        fact = [draw(names), ".", draw(names)]
    return ["expect", *fact, "=", *draw(quantities())]


@st.composite
def workflows(draw: DrawFn) -> Tokens:
    tokens = ["workflow", draw(names), "(", *draw(params), ")", "->", *draw(types())]
    tokens += [draw(strings)] if draw(st.booleans()) else []
    for clause in draw(st.lists(clauses(), max_size=4)):
        tokens += clause
    body = draw(blocks(3))
    return [*tokens, *body[:-1], "return", *draw(expressions()), "}"]


@st.composite
def files(draw: DrawFn) -> Tokens:
    declaration = st.one_of(
        strings.map(lambda token: ["import", token]),
        types().map(lambda kind: ["type", "Scene", "=", *kind]),
        tasks(),
        workflows(),
    )
    return [token for one in draw(st.lists(declaration, max_size=4)) for token in one]


SEPARATORS = (" ", " ", " ", "\n", "\n\n\n", "\t", " // why\n", "\n// own\n", "\n/// doc\n", "\r\n")


@st.composite
def programs(draw: DrawFn) -> str:
    """The text of a program the parser accepts, with arbitrary blanks and comments."""
    tokens = draw(files())
    rng = draw(st.randoms(use_true_random=False))
    calm = draw(st.booleans())
    spaces = [" "] if calm else SEPARATORS
    return "".join(f"{token}{rng.choice(spaces)}" for token in tokens)
