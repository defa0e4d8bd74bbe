"""Hostile inputs from good ones: whole files, changed at random where readers are likely to trip.

Text is changed by tokens (bytes that belong together), JSON by its nodes as well. Everything
follows from the generator that is given: the same seed gives the same inputs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any, Literal

MAX_BYTES = 64 * 1024
Form = Literal["text", "json", "lines"]

_TOKEN = re.compile(
    rb'"(?:[^"\\\n]|\\.)*"|[A-Za-z_]\w*|\d[\w.]*|[^\S\n]+|\n|[\x80-\xff]+|.', re.DOTALL
)
_NUMBERS = (
    *("0", "-0", "1", "-1", "0.0", "1.0", "1e308", "-1e308", "1e309", "1e-320", "1e400", "-1e999"),
    *("9" * 19, "9" * 30, "9" * 400, "9" * 5000, "0." + "3" * 3000, "9223372036854775807"),
    *("9223372036854775808", "-9223372036854775809", "18446744073709551616", "1" + "0" * 300),
    *("NaN", "nan", "inf", "-inf", "Infinity", "-Infinity", "0x10", "0b1", "1_000", "1__0", "01"),
    *("٣", "²", "½", "1e", "1e+", ".5", "5.", "+1", "--1", "1 000", "1,5", "5e-324", "4294967296"),
)
_TEXTS = (
    *("", " ", "\n", "\r", "\r\n", "\t", "\0", "\v", "\f", "\x1b[31m", "\x7f", "\x85", "\u2028"),
    *(
        "é",
        "e\u0301",
        "\u0301",
        "\u200b",
        "\u200d",
        "\u202e",
        "\ufeff",
        "\ufffd",
        "\uffff",
        "\U0001d518",
    ),
    *("中文", "א", "👩\u200d👩\u200d👧", "Ω" * 200, "ﬃ", "ǅ", "İ", "ß", "\U0010ffff"),
    *("\\", "\\u0000", "\\ud800", "\\udfff", "\\uD834\\uDD1E", "\\x41", "\\U00110000", "%s", "%"),
    *("{}", "{0}", "{", "}", "{{", "}}", "${x}", "$", "`", "'", '"', '"""', "'''", "``", "//", "#"),
    *(
        "/*",
        "--",
        "../..",
        "/",
        "/dev/zero",
        "/dev/stdin",
        "~",
        "~root",
        ".",
        "..",
        "con",
        "a" * 300,
    ),
    *("std/text", "http://[::1", "http://a:99999", "file:///etc/passwd", "a\0b", "x" * 5000),
    *("true", "false", "null", "none", "None", "__class__", "__init__", "self", "and", "if", "for"),
)
_RAW = (
    *(
        b"\xff",
        b"\xfe\xff",
        b"\xff\xfe",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xef",
    ),
    *(b"\xef\xbb\xbf", b"\x00", b"\x80", b"\xf0\x9f", b"\xc0\x80"),
)
_BRACKETS = (
    *((b"(", b")"), (b"[", b"]"), (b"{", b"}"), (b"[[", b"]]"), (b'{"a":', b"}"), (b"[1,", b"]")),
    *((b"not ", b""), (b"-", b""), (b"optional ", b""), (b"1+(", b")"), (b'"', b'"'), (b"a.", b"")),
    *((b"if a {", b"}"), (b"for x in [", b"] {}"), (b"? ", b""), (b"a ?? ", b""), (b"{a=", b"}")),
)
_DEPTHS = (2, 2, 3, 10, 30, 70, 130, 130, 310, 310, 1100, 4000, 15000)
_DEEPEST = 400  # levels of JSON: its encoder recurses, so what is deeper is made of text (`_nest`)
_TIMES = (2, 2, 3, 3, 10, 10, 30, 100, 2000)  # large inputs are slow: most are small


