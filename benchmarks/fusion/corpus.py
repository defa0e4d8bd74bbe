"""What the workflows are given: made-up texts, the same on every machine.

Each item says its number (`no. 17`), by which the outcomes recorded for it are found.
"""

from __future__ import annotations

import random
from typing import Any

_WORDS = (
    "the a of and to in market price energy deal report week people office house river north "
    "patient doctor bill senate hearing law cost plan student problem number value record letter "
    "said made found gave asked wrote late early small large open new old good first last"
).split()


def text(kind: str, number: int, characters: int) -> str:
    """Return a made-up text of a kind with a number, about so many characters long."""
    chance = random.Random(f"{kind} {number}")
    words = [f"{kind.capitalize()} no. {number}:"]
    while sum(map(len, words)) + len(words) < characters:
        words.append(chance.choice(_WORDS))
    return " ".join(words) + "."


def texts(kind: str, count: int, characters: int) -> list[str]:
    """Return distinct texts of a kind."""
    return [text(kind, number, characters) for number in range(1, count + 1)]


def records(count: int, **fields: tuple[str, int]) -> list[dict[str, Any]]:
    """Return records of texts; of each field, its kind and about how many characters."""
    return [
        {name: text(kind, number, size) for name, (kind, size) in fields.items()}
        for number in range(1, count + 1)
    ]


INPUTS: dict[str, dict[str, Any]] = {
    "enron": {"emails": texts("e-mail", 10, 250)},
    "listings": {"homes": records(10, text=("home", 200), pictures=("pictures of home", 200))},
    "medical": {"transcripts": texts("visit", 3, 400)},
    "hearings": {
        "records": records(
            6,
            title=("hearing", 24),
            date=("day", 16),
            opening=("opening of hearing", 120),
            transcript=("transcript of hearing", 400),
        )
    },
    "reviews": {"given": records(8, text=("review", 250), category=("kind", 16))},
    "hotpot": {
        "questions": records(
            8, text=("question", 80), first=("passage", 180), second=("second passage", 180)
        )
    },
    "maths": {"problems": texts("problem", 10, 200)},
    "grading": {"assignment": text("assignment", 1, 300), "essays": texts("essay", 8, 200)},
    "briefing": {"documents": texts("document", 8, 300)},
    "applications": {"given": records(10, resume=("résumé", 400), letter=("letter", 200))},
    "triage": {"question": text("question", 1, 300)},
}
