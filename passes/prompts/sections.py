"""Sections of prompts: the parts of a template that move as a whole, or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...ir.template import Placeholder, parse_template

# A line that ends so is followed by another thought; one that ends in `:` introduces what follows.
_SENTENCE_END = re.compile(r"[.!?…][\"'\u201d\u2019)\]*_]*$")
_LABEL = re.compile(r"[^.!?]{0,60}")
_CLOSING = re.compile(r"[\"'\u201d\u2019)\]>.,;*_`]*(?:</[\w-]+>)?")
_LIST_ITEM = re.compile(r"\s*(?:[-*•]|\(?\w{1,2}[.)])\s")
_OPENING_TAG = re.compile(r"<([A-Za-z][\w-]*)>")
_FENCE = "```"


@dataclass(frozen=True, slots=True)
class Section:
    """Whole lines of a template. `opens`, `closes`: a blank line stands before, or behind it.

    `data`: it is one placeholder with its label, and no instruction.
    """

    text: str
    placeholders: tuple[Placeholder, ...]
    data: bool
    opens: bool = False
    closes: bool = False


@dataclass(frozen=True, slots=True)
class Sections:
    """A template in sections, with the white space at its ends, which stays there."""

    sections: tuple[Section, ...]
    head: str = ""
    tail: str = ""

    def written(self, order: Sequence[Section]) -> str:
        """Return the template with its sections in this order."""
        text = self.head
        before: Section | None = None
        for section in order:
            if before is not None:
                text += "\n\n" if before.closes or section.opens else "\n"
            text += section.text
            before = section
        return text + self.tail


def sections_of(template: str) -> Sections:
    """Split a template where it may be taken apart: never within a sentence, list, tag or fence.

    A label stays with what it introduces, a Markdown heading with all up to the next one. Written
    in their order, the sections give the template again, up to runs of blank lines.
    """
    body = template.strip()
    head = template[: len(template) - len(template.lstrip())]
    tail = template[len(template.rstrip()) :] if body else ""
    lines = body.split("\n")
    blocks = list(_blocks(lines))
    spaced = any(not line.strip() for line in lines)
    found = []
    for start, end in blocks:
        # a template's ends are as good as blank lines, if it has any
        opens = spaced if start == 0 else not lines[start - 1].strip()
        closes = spaced if end == len(lines) else not lines[end].strip()
        found.append(_section("\n".join(lines[start:end]), opens, closes))
    return Sections(tuple(found), head, tail)


def _section(text: str, opens: bool, closes: bool) -> Section:
    parts = parse_template(text)
    placeholders = tuple(part for part in parts if isinstance(part, Placeholder))
    return Section(text, placeholders, len(placeholders) == 1 and _labelled(text), opens, closes)


def _labelled(text: str) -> bool:
    """Tell whether a text with one placeholder is that one, its label and what closes it."""
    (placeholder,) = (p for p in parse_template(text) if isinstance(p, Placeholder))
    before, after = text[: placeholder.start].strip(), text[placeholder.end :].strip()
    if before and not before.endswith((":", ">", _FENCE)) and not before.startswith("#"):
        return False  # words that go on into the placeholder: a sentence
    return bool(_LABEL.fullmatch(before) and _CLOSING.fullmatch(after.removesuffix(_FENCE)))


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the first line of each section and the one after its last, blank lines left out."""
    start: int | None = None
    headed = any(line.startswith("#") for line in lines)
    for index, line in enumerate(lines):
        if start is None:
            if line.strip():
                start = index
            continue
        if _may_end(lines, start, index, headed):
            yield start, _last(lines, start, index)
            start = index if line.strip() else None
    if start is not None:
        yield start, len(lines)


def _last(lines: Sequence[str], start: int, end: int) -> int:
    while end > start and not lines[end - 1].strip():
        end -= 1
    return end


def _may_end(lines: Sequence[str], start: int, index: int, headed: bool) -> bool:
    """Tell whether a section may end before a line."""
    text, line = "\n".join(lines[start:index]), lines[index]
    if _open(text) or text.rstrip().endswith(":"):
        return False
    if headed and text.startswith("#"):
        return line.startswith("#")
    following = next(other for other in lines[index:] if other.strip())
    if _LIST_ITEM.match(following):
        return False
    if not line.strip() or not lines[index - 1].strip():
        return True
    if line[0].isspace() or line[0].islower():
        return False
    last = lines[index - 1].rstrip()
    ended = _SENTENCE_END.search(last) is not None or last.endswith((">", _FENCE))
    return ended or _ends_in_data(last)


def _ends_in_data(line: str) -> bool:
    placed = [p for p in parse_template(line) if isinstance(p, Placeholder)]
    return len(placed) == 1 and _labelled(line)


def _open(text: str) -> bool:
    """Tell whether a tag or a fence of code has not been closed yet."""
    tags = _OPENING_TAG.findall(text)
    return text.count(_FENCE) % 2 == 1 or any(
        text.count(f"<{tag}>") > text.count(f"</{tag}>") for tag in tags
    )
