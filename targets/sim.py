"""Target `sim`: any described cluster, carried out in virtual time."""

from __future__ import annotations

from .target import Target

TARGET = Target(
    name="sim",
    description="a simulation of a described cluster, in virtual time",
    runners=frozenset({"python", "vllm", "openai", "torch", "http"}),
    installed=False,
    described=True,
)
