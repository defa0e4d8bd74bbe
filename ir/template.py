"""Prompt templates: text with `{name}` and `{name.field}` placeholders, `{{` and `}}` as braces."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PATH = re.compile(r"[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*")
_BRACE = re.compile(r"\{\{|\}\}|\{|\}")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Where a parameter, or a field of one, is inserted; `text[start:end]` is its source."""

    path: tuple[str, ...]
    start: int
    end: int

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.path[0]

    def __str__(self) -> str:
        """Return the source form, `{scene.start}`."""
        return "{" + ".".join(self.path) + "}"


class TemplateError(ValueError):
    """The template is malformed; `offset` is where, `end` the end of the faulty part."""

    def __init__(self, message: str, offset: int, end: int) -> None:
        """Keep the place beside the message."""
        self.offset = offset
        self.end = end
        super().__init__(message)


def parse_template(text: str) -> tuple[str | Placeholder, ...]:
    """Split a template into literal text (doubled braces made single) and placeholders, in order.

    Neighbouring literal text comes as one string, and no string is empty. Raises TemplateError, a
    ValueError, at a stray `}`, a `{` that is not closed, and braces that hold no parameter's name.
    """
    parts: list[str | Placeholder] = []
    literal: list[str] = []
    at = 0
    while (brace := _BRACE.search(text, at)) is not None:
        literal.append(text[at : brace.start()])
        if brace[0] in ("{{", "}}"):
            literal.append(brace[0][0])
            at = brace.end()
            continue
        placeholder = _placeholder(text, brace)
        parts += ["".join(literal), placeholder]
        literal = []
        at = placeholder.end
    parts.append("".join(literal) + text[at:])
    return tuple(part for part in parts if part != "")


def _placeholder(text: str, brace: re.Match[str]) -> Placeholder:
    start = brace.start()
    if brace[0] == "}":
        raise TemplateError("a `}` without its `{`", start, start + 1)
    path = _PATH.match(text, start + 1)
    if path is not None and text[path.end() : path.end() + 1] == "}":
        return Placeholder(tuple(path[0].split(".")), start, path.end() + 1)
    close = text.find("}", start)
    if close == -1:
        raise TemplateError("a `{` that is not closed", start, start + 1)
    raise TemplateError("the braces do not hold the name of a parameter", start, close + 1)
