"""Passages found or ordered by a model server: what to send, and what comes back of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

DEFAULT_FOUND = 5  # passages that a search returns where no knob `k` says otherwise


def nearest(vectors: Sequence[Sequence[float]], k: int) -> list[int]:
    """Return which vectors lie nearest to the first, by cosine, counted from the one after it.

    The nearest comes first; of equal ones, the earlier.
    """
    query, *others = vectors
    likeness = [_cosine(query, other) for other in others]
    order = sorted(range(len(others)), key=lambda i: (-likeness[i], i))
    return order[: max(k, 0)]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / lengths if lengths else 0.0


def embedded(document: Mapping[str, Any], count: int) -> list[list[float]]:
    """Return the vectors of an answer from `/embeddings`, in the order of what was sent.

    Raises LookupError, TypeError or ValueError for an answer of another form.
    """
    rows = sorted(document["data"], key=lambda row: int(row["index"]))
    vectors = [[float(number) for number in row["embedding"]] for row in rows]
    if len(vectors) != count or len({len(vector) for vector in vectors}) > 1:
        raise ValueError("vectors")
    return vectors


def ranked(document: Mapping[str, Any], count: int) -> list[int]:
    """Return the order of an answer from `/rerank`, the most relevant first.

    Raises LookupError, TypeError or ValueError for an answer of another form.
    """
    rows = [(-float(row["relevance_score"]), int(row["index"])) for row in document["results"]]
    if sorted(index for _, index in rows) != list(range(count)):
        raise ValueError("results")
    return [index for _, index in sorted(rows)]
