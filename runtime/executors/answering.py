"""`answer` by selection: the sentences of the context that best match the question (BM25)."""

from __future__ import annotations

from .passages import content_words, sentences, words

NOT_FOUND = "not found in the context"

# A sentence also counts for what stands around it: a sign reads `Lyon`, its scene `platform 7`.
_SURROUNDINGS = 0.25


def answer(query: str, context: list[str], *, k: int = 1) -> str:
    """Return the `k` sentences of the context that best match the question, one a line.

    Sentences are scored by BM25 (Robertson and Zaragoza, 2009) over the context's own words, plus
    a quarter of the score of the passage they stand in; they come back in the order of the
    context. Nothing is reworded, so a sentence may hold more than was asked. Without a word of the
    question anywhere in the context the answer is `NOT_FOUND`.
    """
    units = [(unit, place) for place, text in enumerate(context) for unit in sentences(text)]
    asked = content_words(query)
    near = _scores(asked, [unit for unit, _ in units])
    around = _scores(asked, context)
    scores = [near[unit] + _SURROUNDINGS * around[place] for unit, (_, place) in enumerate(units)]
    best = sorted(range(len(units)), key=lambda unit: -scores[unit])[:k]
    chosen = dict.fromkeys(units[unit][0] for unit in sorted(best) if scores[unit] > 0)
    return "\n".join(chosen) or NOT_FOUND


def prepare() -> None:
    """Import what the first call would, while nobody waits for it."""
    answer("word", ["word"])


def _scores(asked: list[str], texts: list[str]) -> list[float]:
    """BM25 of each text for the words asked; zeros where no text holds a word."""
    import bm25s

    corpus = [words(text) for text in texts]
    known = {word for text in corpus for word in text}
    if not known.intersection(asked):
        return [0.0] * len(texts)
    index = bm25s.BM25(method="lucene")
    index.index(corpus, show_progress=False)
    scores: list[float] = index.get_scores([word for word in asked if word in known]).tolist()
    return scores
