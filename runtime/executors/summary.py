"""`summarize` by TextRank: the sentences that most other sentences resemble."""

from __future__ import annotations

from .passages import content_words, words
from .passages import sentences as sentences_of


def summarize(text: str, *, sentences: int = 3) -> str:
    """Return the `sentences` most central sentences in their original order, one a line.

    TextRank (Mihalcea and Tarau, EMNLP 2004): PageRank over sentences joined by the cosine of
    their TF-IDF vectors. Nothing is reworded. A text no longer than that comes back whole.
    """
    import networkx
    from sklearn.feature_extraction.text import TfidfVectorizer

    units = [unit for unit in sentences_of(text) if words(unit)]
    if len(units) <= sentences:
        return "\n".join(units)
    vectors = TfidfVectorizer(analyzer=content_words).fit_transform(units)
    likeness = (vectors @ vectors.T).toarray()
    likeness[range(len(units)), range(len(units))] = 0.0
    centrality = networkx.pagerank(networkx.from_numpy_array(likeness))
    chosen = sorted(range(len(units)), key=lambda index: -centrality[index])[:sentences]
    return "\n".join(units[index] for index in sorted(chosen))


def prepare() -> None:
    """Import what the first call would, while nobody waits for it."""
    summarize("One word.\nTwo words.", sentences=1)
