"""Self-reflection: a draft, checked and improved until nothing has to be changed.

Madaan et al., "Self-Refine: Iterative Refinement with Self-Feedback", NeurIPS 2023
(arXiv:2303.17651), with feedback and refinement in one call.
"""

from __future__ import annotations

from ...targets.compositions import figure
from .site import Site
from .sketch import Sketch


def reflect(site: Site, sketch: Sketch) -> None:
    """Append a draft and at most `rounds` revisions of it, each of the one before.

    Draft and revisions count half each. If the draft's executor did not count, the cheapest would
    always draft, and what was measured of a model that reflects on its own answer would not hold.
    """
    rounds = site.arrangement.whole("rounds")
    composition = site.arrangement.composition
    draft = sketch.call(site.task, site.call.operands, "draft", site.member(0.5, factor=True))
    revision = site.made.revision(site.task)
    body = sketch.inner()
    held = sketch.value("held", site.task.result)
    attrs = site.asked(0.5) | site.sampling()
    revised = body.call(revision, (*site.call.operands, held), "revision", attrs)
    result = body.add("field", (revised,), "revised", attrs={"name": "result"})
    done = body.add("field", (revised,), "done", attrs={"name": "done"})
    sketch.add(
        "loop",
        (draft,),
        "",
        attrs={"limit": rounds, "rounds": figure(composition.mean_rounds, rounds)},
        regions=(body.region((held,), result, done, result),),
        result=site.call.out(),
    )
