"""The work that every side does: prompts, sampling, and one request's body."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MODEL = "large"
MAX_TOKENS = 128
# what the steps of `chain.mkb` say, in their order
CHAIN = ("{text}", "What is wrong with this? {text}", "Write this anew: {text}")


def questions(number: int, salt: int) -> list[str]:
    """Return distinct prompts of some 40 tokens, others for another salt."""
    return [f"What happened in round {salt:03} to item {n:05}?" for n in range(number)]


def body(prompt: str) -> bytes:
    """Return the body of a chat request."""
    document: dict[str, Any] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": MAX_TOKENS,
        "temperature": 0.0,
    }
    return json.dumps(document).encode()


def given(path: Path) -> list[str]:
    """Read the prompts from a file of inputs, as `mkb run --inputs` does."""
    found: Sequence[str] = json.loads(path.read_text("utf-8"))["questions"]
    return list(found)
