"""Questions about servers by name, and the load points that a user's profiles have of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir.diagnostics import Diagnostic
from .hardware_names import Names
from .perfmodel import Query

if TYPE_CHECKING:
    from .profiles import Profiles, TokenPoint

CHAT_SPREAD = math.exp(0.8**2) - 1  # squared coefficient of variation
LONG_ANSWER = 2500.0  # tokens at which the spread is half of that


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asks, in their words; empty texts leave a choice to the model."""

    model: str
    gpu: str
    tp: int = 1
    batch: float = 1.0
    isl: float = 161.0  # a conversation's, as `mkb profile` sends them
    osl: float = 338.0
    precision: str = ""
    engine: str = ""
    engine_version: str = ""


def query_of(question: Question, names: Names) -> Query:
    """Return a question in the model's terms; InputError where a name is none that is known."""
    model, said = names.model(question.model)
    published = names.precision(model.precision)
    precision = names.precision(question.precision) if question.precision else said or published
    if precision == "fp4" and published == "mxfp4":
        precision = published  # both names are in use for it
    if precision == "fp32" and published == "fp32" and not question.precision:
        precision = "bf16"  # what servers load such weights in
    return Query(
        model=model,
        device=names.device(question.gpu),
        tp=question.tp,
        batch=question.batch,
        isl=question.isl,
        osl=question.osl,
        spread=spread_of(question.osl),
        precision=precision,
        engine=names.engine(question.engine or "vllm"),
        version=question.engine_version,
    )


def spread_of(osl: float) -> float:
    """Return the spread to take for outputs of a mean length: none where it is a whole number.

    A fraction shows that it is the mean of outputs that differ. They are then as spread as answers
    of chats (a log-normal of 0.8, as `mkb profile` sends them), long ones less: reasoning takes
    about as long for each question. On the ML.ENERGY rows this halves the error of chats.
    """
    if osl == int(osl):
        return 0.0
    return CHAT_SPREAD / (1 + (osl / LONG_ANSWER) ** 2)


def bad_degree(query: Query) -> Diagnostic | None:
    """Return why a model cannot be split over a query's GPUs, None where it can."""
    if query.tp == 1 or query.model.q_heads % query.tp == 0:
        return None
    message = f"`tp` {query.tp} does not divide the {query.model.q_heads} heads of its attention"
    return Diagnostic("bad-value", message)


@dataclass(frozen=True)
class Anchors:
    """The user's load points, by what they are of."""

    points: Mapping[tuple[int, str, int], tuple[TokenPoint, ...]]

    @staticmethod
    def of(profiles: Profiles, names: Names) -> Anchors:
        """Index load points by model, device and degree, under whatever names they stand."""
        found: dict[tuple[int, str, int], tuple[TokenPoint, ...]] = {}
        for (model, device, tp), points in profiles.tokens.items():
            spelled = names.models.get(model.lower())
            placed = names.devices.get(device.lower())
            if spelled is not None and placed is not None:
                found[id(spelled), placed.type, tp] = points
        return Anchors(found)

    def for_query(self, query: Query) -> tuple[TokenPoint, ...]:
        """Return the load points of a query's server."""
        return self.points.get((id(query.model), query.device.type, query.tp), ())


def other_versions(anchors: Anchors, queries: Sequence[Query]) -> Iterator[Diagnostic]:
    """Warn of load points that were measured with another engine, or version, than is asked for."""
    told: set[tuple[object, ...]] = set()
    for query in queries:
        for point in anchors.for_query(query):
            had = point.engine, point.engine_version
            other = point.engine and point.engine.lower() != query.engine
            newer = query.version and point.engine_version not in ("", query.version)
            key = (query.model.name, query.device.type, query.tp, *had)
            if not (other or newer) or key in told:
                continue
            told.add(key)
            message = (
                f"the load points of `{query.model.name}` on {query.device.type} are of "
                f"{' '.join(filter(None, had))}, not of {query.engine} {query.version}".rstrip()
            )
            yield Diagnostic("outdated-profile", message, severity="warning")
