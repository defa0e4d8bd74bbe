"""The conversation with a model about one value: the question, and what follows a bad answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...ir.types import ListOf, Type
from ..values import ValueProblem, encode
from ..worker import Offer
from .events import Hear
from .growing import GrowingList
from .structured import ROOT, read_answer, repair_messages

Messages = list[dict[str, Any]]


class Dialogue:
    """Asks for a value; the items of a list may be handed over while the model writes it.

    A model may be asked several times for one list: an answer breaks off, or cannot be used. Items
    that have been handed over are at work already, so it is then asked for those that follow.
    """

    def __init__(
        self, kind: Type, question: Messages, given: Sequence[Any] = (), offer: Offer | None = None
    ) -> None:
        """Begin with a question; `given` are items that earlier attempts have handed over."""
        self.messages = question  # what to send next
        self._question = question
        self._kind = kind
        self._offer = offer if isinstance(kind, ListOf) else None
        self._items = list(given)
        self._before = len(given)  # items that were there before the present answer
        if given:
            self.messages = self._going_on("it was broken off")

    @property
    def streams(self) -> bool:
        """Whether answers are wanted piece by piece."""
        return self._offer is not None

    def listen(self) -> Hear | None:
        """Return what takes the text of the next answer while it is written."""
        offer, kind = self._offer, self._kind
        if offer is None or not isinstance(kind, ListOf):
            return None
        growing = GrowingList(kind.item)

        def hear(text: str) -> None:
            found = growing.feed(text)
            if found:
                self._items += found
                offer(found)

        return hear

    def read(self, answer: str) -> Any:
        """Return the value; raises `ValueProblem`, and `messages` then asks again."""
        before, self._before = self._before, len(self._items)
        try:
            value = read_answer(self._kind, answer)
        except ValueProblem as problem:
            again = self._items and self._going_on(str(problem))
            self.messages = again or repair_messages(self._question, answer, str(problem))
            raise
        return self._items[:before] + value if before else value

    def _going_on(self, problem: str) -> Messages:
        """Return the conversation that asks for the items after those which there are."""
        answer = json.dumps({ROOT: encode(self._items)}, ensure_ascii=False)
        request = (
            f"Your answer cannot be used beyond these {len(self._items)} items: {problem}. "
            "Go on from there: give only the items that follow, in the same form "
            "(an empty list if none do), as JSON and without any other text."
        )
        return [
            *self._question,
            {"role": "assistant", "content": answer},
            {"role": "user", "content": request},
        ]
