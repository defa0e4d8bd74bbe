"""Target `local`: this machine's CPU, in process; the embedded default."""

from __future__ import annotations

from .target import Target

TARGET = Target(
    name="local",
    description="this machine's CPU, in process",
    runners=frozenset({"python"}),
    installed=True,
    described=False,
)
