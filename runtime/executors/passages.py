"""Text cut into words, sentences and signs: what the text executors count and choose from."""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:[:.,'\u2019][^\W_]+)*")  # `14:35`, `3.5` and `don't` stay whole
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+")
_SIGN_LINES = 6
_SIGN_WORDS = 6  # a shorter line without a full stop is part of a sign, not a sentence


def words(text: str) -> list[str]:
    """Return the words in lower case, a final `s` cut off, so that `leaves` equals `leave`."""
    return [_stem(word) for word in _WORD.findall(text.casefold())]


def content_words(text: str) -> list[str]:
    """Return the words that carry meaning (no `the`, `is`, `when`); all of them where none does."""
    all_words = words(text)
    return [word for word in all_words if word not in _dull_words()] or all_words


@lru_cache(maxsize=1)
def _dull_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    # Cut like the words of a text are: `does` arrives as `doe`.
    return frozenset(word for stop in ENGLISH_STOP_WORDS for word in words(stop))


def sentences(text: str) -> list[str]:
    """Split at full stops and line ends; neighbouring short lines, as on a sign, stay together."""
    found: list[str] = []
    sign: list[str] = []
    for line in (" ".join(raw.split()) for raw in text.splitlines()):
        short = 0 < len(line.split()) <= _SIGN_WORDS and line[-1] not in ".!?…"
        if sign and not (short and len(sign) < _SIGN_LINES):
            found.append(", ".join(sign))
            sign = []
        if short:
            sign.append(line)
        else:
            found += [part for part in _SENTENCE_END.split(line) if part]
    return [*found, ", ".join(sign)] if sign else found


def _stem(word: str) -> str:
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
