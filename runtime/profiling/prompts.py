"""Prompts of a wanted number of tokens, for a tokenizer that only the server has."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True, slots=True)
class PromptWriter:
    """Writes prompts of random words, no two with a common beginning that a cache could hold.

    A request has `overhead` tokens (of the chat template) and `per_word` for each word: the server
    says of two prompts how many tokens they have (`fitted`).
    """

    overhead: float
    per_word: float

    @staticmethod
    def fitted(words: tuple[int, int], tokens: tuple[int, int]) -> PromptWriter:
        """Return the writer on the line through two measured prompts."""
        per_word = max((tokens[1] - tokens[0]) / (words[1] - words[0]), 0.1)
        return PromptWriter(max(tokens[0] - per_word * words[0], 0.0), per_word)

    def write(self, tokens: int, chance: Random) -> str:
        """Return a prompt whose request has about so many tokens, at least one word."""
        return random_words(max(1, round((tokens - self.overhead) / self.per_word)), chance)


def random_words(number: int, chance: Random) -> str:
    """Return made-up words of two syllables."""
    return " ".join(_word(chance) for _ in range(number))


def _word(chance: Random) -> str:
    return "".join(chance.choice(_CONSONANTS) + chance.choice(_VOWELS) for _ in range(2))
