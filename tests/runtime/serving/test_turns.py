"""Turns: engines on the same places, one after the other, and none of them for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murakkab.runtime.serving import turns
from murakkab.runtime.serving.turns import Turns, conflicts
from murakkab.targets.plan import EnginePlan, Place


class Engine:
    """A tenant with calls of the test's own, which sees to it that nobody else has its places."""

    def __init__(self, name: str, order: Turns, excluded: Mapping[str, frozenset[str]]) -> None:
        self.name, self.order, self.excluded = name, order, excluded[name]
        self.calls = 0
        self.idle_s = 100.0
        self.retired = False
        self.parked = 0
        self.up = False
        self.at_work = 0
        self.here: set[str] = set()  # shared by all: who holds
        order.enlist(name, self)

    async def park(self) -> None:
        assert self.up and not self.at_work, "its calls are at work"
        self.up = False
        await asyncio.sleep(0)
        self.here.discard(self.name)
        self.parked += 1

    async def call(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something as a call that needs the places."""
        self.calls += 1
        try:
            await asyncio.sleep(0)  # a call is counted before it begins
            self.order.look()
            while not self.up:
                await self.order.hold(self.name)
                self.up = True
                self.here.add(self.name)
            self.at_work += 1
            assert not self.excluded & self.here, "somebody else holds a place of it"
            await work()
            assert self.up and self.name in self.here
            self.at_work -= 1
        finally:
            self.calls -= 1
            self.order.look()


def engines(*pairs: str) -> dict[str, Engine]:
    """Return engines of which each pair, `ab`, excludes one another."""
    names = sorted(set("".join(pairs)))
    excluded = {
        name: frozenset(other for pair in pairs if name in pair for other in pair if other != name)
        for name in names
    }
    order, here = Turns(excluded), set[str]()
    made = {name: Engine(name, order, excluded) for name in names}
    for engine in made.values():
        engine.here = here
    return made


async def settled() -> None:
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def nothing() -> None:
    """Be done at once."""


def test_an_engine_that_shares_with_nobody_holds_at_once() -> None:
    async def main() -> None:
        order = Turns({})
        assert not order.shares("a")
        await order.hold("a")
        await order.hold("a")

    asyncio.run(main())


def test_an_idle_holder_yields_to_one_with_calls() -> None:
    async def main() -> None:
        found = engines("ab")
        await found["a"].call(nothing)
        assert found["a"].here == {"a"}
        await found["b"].call(nothing)
        assert found["a"].here == {"b"} and found["a"].parked == 1
        await found["a"].call(nothing)
        assert found["a"].here == {"a"}

    asyncio.run(main())


def test_an_idle_holder_keeps_its_places_where_nobody_has_calls() -> None:
    async def main() -> None:
        found = engines("ab")
        await found["a"].call(nothing)
        early = asyncio.create_task(found["b"].order.hold("b"))
        await settled()
        assert not early.done() and found["a"].here == {"a"}
        found["a"].retired = True
        found["a"].order.look()
        await early

    asyncio.run(main())


@pytest.mark.parametrize("retired", [False, True])
def test_calls_at_work_are_never_cut_off(retired: bool) -> None:
    async def main() -> None:
        found, end = engines("ab"), asyncio.Event()

        async def work() -> None:
            await end.wait()

        at_work = asyncio.create_task(found["a"].call(work))
        await settled()
        found["a"].retired = retired
        waiting = asyncio.create_task(found["b"].call(nothing))
        await settled()
        assert not waiting.done()
        end.set()
        await asyncio.gather(at_work, waiting)

    asyncio.run(main())


def test_a_holder_that_was_just_idle_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "IDLE_S", 0.01)

    async def main() -> None:
        found = engines("ab")
        await found["a"].call(nothing)
        found["a"].idle_s = 0.0
        waiting = asyncio.create_task(found["b"].call(nothing))
        await settled()
        assert not waiting.done()
        found["a"].idle_s = 1.0  # nothing tells of it but the clock
        await waiting

    asyncio.run(main())


def test_two_that_go_back_and_forth_do_not_keep_a_third_out() -> None:
    """The third needs the places of both, which are never free at the same moment."""

    async def main() -> None:
        found = engines("ac", "bc")
        done: list[str] = []
        ends = {"a": asyncio.Event(), "b": asyncio.Event()}

        async def busy(name: str) -> None:
            await ends[name].wait()

        def begin(name: str) -> asyncio.Task[None]:
            ends[name].clear()
            return asyncio.create_task(found[name].call(lambda: busy(name)))

        async def third() -> None:
            done.append("c")

        at_work = {"a": begin("a"), "b": begin("b")}
        await settled()
        waiting = asyncio.create_task(found["c"].call(third))
        await settled()
        for name in "abab":
            ends[name].set()
            await at_work[name]
            at_work[name] = begin(name)
            await settled()
        assert done == ["c"]
        for event in ends.values():
            event.set()
        await asyncio.gather(waiting, *at_work.values())

    asyncio.run(main())


def test_a_place_is_given_back_although_parking_went_wrong() -> None:
    async def main() -> None:
        found = engines("ab")
        await found["a"].call(nothing)

        async def fails() -> None:
            found["a"].here.discard("a")
            raise OSError("no")

        found["a"].park = fails  # type: ignore[method-assign]
        await found["b"].call(nothing)
        await found["b"].order.close()

    asyncio.run(main())


def test_closing_waits_for_who_is_leaving() -> None:
    async def main() -> None:
        found, leave = engines("ab"), asyncio.Event()
        await found["a"].call(nothing)

        async def slowly() -> None:
            await leave.wait()
            found["a"].here.discard("a")

        found["a"].park = slowly  # type: ignore[method-assign]
        waiting = asyncio.create_task(found["b"].call(nothing))
        await settled()
        closing = asyncio.create_task(found["a"].order.close())
        await settled()
        assert not closing.done()
        leave.set()
        await asyncio.gather(closing, waiting)

    asyncio.run(main())


_SHAPES = st.sampled_from(
    [("ab",), ("ab", "bc", "ac"), ("ab", "bc"), ("ab", "bc", "cd", "da"), ("ab", "cd", "bd")]
)


@settings(deadline=None)
@given(_SHAPES, st.randoms(use_true_random=False), st.integers(1, 12))
def test_everybody_gets_a_turn_and_nobody_shares_one(
    pairs: tuple[str, ...], chance: Random, number: int
) -> None:
    """The tenants check that no two that exclude one another hold at once; here, all ends."""

    async def main() -> None:
        found = engines(*pairs)
        done: list[str] = []

        async def work() -> None:
            for _ in range(chance.randint(0, 3)):
                await asyncio.sleep(0)

        async def client(engine: Engine) -> None:
            for _ in range(number):
                for _ in range(chance.randint(0, 3)):
                    await asyncio.sleep(0)
                await engine.call(work)
            done.append(engine.name)

        async with asyncio.timeout(20.0):
            await asyncio.gather(*(client(e) for e in found.values() for _ in range(2)))
        assert sorted(done) == sorted([*found, *found])
        await next(iter(found.values())).order.close()

    asyncio.run(main())


@settings(deadline=None)
@given(_SHAPES, st.randoms(use_true_random=False), st.integers(1, 8))
def test_chains_of_engines_on_one_place_end(
    pairs: tuple[str, ...], chance: Random, items: int
) -> None:
    """Each item goes through every engine, in an order of its own: no order of turns hangs."""

    async def main() -> None:
        found = engines(*pairs)

        async def item() -> None:
            order = list(found.values())
            chance.shuffle(order)
            for engine in order:
                await engine.call(nothing)

        async with asyncio.timeout(20.0):
            await asyncio.gather(*(item() for _ in range(items)))

    asyncio.run(main())


def plan(
    name: str, gpus: tuple[int, ...], start_s: float, end_s: float, *, node: int = 0
) -> EnginePlan:
    device = "gpu" if gpus else "cpu"
    place = Place(pool="p", node=node, gpus=gpus)
    return EnginePlan(
        *(name, "x", "", "vllm", "m", "p/g", device, 1, 1, 8, (place,), start_s, end_s, 0.0)
    )


@pytest.mark.parametrize(
    ("one", "other", "exclude"),
    [
        (plan("a", (0,), 0.0, 5.0), plan("b", (0,), 5.0, 9.0), True),
        (plan("a", (0,), 0.0, 5.0), plan("b", (0,), 4.0, 9.0), False),  # together, by memory
        (plan("a", (0,), 0.0, 5.0), plan("b", (1,), 5.0, 9.0), False),
        (plan("a", (0, 1), 0.0, 5.0), plan("b", (1, 2), 5.0, 9.0), True),
        (plan("a", (0,), 0.0, 5.0), plan("b", (0,), 5.0, 9.0, node=1), False),
        (plan("a", (), 0.0, 5.0), plan("b", (), 5.0, 9.0), True),
        (plan("a", (), 0.0, 5.0), plan("b", (0,), 5.0, 9.0), False),
    ],
)
def test_engines_exclude_one_another_that_the_plan_has_at_one_place_at_different_times(
    one: EnginePlan, other: EnginePlan, exclude: bool
) -> None:
    found = conflicts([one, other])
    assert found == (
        {"a": frozenset("b"), "b": frozenset("a")} if exclude else dict.fromkeys("ab", frozenset())
    )


def test_what_is_to_sleep_comes_up_first_and_one_after_the_other() -> None:
    async def main() -> None:
        excluded = {name: frozenset("abc") - {name} for name in "abc"}
        order, here = Turns(excluded, "bc"), set[str]()
        made = {name: Engine(name, order, excluded) for name in "abc"}
        for engine in made.values():
            engine.here = here
        first = asyncio.create_task(order.hold("a"))
        await settled()
        assert not first.done()
        for name in "bc":
            await order.hold(name)
            made[name].up = True
            here.add(name)
            await settled()
            assert here == {name} and not first.done()
            await order.lay_down(name)
            assert not here and made[name].parked == 1
        await first
        made["a"].up = True
        here.add("a")
        await made["b"].call(nothing)
        assert here == {"b"}

    asyncio.run(main())
