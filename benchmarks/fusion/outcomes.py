"""The outcomes declared for what random weights cannot decide, found by words of the prompt.

A model with random weights answers yes or no by chance, and ends neither texts nor lists. What a
workflow does next must not hang on that, and must be the same on every side. So the server is asked
for as many tokens as are declared here for the prompt, and computes them all; an answer under a
schema is then replaced by what is recorded here. Answers in free text stay as the model gave them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

# The share of items for which a question is answered with yes, by words of its prompt.
SHARES = {
    "Raptor, Deathstar, Chewco": 0.4,
    "speak for himself": 0.6,
    "mainly about health care": 0.6,
    "modern and attractive, and is there": 0.7,
    "need an expert": 1.0,
}
# The tokens of an answer as an ordinary model's tokenizer would cut it, by words of the prompt; an
# answer to several prompts has their sum.
LENGTHS = {
    "subject of this e-mail": 32,
    "Raptor, Deathstar, Chewco": 2,
    "speak for himself": 2,
    "address of this home": 32,
    "modern and attractive, and is there": 24,
    "Is it both?": 2,
    "List the medications": 32,
    "usual name of this medication": 16,
    "taken for, and what are": 48,
    "mainly about health care": 2,
    "would surprise the public": 48,
    "The year of the date": 2,
    "notable?": 64,
    "the features named, and the complaints": 40,
    "mostly about?": 2,
    "for other customers in a sentence": 48,
    "for what this question needs": 24,
    "for what is still missing": 24,
    "Answer the question from what was found": 32,
    "write down its equations": 64,
    "Equations:": 64,
    "this assignment hold": 48,
    "taken from elsewhere": 32,
    "Where are these from": 24,
    "judge the essay": 32,
    "Say what this document says": 40,
    "What could go wrong here?": 24,
    "Write a newsletter": 64,
    "Write a report for the board": 64,
    "skills matter most": 32,
    "How many years of work": 4,
    "fit in with a team": 2,
    "need an expert": 2,
    "Answer as an expert would": 64,
    "Answer in a sentence": 16,
}
OTHERWISE_TOKENS = 32
# Prompts and answers alike are cut into bytes here; of English, about four make an ordinary token
# (https://help.openai.com/en/articles/4936856).
BYTES_PER_TOKEN = 4
RATINGS = 5  # from 1
PRICES = (450_000, 700_000, 1_250_000, 2_600_000)  # of homes: half are in the range asked for
LISTED = (3, 4)  # items of a list, at least and at most
TEXT_CHARACTERS = 24
_NUMBER = re.compile(r"no\. (\d+)")
_FLAGS = "modern and attractive: true. There is much sunlight: true"


def declared_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return how many tokens, which are bytes, the answer to a request has."""
    prompt = _said(messages)
    tokens = sum(n for words, n in LENGTHS.items() if words in prompt) or OTHERWISE_TOKENS
    return tokens * BYTES_PER_TOKEN


def recorded(schema: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the answer recorded for a request under a schema, as JSON."""
    return json.dumps(_value(schema, _said(messages), ""), separators=(",", ":"))


def _said(messages: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(str(message["content"]) for message in messages)


def _value(schema: Mapping[str, Any], prompt: str, path: str) -> Any:
    if "enum" in schema:
        values = schema["enum"]
        return values[_draw(prompt, path) % len(values)]
    match schema.get("type"):
        case "object":
            fields = schema["properties"]
            return {name: _value(kind, prompt, f"{path}.{name}") for name, kind in fields.items()}
        case "array":
            count = LISTED[0] + _draw(prompt, path) % (LISTED[1] - LISTED[0] + 1)
            return [_value(schema["items"], prompt, f"{path}[{i}]") for i in range(count)]
        case "boolean":
            return _decided(prompt, path)
        case "integer":
            if "fit in with a team" in prompt:
                return 1 + _draw(prompt, path) % RATINGS
            return PRICES[_draw(prompt, path) % len(PRICES)]
        case "number":
            return _draw(prompt, path) % 100 / 100
        case "string":
            return f"{path.strip('.')} {_item(prompt)} {_draw(prompt, path):x}"[:TEXT_CHARACTERS]
    return None


def _decided(prompt: str, path: str) -> bool:
    if "Is it both?" in prompt:
        return _FLAGS in prompt
    share = next((share for words, share in SHARES.items() if words in prompt), 0.5)
    return _draw(prompt, path) % 1000 < 1000 * share


def _draw(prompt: str, path: str) -> int:
    """Return a number that hangs on the question and the item alone, not on how they are laid out.

    Without an item's number it hangs on all that was said.
    """
    words = next((words for words in SHARES if words in prompt), "")
    key = f"{words} {path} {_item(prompt)}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")


def _item(prompt: str) -> str:
    found = _NUMBER.search(prompt)
    return found[1] if found else hashlib.sha256(prompt.encode()).hexdigest()[:8]
