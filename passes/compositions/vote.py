"""Vote: the most frequent of several sampled answers, and no more of them than it takes.

Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in Language Models", ICLR 2023
(arXiv:2203.11171). A bare majority is asked first; where it agrees, the others cannot change the
outcome and are not asked ("adaptive consistency" with its surest rule: Aggarwal et al., EMNLP 2023,
arXiv:2305.11860).
"""

from __future__ import annotations

from ...targets.compositions import figure
from .site import Site
from .sketch import Sketch


def vote(site: Site, sketch: Sketch) -> None:
    """Append the most frequent of `votes` answers.

    The executor of each batch counts by its share of the votes.
    """
    votes = site.arrangement.whole("votes")
    first = votes // 2 + 1
    early = site.member(first / votes, sampled=True, factor=True)
    answers = site.several(sketch, first, "vote", early)
    agreed = site.unanimous(sketch, answers)
    then = sketch.inner()
    winner = then.add("majority", (answers,), "winner")
    orelse = sketch.inner()
    late = site.member((votes - first) / votes, sampled=True)
    rest = site.several(orelse, votes - first, "extra", late)
    everyone = orelse.add("add", (answers, rest), "votes")
    other = orelse.add("majority", (everyone,), "winner")
    sketch.add(
        "if",
        (agreed,),
        "",
        attrs={"likely": figure(site.arrangement.composition.agrees, votes)},
        regions=(then.region((), winner), orelse.region((), other)),
        result=site.call.out(),
    )