class Mutator:
    """Makes inputs of one form from seeds, which are what a reader accepts."""

    def __init__(self, seeds: Sequence[bytes], form: Form) -> None:
        """Take the seeds; those of a JSON form are parsed once."""
        self._seeds = tuple(seeds)
        self._form = form
        self._tokens = tuple(_tokens(seed) for seed in self._seeds)
        self._words = tuple(dict.fromkeys(t for tokens in self._tokens for t in tokens))
        lines = [[seed] if form == "json" else seed.splitlines() for seed in self._seeds]
        trees = [[json.loads(line) for line in found] for found in lines] if form != "text" else []
        self._trees = tuple(trees)
        self._nodes = [node for tree in trees for line in tree for node in _walk(line)][:20_000]

    def input(self, rng: Random) -> bytes:
        """Return a seed, changed once or several times."""
        at = rng.randrange(len(self._seeds))
        if self._trees and rng.random() < 0.75:
            data = self._changed_trees(self._trees[at], rng)
            if rng.random() < 0.8:
                return data[:MAX_BYTES]
            tokens = _TOKEN.findall(data)
        else:
            tokens = list(self._tokens[at])
        return self._changed_text(tokens, rng)

    # ---- text

    def _changed_text(self, tokens: list[bytes], rng: Random) -> bytes:
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 9))):
            rng.choice(_CHANGES)(self, tokens, rng)
        data = b"".join(tokens)
        if rng.random() < 0.04:
            data = data[: rng.randrange(len(data) + 1)]
        if rng.random() < 0.06 and data:
            data = _flipped(data, rng)
        if rng.random() < 0.02:
            data = rng.choice(_RAW) + data
        return data[:MAX_BYTES]

    def _delete(self, tokens: list[bytes], rng: Random) -> None:
        at = rng.randrange(len(tokens) + 1)
        del tokens[at : at + rng.choice((1, 1, 1, 2, 4, 20))]

    def _delete_line(self, tokens: list[bytes], rng: Random) -> None:
        begin, end = _line(tokens, rng)
        del tokens[begin:end]

    def _repeat_line(self, tokens: list[bytes], rng: Random) -> None:
        begin, end = _line(tokens, rng)
        times = _affordable(tokens[begin:end], rng.choice(_TIMES))
        tokens[end:end] = tokens[begin:end] * times

    def _duplicate(self, tokens: list[bytes], rng: Random) -> None:
        at = rng.randrange(len(tokens) + 1)
        piece = tokens[at : at + rng.choice((1, 2, 3, 8, 30))]
        to = rng.choice((at, rng.randrange(len(tokens) + 1)))
        tokens[to:to] = piece * _affordable(piece, rng.choice((1, 1, 1, *_TIMES)))

    def _swap(self, tokens: list[bytes], rng: Random) -> None:
        if tokens:
            a, b = rng.randrange(len(tokens)), rng.randrange(len(tokens))
            tokens[a], tokens[b] = tokens[b], tokens[a]

    def _insert(self, tokens: list[bytes], rng: Random) -> None:
        tokens.insert(rng.randrange(len(tokens) + 1), self._token(rng))

    def _replace(self, tokens: list[bytes], rng: Random) -> None:
        at = rng.randrange(len(tokens) + 1)
        tokens[at : at + 1] = [self._token(rng)]

    def _retype(self, tokens: list[bytes], rng: Random) -> None:
        """Put something else in the place of a number or of a text between quotes."""
        places = [i for i, t in enumerate(tokens) if t[:1].isdigit() or t[:1] == b'"']
        if not places:
            return
        at = rng.choice(places)
        if tokens[at][:1] == b'"' and rng.random() < 0.7:
            inner = self._token(rng) if rng.random() < 0.5 else _encoded(rng.choice(_TEXTS))
            tokens[at] = b'"' + inner.replace(b'"', b"") + b'"'
        else:
            tokens[at] = rng.choice(_NUMBERS).encode()

    def _nest(self, tokens: list[bytes], rng: Random) -> None:
        opening, closing = rng.choice(_BRACKETS)
        begin = rng.randrange(len(tokens) + 1)
        end = min(len(tokens), begin + rng.randrange(4))
        depth = min(rng.choice(_DEPTHS), MAX_BYTES // len(opening + closing))
        closings = depth if rng.random() < 0.7 else rng.randrange(depth)
        tokens.insert(end, closing * closings)
        tokens.insert(begin, opening * depth)

    def _splice(self, tokens: list[bytes], rng: Random) -> None:
        other = rng.choice(self._tokens)
        begin, end = _line(other, rng) if rng.random() < 0.5 else _stretch(other, rng)
        at = rng.randrange(len(tokens) + 1)
        tokens[at : at + rng.choice((0, 0, end - begin))] = other[begin:end]

    def _token(self, rng: Random) -> bytes:
        match rng.randrange(8):
            case 0:
                return rng.choice(_NUMBERS).encode()
            case 1:
                return _encoded(rng.choice(_TEXTS))
            case 2:
                return rng.choice(_RAW)
            case 3:
                brackets: bytes = rng.choice(rng.choice(_BRACKETS))
                return brackets * rng.choice((1, 1, 2))
            case _:
                return rng.choice(self._words)

    # ---- JSON

    def _changed_trees(self, trees: Sequence[Any], rng: Random) -> bytes:
        lines = list(trees)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            at = rng.randrange(len(lines))
            if _depth(lines[at]) < _DEEPEST:
                lines[at] = self._changed_tree(lines[at], rng)
        if self._form == "lines" and rng.random() < 0.2:
            rng.shuffle(lines)
        ascii_only, indent = rng.random() < 0.5, rng.choice((None, None, 2))
        texts = [
            json.dumps(line, ensure_ascii=ascii_only, indent=indent if len(lines) == 1 else None)
            for line in lines
        ]
        return _encoded("\n".join(texts))

    def _changed_tree(self, tree: Any, rng: Random) -> Any:
        """Return the tree with one node changed: its path is walked at random."""
        inside = isinstance(tree, (dict, list)) and tree
        if not inside or rng.random() < 0.12:
            return self._node(tree, rng)
        if isinstance(tree, list):
            at = rng.randrange(len(tree))
            match rng.randrange(12):
                case 0:
                    return [*tree[:at], *tree[at + 1 :]]
                case 1:
                    return [*tree, tree[at]]
                case 2:
                    return tree[at:] + tree[:at]
            return [*tree[:at], self._changed_tree(tree[at], rng), *tree[at + 1 :]]
        key = rng.choice(list(tree))
        match rng.randrange(14):
            case 0:
                return {k: v for k, v in tree.items() if k != key}
            case 1:
                return {**tree, rng.choice((*_TEXTS, key + " ", key.upper())): tree[key]}
            case 2:
                return {**tree, key: tree[rng.choice(list(tree))]}
        return {**tree, key: self._changed_tree(tree[key], rng)}

    def _node(self, old: Any, rng: Random) -> Any:
        match rng.randrange(9):
            case 0:
                return rng.choice((None, True, False, [], {}, "", 0, 1, -1, 0.5, [[]], {"": {}}))
            case 1:
                return rng.choice((2**31, 2**53, 2**63, -(2**63) - 1, 10**30, 10**4000, 1e308))
            case 2:
                return rng.choice((float("nan"), float("inf"), -0.0, 5e-324, -1e308, 1e22))
            case 3:
                return rng.choice((*_TEXTS, "\ud800", "a\udfffb", *_NUMBERS))
            case 4:
                return _deep(old, rng)
            case 5 | 6 if isinstance(old, str) and old:
                tokens = _TOKEN.findall(_encoded(old))
                return self._changed_text(tokens, rng).decode("utf-8", "replace")
            case 5 if isinstance(old, (int, float)) and abs(old) < 1e300:
                return rng.choice((old + 1, -old, old * 1000, old / 7, str(old), [old]))
        return rng.choice(self._nodes)


_CHANGES = (
    *(Mutator._delete, Mutator._delete_line, Mutator._repeat_line, Mutator._duplicate),
    *(Mutator._swap, Mutator._insert, Mutator._insert, Mutator._replace, Mutator._replace),
    *(Mutator._retype, Mutator._retype, Mutator._nest, Mutator._splice),
)


def _tokens(data: bytes) -> tuple[bytes, ...]:
    return tuple(_TOKEN.findall(data))


def _walk(tree: Any) -> list[Any]:
    found, pending = [], [tree]
    while pending:
        node = pending.pop()
        found.append(node)
        pending += _inner(node)
    return found


def _inner(node: Any) -> list[Any]:
    match node:
        case dict():
            return list(node.values())
        case list():
            return node
    return []


def _depth(tree: Any) -> int:
    level, depth = [tree], 0
    while level:
        level, depth = [inner for node in level for inner in _inner(node)], depth + 1
    return depth


def _deep(inner: Any, rng: Random) -> Any:
    for _ in range(rng.choice((2, 20, 200, _DEEPEST))):
        inner = [inner] if rng.random() < 0.5 else {"a": inner}
    return inner


def _line(tokens: Sequence[bytes], rng: Random) -> tuple[int, int]:
    ends = [0, *(i + 1 for i, token in enumerate(tokens) if token == b"\n"), len(tokens)]
    at = rng.randrange(len(ends) - 1)
    last = min(len(ends) - 1, at + rng.choice((1, 1, 1, 2, 5)))
    return ends[at], ends[last]


def _stretch(tokens: Sequence[bytes], rng: Random) -> tuple[int, int]:
    begin = rng.randrange(len(tokens) + 1)
    return begin, min(len(tokens), begin + rng.choice((1, 3, 10, 40)))


def _affordable(piece: Sequence[bytes], times: int) -> int:
    return max(1, min(times, MAX_BYTES // max(1, sum(map(len, piece)))))


def _flipped(data: bytes, rng: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
