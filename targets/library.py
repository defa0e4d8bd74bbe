"""The executor library: what can carry out an operator interface, and what it is known to take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..ir.diagnostics import Span
from ..ir.ops import Attr
from .formula import Formula

Runner = Literal["python", "vllm", "openai", "torch", "http"]
Pooling = Literal["thread", "process"]


@dataclass(frozen=True, slots=True)
class Quality:
    """How good an executor is at its interface: a score in (0, 1], what it means, who says so.

    Only ratios between executors of one interface matter. `factors` scale the value by a knob's
    setting: `("frames", ((1, 0.75), (5, 0.96), (10, 1.0)))`.
    """

    value: float
    metric: str
    source: str
    factors: tuple[tuple[str, tuple[tuple[Attr, float], ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Amount:
    """A formula for the median and one for the 90th percentile (the same where it is constant)."""

    p50: Formula
    p90: Formula


@dataclass(frozen=True, slots=True)
class Executor:
    """One `[[executor]]` entry.

    work: units one call costs (`prompt_tokens`, `output_tokens`, `items`). result: the size of what
    it returns (`tokens`, `len`, `item.duration`, `item.tokens`, `pixels`, …) as formulas over the
    interface's parameters and the knobs. entry: for `python`, the name of an entry point of group
    `murakkab.executors`, or (`file` set) the function in a file beside the library. requires:
    import names that must be installed. digest: of everything here that decides a result.
    """

    name: str
    interface: str
    description: str
    runner: Runner
    devices: tuple[Literal["cpu", "gpu", "remote"], ...]
    quality: Quality
    model: str | None = None
    entry: str | None = None
    file: str | None = None
    pooling: Pooling = "process"
    cores: int = 1  # CPU cores one call keeps busy
    memory_bytes: float = 0.0  # host memory of one replica
    knobs: tuple[tuple[str, tuple[Attr, ...]], ...] = ()
    prompt: str | None = None
    system: str | None = None
    work: tuple[tuple[str, Amount], ...] = ()
    result: tuple[tuple[str, Amount], ...] = ()
    requires: tuple[str, ...] = ()
    install: str = ""  # the command that makes it available
    open: bool = False  # takes whatever parameters the task declares
    idempotent: bool = False
    context_tokens: int | None = None
    usd_per_mtok: tuple[float, float] | None = None  # hosted: prompt, output
    settings: tuple[tuple[str, Attr], ...] = ()  # runner settings: url, key_env, timeout_s
    digest: str = ""
    loc: Span | None = None


@dataclass(frozen=True, slots=True)
class Library:
    """Executors by name, in file order; `digest` covers every file."""

    executors: tuple[Executor, ...]
    digest: str

    def get(self, name: str) -> Executor | None:
        """Return an executor by name."""
        return next((e for e in self.executors if e.name == name), None)

    def implementing(self, interface: str) -> tuple[Executor, ...]:
        """Return the executors of an interface, best quality first, then by name."""
        found = [e for e in self.executors if e.interface == interface]
        return tuple(sorted(found, key=lambda e: (-e.quality.value, e.name)))
