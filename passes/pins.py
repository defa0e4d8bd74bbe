"""Pins (`with { … }`) as constraints on executors, knobs and hardware."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

from ..ir.ops import Attr, Op
from ..targets.library import Executor

# Every language model has these (LANGUAGE.md, A task); they are set by pins, never enumerated.
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


def refuses(executor: Executor, pin: Pin) -> str | None:
    """Return why an executor cannot satisfy a pin, or None when it can; `gpu` is left to slots."""
    match pin.name:
        case "executor":
            return None if pin.accepts(executor.name) else f"it is `{executor.name}`"
        case "model":
            return None if pin.accepts(executor.model) else f"its model is `{executor.model}`"
        case "device":
            fits = any(pin.accepts(device) for device in executor.devices)
            return None if fits else f"it runs on {' or '.join(executor.devices)}"
        case "gpu":
            return None if "gpu" in executor.devices else "it does not run on GPUs"
    choices = dict(executor.knobs).get(pin.name)
    if choices is not None:
        if any(pin.accepts(choice) for choice in choices):
            return None
        return f"its `{pin.name}` is one of {', '.join(map(str, choices))}"
    if pin.name in MODEL_KNOBS and executor.runner in LANGUAGE_RUNNERS:
        return None
    return f"it has no knob `{pin.name}`"
