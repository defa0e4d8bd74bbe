"""What a target is: the runners it offers, and where its plans run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A place that plans are compiled for.

    runners: what it can carry out. installed: executors must be installed on this machine, because
    that is where they run. described: it needs a cluster file; others take this host by default.
    """

    name: str
    description: str
    runners: frozenset[str]
    installed: bool
    described: bool
