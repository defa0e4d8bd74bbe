"""Turns: engines that the plan puts on the same GPUs or cores one after the other.

An engine holds its places until it is retired (no call of it will come any more), or until it has
been idle for a while and another has calls waiting: the plan's order comes first, but a workflow
that goes back and forth between two engines must not stand still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ...targets.plan import EnginePlan

# An engine that has calls again within this time keeps its places: changing over takes seconds.
IDLE_S = 1.0


class Tenant(Protocol):
    """An engine that holds places now and then."""

    @property
    def calls(self) -> int:
        """How many of its calls have begun and not ended, those that wait for it included."""

    @property
    def idle_s(self) -> float:
        """For how long it has had no call."""

    @property
    def retired(self) -> bool:
        """Whether no call will come any more."""

    async def park(self) -> None:
        """Give up its places: sleep, or stop."""


def conflicts(engines: Sequence[EnginePlan]) -> dict[str, frozenset[str]]:
    """Return, for each engine, those that cannot hold their places while it does.

    Two engines that the plan has hold a place at the same time share it by memory; two that it
    has there one after the other do not fit together.
    """
    return {
        one.name: frozenset(
            other.name for other in engines if other is not one and _exclude(one, other)
        )
        for one in engines
    }


def _exclude(one: EnginePlan, other: EnginePlan) -> bool:
    return share_a_place(one, other) and not together(one, other)


def together(one: EnginePlan, other: EnginePlan) -> bool:
    """Tell whether the plan has two engines up at the same time."""
    return one.start_s < other.end_s and other.start_s < one.end_s


def share_a_place(one: EnginePlan, other: EnginePlan) -> bool:
    """Tell whether a GPU, or the CPU of a node, is a place of both."""
    return one.device == other.device and any(
        a.pool == b.pool and a.node == b.node and (not a.gpus or set(a.gpus) & set(b.gpus))
        for a in one.places
        for b in other.places
    )


class Turns:
    """Who holds which places; engines are by name, and wait in the order in which they came."""

    def __init__(
        self, excluded: Mapping[str, frozenset[str]], sleepers: Collection[str] = ()
    ) -> None:
        """Take what `conflicts` says; nobody holds anything yet.

        `sleepers` hold their places first, one after the other, until `lay_down` is called for
        each.
        """
        self._excluded = excluded
        self._sleepers = set(sleepers)
        self._tenants: dict[str, Tenant] = {}
        self._holding: set[str] = set()
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._look: asyncio.TimerHandle | None = None

    def enlist(self, name: str, tenant: Tenant) -> None:
        """Get to know an engine."""
        self._tenants[name] = tenant

    def shares(self, name: str) -> bool:
        """Tell whether an engine has to take turns with any other."""
        return bool(self._excluded.get(name, frozenset()))

    async def lay_down(self, name: str) -> None:
        """Have a sleeper give up its places before its turn, as soon as it is up or has failed."""
        try:
            await self._tenants[name].park()
        finally:
            self._sleepers.discard(name)
            self._holding.discard(name)
            self.look()

    async def hold(self, name: str) -> None:
        """Return when an engine holds its places."""
        if name in self._holding and name not in self._leaving:
            return
        if name not in self._waiting:
            self._waiting[name] = asyncio.get_running_loop().create_future()
        turn = self._waiting[name]
        self.look()
        await asyncio.shield(turn)

    def look(self) -> None:
        """Give places to whom they can be given; call it when an engine's calls have changed.

        Nobody overtakes an engine that has come before and has calls: two that go back and forth
        would keep a third, which needs the places of both, from ever having its turn.
        """
        ahead: set[str] = set()
        for name in list(self._waiting):
            excluded = self._excluded.get(name, frozenset())
            holding = excluded & (self._holding | self._leaving.keys())
            if name not in self._sleepers and excluded & self._sleepers:
                continue
            if name not in self._leaving and not holding and not excluded & ahead:
                self._holding.add(name)
                self._waiting.pop(name).set_result(None)
                continue
            asked = frozenset() if excluded & ahead else holding - self._leaving.keys()
            for other in sorted(asked):
                self._ask(other, self._tenants[name])
            if self._tenants[name].calls:
                ahead.add(name)

    def _ask(self, holder: str, waiting: Tenant) -> None:
        tenant = self._tenants[holder]
        if tenant.calls:
            return
        if not tenant.retired:
            if not waiting.calls:
                return
            if tenant.idle_s < IDLE_S:
                self._look_again(IDLE_S - tenant.idle_s)
                return
        self._leaving[holder] = asyncio.create_task(self._leave(holder, tenant))

    def _look_again(self, delay_s: float) -> None:
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(delay_s + 0.01, self._looked_for)

    def _looked_for(self) -> None:
        self._look = None
        self.look()

    async def _leave(self, name: str, tenant: Tenant) -> None:
        try:
            await tenant.park()
        finally:
            self._holding.discard(name)
            del self._leaving[name]
            self.look()

    async def close(self) -> None:
        """Wait for those that are leaving; nobody looks any more."""
        if self._look is not None:
            self._look.cancel()
        await asyncio.gather(*self._leaving.values(), return_exceptions=True)
