"""The two string literals of the language: what their source text stands for."""

from __future__ import annotations

_ESCAPES = {"\\": "\\", '"': '"', "n": "\n", "t": "\t"}


def unescape(token: str) -> tuple[str, tuple[int, ...]]:
    r"""Return the value of a `"…"` token and the offsets of escapes it may not hold.

    The escapes are `\\`, `\"`, `\n` and `\t`; any other stands for itself in the value.
    """
    body = token[1:-1]
    if "\\" not in body:
        return body, ()
    parts: list[str] = []
    unknown: list[int] = []
    at = 0
    while at < len(body):
        char = body[at]
        if char != "\\":
            parts.append(char)
            at += 1
            continue
        escaped = body[at + 1]
        if escaped not in _ESCAPES:
            unknown.append(at + 1)
        parts.append(_ESCAPES.get(escaped, escaped))
        at += 2
    return "".join(parts), tuple(unknown)


def dedent(token: str) -> str:
    r"""Return the value of a triple-quoted token.

    In this order: line ends become `\n`; a line end right after the opening quotes is removed;
    lines of blanks only become empty; the indentation common to all other lines is removed. There
    are no escapes, so that code and formulas can be pasted in.
    """
    text = token[3:-3].replace("\r\n", "\n").replace("\r", "\n").removeprefix("\n")
    lines = [line if line.strip(" \t") else "" for line in text.split("\n")]
    margin: str | None = None
    for line in filter(None, lines):
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        margin = indent if margin is None else _common(margin, indent)
    width = len(margin or "")
    return "\n".join(line[width:] for line in lines)


def _common(a: str, b: str) -> str:
    length = 0
    while length < min(len(a), len(b)) and a[length] == b[length]:
        length += 1
    return a[:length]
