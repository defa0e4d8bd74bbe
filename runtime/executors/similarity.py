"""`embed`, `search`, `rank` and `classify` by the words that texts share, with scikit-learn.

Nothing is learnt beforehand and nothing is kept between calls: two texts are alike where they use
the same words or parts of words. Synonyms and paraphrases are not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ExecutorError
from .passages import content_words

if TYPE_CHECKING:
    import numpy as np


def embed(text: str, *, dimensions: int = 512) -> list[float]:
    """Return a unit vector of `dimensions` hashed counts of character 3- to 5-grams.

    The same text gives the same vector on every machine; the dot product of two is their cosine.
    A text without letters or digits gives zeros. Feature hashing: Weinberger et al., ICML 2009.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), n_features=dimensions)
    vector: list[float] = hashing.transform([text]).toarray()[0].tolist()
    return vector


def search(query: str, passages: list[str], *, k: int = 5) -> list[str]:
    """Return the at most `k` passages that share words with the query, best first."""
    scores = _likeness(query, passages)
    order = _best_first(scores)
    return [passages[index] for index in order[:k] if scores[index] > 0]


def rank(query: str, passages: list[str]) -> list[str]:
    """Return all passages, those most like the query first; equals keep their order."""
    return [passages[index] for index in _best_first(_likeness(query, passages))]


def classify(text: str, labels: list[str]) -> str:
    """Return the label whose own wording is most like the text; the first where none is.

    A label is all this knows of its class, so `"a complaint about delivery"` works better than
    `"complaint"`; expect little more than keyword spotting. Raises `ExecutorError` without labels.
    """
    if not labels:
        raise ExecutorError("`classify` was given no labels; give at least one")
    return labels[_best_first(_likeness(text, labels))[0]]


def prepare() -> None:
    """Import what the first call would, while nobody waits for it."""
    _likeness("word", ["word"])
    embed("word")


def _likeness(query: str, passages: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Cosine of TF-IDF vectors over the passages' own words, one score for each passage."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not any(map(content_words, passages)):  # scikit-learn refuses an empty vocabulary
        return np.zeros(len(passages))
    weighting = TfidfVectorizer(analyzer=content_words, sublinear_tf=True)
    scores: np.ndarray[tuple[int], np.dtype[np.float64]]
    scores = (weighting.fit_transform(passages) @ weighting.transform([query]).T).toarray()[:, 0]
    return scores


def _best_first(scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[int]:
    order: list[int] = (-scores).argsort(kind="stable").tolist()
    return order
