"""How long prompts and answers are: drawn from a log-normal distribution, or from a trace."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import Protocol

from ...ir.diagnostics import Diagnostic, InputError
from ...targets.csv_file import csv_rows, line_span
from ...targets.toml_source import read_text

# Means of ShareGPT's conversations (Kwon et al., SOSP 2023, arXiv 2309.06180, Fig. 11).
PROMPT_TOKENS, OUTPUT_TOKENS = 161.0, 338.0
SPREAD = 0.8  # standard deviation of the logarithms; declared
# Columns of a trace: ours, Azure's LLM inference traces', BurstGPT's.
_COLUMNS = (
    ("isl_tok", "osl_tok"),
    ("ContextTokens", "GeneratedTokens"),
    ("Request tokens", "Response tokens"),
)
_TOKENS = re.compile("-?[0-9]{1,12}")  # no digits of other scripts, none too many to compute with


@dataclass(frozen=True, slots=True)
class Length:
    """Tokens of one prompt and of its answer."""

    prompt: int
    output: int

    def within(self, context: int | None) -> Length:
        """Return it shortened to what a model's context holds: the answer first, to half of it."""
        if context is None or self.prompt + self.output <= context:
            return self
        output = max(1, min(self.output, max(context - self.prompt, context // 2)))
        return Length(max(1, min(self.prompt, context - output)), output)


class Lengths(Protocol):
    """Where lengths come from."""

    def draw(self, number: int, chance: Random) -> list[Length]:
        """Return so many lengths."""

    def __str__(self) -> str:
        """Return what they are, for the source of a profile's rows."""


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Log-normal lengths of these means, prompts and answers independent of each other.

    `spread` is the standard deviation of the logarithms; 0 makes all equal.
    """

    prompt_tokens: float = PROMPT_TOKENS
    output_tokens: float = OUTPUT_TOKENS
    spread: float = SPREAD

    def draw(self, number: int, chance: Random) -> list[Length]:
        """Return lengths at evenly spaced quantiles, in a random order.

        So a small sample has nearly the mean and the tail of a large one.
        """
        prompts = self._quantiles(self.prompt_tokens, number, chance)
        outputs = self._quantiles(self.output_tokens, number, chance)
        return [Length(*pair) for pair in zip(prompts, outputs, strict=True)]

    def _quantiles(self, mean: float, number: int, chance: Random) -> list[int]:
        if not self.spread:
            return [max(1, round(mean))] * number
        middle = math.log(mean) - self.spread**2 / 2.0  # the mean of a log-normal is above it
        normal = NormalDist(middle, self.spread)
        values = [math.exp(normal.inv_cdf((i + 0.5) / number)) for i in range(number)]
        chance.shuffle(values)
        return [max(1, round(value)) for value in values]

    def __str__(self) -> str:
        """Return means and spread."""
        means = f"{self.prompt_tokens:g} and {self.output_tokens:g} tokens"
        if not self.spread:
            return f"all of {means}"
        return f"log-normal of means {means}, spread {self.spread:g}"


@dataclass(frozen=True, slots=True)
class Trace:
    """Lengths that were recorded."""

    name: str
    lengths: tuple[Length, ...]

    def draw(self, number: int, chance: Random) -> list[Length]:
        """Return recorded pairs, none twice before all came once."""
        found: list[Length] = []
        while len(found) < number:
            found += chance.sample(self.lengths, len(self.lengths))
        return found[:number]

    def __str__(self) -> str:
        """Return the file's name."""
        return f"as in {self.name}"


def read_trace(path: Path) -> Trace:
    """Read a CSV of requests: a column of prompts' tokens and one of answers'.

    They are `isl_tok` and `osl_tok`, or as Azure's and BurstGPT's traces name them. Requests
    without a prompt or an answer are left out, as failed ones of BurstGPT are. Raises `InputError`
    with the place.
    """
    file = str(path)
    (_, header), *rows = csv_rows(read_text(path), file, "bad-trace") or [(1, [])]
    names = [name.strip() for name in header]
    pair = next((pair for pair in _COLUMNS if set(pair) <= set(names)), None)
    if pair is None:
        raise _wrong(file, 1, "a trace of requests has columns `isl_tok` and `osl_tok`")
    at = [names.index(name) for name in pair]
    found = [_length(file, n, row, at) for n, row in rows if row]
    lengths = tuple(length for length in found if length.prompt > 0 and length.output > 0)
    if not lengths:
        raise _wrong(file, 1, "the trace has no requests")
    return Trace(path.name, lengths)


def _length(file: str, line: int, row: Sequence[str], at: Sequence[int]) -> Length:
    cells = [row[i].strip() if i < len(row) else "" for i in at]
    for cell in cells:
        if _TOKENS.fullmatch(cell) is None:
            raise _wrong(file, line, f"`{cell[:40]}` is not a number of tokens")
    prompt, output = map(int, cells)
    if prompt < 0 or output < 0:
        raise _wrong(file, line, "a number of tokens is below 0")
    return Length(prompt, output)


def _wrong(file: str, line: int, message: str) -> InputError:
    return InputError(Diagnostic("bad-trace", message, line_span(file, line)))
