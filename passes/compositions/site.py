"""A call that a composition carries out: what its expansion is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...ir.ops import Attr, Op, Value
from ...ir.workflow import Task
from .arrangement import Arrangement
from .made import MadeTasks
from .sketch import Sketch


@dataclass(frozen=True, slots=True)
class Site:
    """A call, its task, how it is carried out, and the tasks of its module."""

    call: Op
    task: Task
    arrangement: Arrangement
    made: MadeTasks

    def member(
        self, weight: float, *, stage: int = 0, sampled: bool = False, factor: bool = False
    ) -> dict[str, Attr]:
        """Return the attributes of a call that gives an answer.

        `weight` is how much of its executor's quality counts. One call has the `factor`.
        """
        return {
            **self.arrangement.pins,
            "candidates": self.arrangement.stages[stage],
            "sampled": True if sampled or self.call.flag("sampled") else None,
            "weight": _plain(weight),
            "factor": _plain(self.arrangement.factor) if factor else None,
        }

    def sampling(self, *, always: bool = False) -> dict[str, Attr]:
        """Return the attributes of a call at the members' temperature, where that is not zero."""
        pins = {k: v for k, v in self.arrangement.pins.items() if k == "pin.temperature"}
        return {**pins, "sampled": True if always or self.call.flag("sampled") else None}

    def asked(self, weight: float, *, stage: int | None = None) -> dict[str, Attr]:
        """Return the attributes of a call that is asked about answers; it is not sampled.

        By whoever answers in a stage, where that is stated and can be asked.
        """
        pins = {k: v for k, v in self.arrangement.pins.items() if k != "pin.temperature"}
        asked = self.arrangement.asked
        if stage is not None:
            own = self.arrangement.stages[stage]
            asked = tuple(name for name in asked if name in own) or asked
        return {**pins, "candidates": asked, "weight": _plain(weight)}

    def several(self, sketch: Sketch, count: int, name: str, attrs: Mapping[str, Attr]) -> Value:
        """Append `count` calls of the task side by side; return the list of their answers."""
        numbers = [sketch.number(n + 1, "number") for n in range(count)]
        items = sketch.add("list", numbers, "numbers")
        body = sketch.inner()
        answer = body.call(self.task, self.call.operands, name, attrs)
        number = sketch.value("number", numbers[0].type)
        return sketch.add("map", (items,), f"{name}s", regions=(body.region((number,), answer),))

    def unanimous(self, sketch: Sketch, answers: Value) -> Value:
        """Append whether all answers of a list are the same."""
        share = sketch.add("agreement", (answers,), "agreement")
        whole = sketch.number(1.0, "all")
        return sketch.add("ge", (share, whole), "agreed")


def _plain(value: float) -> float | None:
    """Leave out what is one: that is the default."""
    return None if value == 1.0 else value
