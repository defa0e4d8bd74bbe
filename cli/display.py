"""How source text is shown on a terminal: widths, tabs, and characters that must not act."""

from __future__ import annotations

import unicodedata

TAB = 4  # a tab is shown as this many blanks, wherever it stands


def cell(character: str) -> tuple[str, int]:
    """Return what stands for a character on screen, and how many columns that takes.

    Tabs become blanks. Control characters become their pictures (`␛`), and characters that reorder
    text or have no shape of their own become their code in angle brackets: a source file must not
    be able to move the cursor, set colours or show text other than what is compiled.
    """
    if " " <= character <= "~":
        return character, 1
    if character == "\t":
        return " " * TAB, TAB
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code), 1
    if code == 0x7F:
        return "\u2421", 1
    category = unicodedata.category(character)
    if category in ("Cc", "Cf", "Cs", "Zl", "Zp") and character != "\u200d":
        text = f"<U+{code:04X}>"
        return text, len(text)
    if category in ("Mn", "Me") or character == "\u200d":
        return character, 0
    return character, 2 if unicodedata.east_asian_width(character) in "WF" else 1


class _Shown(dict[int, str]):
    """What stands for a character by its code, found when it is first met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = character if character == "\n" else cell(character)[0]
        return self[code]


_SHOWN = _Shown()


def safe(text: str) -> str:
    """Return text fit for a terminal, its line ends kept and everything else that acts replaced."""
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_SHOWN)


def width(text: str) -> int:
    """Return the columns a line takes once it is `safe`."""
    return len(text) if text.isascii() and text.isprintable() else sum(cell(c)[1] for c in text)


def pad(text: str, columns: int) -> str:
    """Return text with blanks added on the right until it takes so many columns."""
    return text + " " * max(0, columns - width(text))


def shorten(text: str, columns: int) -> str:
    """Return text cut to at most so many columns, `…` standing for what is cut."""
    if width(text) <= columns:
        return text
    kept, used = "", 1
    for character in text:
        used += cell(character)[1]
        if used > columns:
            break
        kept += character
    return kept + "…"
