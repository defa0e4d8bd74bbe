"""How sure a model was of an answer: the geometric mean of its tokens' probabilities.

That is the likelihood of the answer, made comparable between lengths ("Chow-Average": Gupta et al.,
"Language Model Cascades: Token-Level Uncertainty and Beyond", ICLR 2024, arXiv:2404.10136). What
every answer holds says nothing of this one, so reasoning before it and the `{"result": …}` around
it do not count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .structured import ROOT

# Chat completions that are asked for it tell the probability of each token ("logprobs").
ASKING: Mapping[str, Any] = {"logprobs": True}

_REASONING = re.compile(rb"\A\s*<think>.*?</think>\s*", re.DOTALL)
_WRAPPED = re.compile(rb'\s*\{\s*"' + ROOT.encode() + rb'"\s*:\s*(.*?)\s*\}\s*\Z', re.DOTALL)


def confidence_of(choice: Mapping[str, Any]) -> float | None:
    """Return how sure a model was, from 0 to 1; None where the server tells no probabilities.

    `choice` is one of a chat completion's. Raises TypeError or ValueError where it has another
    form than OpenAI's interface gives it.
    """
    told = choice.get("logprobs")
    entries = told.get("content") if isinstance(told, dict) else None
    if not entries:
        return None
    tokens = [(_bytes(entry), float(entry["logprob"])) for entry in entries]
    begin, end = _span(b"".join(text for text, _ in tokens))
    counted = list(_within(tokens, begin, end)) or [logprob for _, logprob in tokens]
    mean = sum(counted) / len(counted)
    if math.isnan(mean):
        raise ValueError("a probability is no number")
    return math.exp(min(mean, 0.0))  # rounding may put a probability above 1


def _bytes(entry: Mapping[str, Any]) -> bytes:
    said = entry.get("bytes")
    return bytes(said) if said else str(entry["token"]).encode("utf-8", "replace")


def _span(answer: bytes) -> tuple[int, int]:
    """Return where the answer proper begins and ends, in bytes."""
    reasoning = _REASONING.match(answer)
    begin = reasoning.end() if reasoning else 0
    wrapped = _WRAPPED.match(answer, begin)
    return wrapped.span(1) if wrapped else (begin, len(answer))


def _within(tokens: list[tuple[bytes, float]], begin: int, end: int) -> Iterator[float]:
    """Yield the logarithms of the tokens that have a byte between two places."""
    at = 0
    for text, logprob in tokens:
        if at < end and at + len(text) > begin:
            yield logprob
        at += len(text)
