"""Which operator interface a task means: signatures say what fits, words what is meant."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..ir.types import assignable
from ..ir.workflow import Task

# Below this similarity the words have too little in common to bind by; tuned by hand on the
# standard library: paraphrases of an interface's description score above 0.3, others below 0.15.
THRESHOLD = 0.2
_STOP = frozenset(
    "a an and are as at by for from in into is it of on or that the this to with".split()
)


@dataclass(frozen=True, slots=True)
class Match:
    """An interface that fits a task, and how near its words are, in [0, 1]."""

    interface: Task
    similarity: float


def binding(task: Task, interface: Task) -> tuple[str, ...] | str:
    """Return the interface's parameter for each of the task's, or why they do not fit, in words.

    Parameters match by name if all names agree, else by position (docs/language.md, Tasks); results
    and parameters must be assignable.
    """
    have, want = len(task.params), len(interface.params)
    if have != want:
        return f"`{interface.name}` takes {_count(want)}, `{task.name}` has {_count(have)}"
    wanted = {p.name: p for p in interface.params}
    by_name = {p.name for p in task.params} == set(wanted)
    names = tuple(p.name for p in (task.params if by_name else interface.params))
    for param, name in zip(task.params, names, strict=True):
        if not assignable(param.type, wanted[name].type):
            return (
                f"parameter `{param.name}` is {param.type}, "
                f"`{interface.name}` wants {wanted[name].type} for `{name}`"
            )
    if not assignable(interface.result, task.result):
        return f"`{interface.name}` gives {interface.result}, not {task.result}"
    return names


def _count(number: int) -> str:
    return f"{number} parameter" + ("" if number == 1 else "s")


def by_description(
    task: Task, interfaces: Iterable[Task], words: Mapping[str, str]
) -> tuple[Match, ...]:
    """Return the interfaces whose signature fits, the nearest in words first.

    `words` holds what else is known of an interface (its executors' descriptions). Similarity is
    the cosine of TF-IDF vectors of name, parameters and description.
    """
    fitting = [
        i for i in interfaces if i.effect == task.effect and isinstance(binding(task, i), tuple)
    ]
    if not fitting:
        return ()
    documents = [_terms(f"{_text(i)} {words.get(i.name, '')}") for i in fitting]
    rarity = _idf(documents)
    own = _weighted(_terms(_text(task)), rarity)
    matches = [
        Match(interface, _cosine(own, _weighted(document, rarity)))
        for interface, document in zip(fitting, documents, strict=True)
    ]
    return tuple(sorted(matches, key=lambda m: (-m.similarity, m.interface.name)))


def _text(task: Task) -> str:
    return f"{task.name} {task.name} {task.description}"


def _terms(text: str) -> Counter[str]:
    words = re.findall(r"[a-z]+", text.lower().replace("_", " "))
    return Counter(_stem(w) for w in words if w not in _STOP)


def _stem(word: str) -> str:
    """Cut the commonest English endings: enough for `detects` to meet `detect`."""
    for ending in ("ing", "es", "s", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _idf(documents: list[Counter[str]]) -> dict[str, float]:
    seen = Counter(term for document in documents for term in document)
    return {term: math.log((1 + len(documents)) / (1 + n)) + 1 for term, n in seen.items()}


def _weighted(terms: Counter[str], rarity: Mapping[str, float]) -> dict[str, float]:
    # a term no interface uses weighs most: it says the task is about something else
    most = max(rarity.values(), default=1.0)
    return {term: (1 + math.log(n)) * rarity.get(term, most) for term, n in terms.items()}


def _cosine(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    dot = sum(weight * b.get(term, 0.0) for term, weight in a.items())
    norm = math.sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values()))
    return dot / norm if norm else 0.0
