"""Pins (`with { … }`) as constraints on executors, knobs and hardware."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..ir.diagnostics import Span
from ..ir.ops import Attr, Op
from ..targets.library import Executor

# Every language model has these (docs/language.md, Pins); they are set by pins, never enumerated.
MODEL_KNOBS = ("temperature", "max_tokens")
SELECTORS = ("executor", "model", "device", "gpu")
LANGUAGE_RUNNERS = ("vllm", "openai")

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class Pin:
    """One pin: a name, `=`, `!=` or an ordering, and a value."""

    name: str
    op: str
    value: Attr

    def __str__(self) -> str:
        """Return the pin roughly as its author wrote it."""
        sign = ":" if self.op == "=" else f" {self.op}"
        return f"{self.name}{sign} {self.value}"

    def accepts(self, value: Attr) -> bool:
        """Tell whether a knob's setting satisfies the pin."""
        if self.op in ("=", "=="):
            return value == self.value
        if self.op == "!=":
            return value != self.value
        numbers = isinstance(value, (int, float)) and isinstance(self.value, (int, float))
        return numbers and _COMPARE[self.op](value, self.value)  # type: ignore[arg-type]


def pins_of(op: Op) -> tuple[Pin, ...]:
    """Return a call's pins, sorted by name."""
    found = []
    for key, text in op.attrs:
        if not key.startswith("pin."):
            continue
        for one in text if isinstance(text, tuple) else (text,):
            sign, _, value = str(one).partition(" ")
            found.append(Pin(key.removeprefix("pin."), sign, _value(value)))
    return tuple(found)


def pin_place(op: Op, name: str) -> Span | None:
    """Return where a pin of a call stands in the source, the call where that is not known."""
    place = op.locs[0] if op.locs else None
    at = op.attr(f"at.{name}")
    if place is None or not isinstance(at, tuple) or len(at) != 4:
        return place
    line, column, end_line, end_column = (int(n) for n in at if isinstance(n, int))
    return replace(place, line=line, column=column, end_line=end_line, end_column=end_column)


def _value(text: str) -> Attr:
    if text.startswith('"'):
        return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if text in ("true", "false"):
        return text == "true"
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() and "." not in text else number


def refuses(executor: Executor, pins: Sequence[Pin]) -> str | None:
    """Return why an executor cannot satisfy pins of one name, or None when it can.

    `gpu` is left to slots.
    """
    match pins[0].name:
        case "executor":
            return None if _accepted(executor.name, pins) else f"it is `{executor.name}`"
        case "model":
            return None if _accepted(executor.model, pins) else f"its model is `{executor.model}`"
        case "device":
            fits = any(_accepted(device, pins) for device in executor.devices)
            return None if fits else f"it runs on {' or '.join(executor.devices)}"
        case "gpu":
            return None if "gpu" in executor.devices else "it does not run on GPUs"
    name = pins[0].name
    choices = dict(executor.knobs).get(name)
    if choices is not None:
        if any(_accepted(choice, pins) for choice in choices):
            return None
        return f"its `{name}` is one of {', '.join(map(str, choices))}"
    if name in MODEL_KNOBS and executor.runner in LANGUAGE_RUNNERS:
        return None if model_setting(pins) is not None else _DOMAINS[name]
    return f"it has no knob `{name}`"


def _accepted(value: Attr, pins: Sequence[Pin]) -> bool:
    return all(pin.accepts(value) for pin in pins)


_DOMAINS = {
    "temperature": "a temperature lies between 0 and 2",
    "max_tokens": "`max_tokens` is a whole number of at least 1",
}


def model_setting(pins: Sequence[Pin]) -> float | int | None:
    """Return the setting of one of MODEL_KNOBS that satisfies its pins, or None: there is none.

    A temperature is the lowest that does, so 0 where the pins allow it; `max_tokens` the highest,
    infinite where they leave the length of an answer to the model.
    """
    bounds = [float(pin.value) for pin in pins if isinstance(pin.value, (int, float))]
    if len(bounds) < len(pins):
        return None
    if pins[0].name == "temperature":
        between = [low + 0.1 for low in bounds] + [sum(bounds) / len(bounds)]
        lowest = sorted(round(t, 6) for t in (0.0, *bounds, *between) if 0.0 <= t <= 2.0)
        return next((_plain(t) for t in lowest if _accepted(t, pins)), None)
    if _accepted(math.inf, pins):
        return math.inf
    whole = sorted({math.floor(b) - step for b in bounds for step in (0, 1)}, reverse=True)
    return next((n for n in whole if n >= 1 and _accepted(n, pins)), None)


def _plain(value: float) -> float | int:
    return int(value) if value.is_integer() else value
