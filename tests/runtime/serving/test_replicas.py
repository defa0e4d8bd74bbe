"""The servers of an engine: started together, picked by load, restarted, and given up."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from murakkab.runtime.errors import CallFailed
from murakkab.runtime.repeats import Repeats
from murakkab.runtime.serving import client, replica, replicas
from murakkab.runtime.serving.asking import Asker
from murakkab.runtime.serving.client import HttpClient
from murakkab.runtime.serving.command import ServerCommand
from murakkab.runtime.serving.endpoint import Allowance, Endpoint
from murakkab.runtime.serving.hedging import Tail
from murakkab.runtime.serving.replica import Replica
from murakkab.runtime.serving.replicas import Replicas
from murakkab.runtime.serving.turns import Turns
from murakkab.runtime.serving.worker import ServedWorker
from murakkab.targets.failure_policy import USUAL, FailurePolicy

from .called import asking, engine, executor
from .processes import children, runs, until_soon

_STANDIN = str(Path(__file__).with_name("standin.py"))
GONE = "RuntimeError: the cause"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look and restart in the blink of an eye."""
    monkeypatch.setattr(replicas, "WATCH_EVERY_S", 0.02)
    monkeypatch.setattr(replicas, "_FIRST_RESTART_S", 0.02)


@dataclass
class Servers:
    """The servers of an engine, a worker of theirs, and what was told of them."""

    replicas: Replicas
    worker: ServedWorker
    told: list[str] = field(default_factory=list)

    async def pid(self) -> int:
        """Return which server answers a call."""
        return int((await self.worker.submit(asking("pid"))).value)


@asynccontextmanager
async def servers(
    folder: Path,
    *flags: list[str],
    lasting: bool = False,
    policy: FailurePolicy = USUAL,
) -> AsyncIterator[Servers]:
    """Give an engine with a server for each list of flags; nothing is started yet."""
    http, told = HttpClient(), list[str]()
    made = [
        Replica(
            "own",
            Endpoint("", "stand-in"),
            http,
            command=ServerCommand((sys.executable, "-S", _STANDIN, *given), (), "stand-in"),
            log=folder / f"{index}.log",
            lasting=lasting,
        )
        for index, given in enumerate(flags)
    ]
    found = Replicas(made, told.append)
    repeats = Repeats(policy)
    asker = Asker({"tiny": executor()}, http, Allowance(None), {}, 30.0, repeats)
    worker = ServedWorker(engine(), asker, found, Turns({}), repeats, Tail(0.95))
    try:
        yield Servers(found, worker, told)
    finally:
        await worker.stop()
        for one in made:
            if one.server is not None:
                await one.server.stop()
        await http.close()


def run(
    folder: Path,
    work: Callable[[Servers], Coroutine[Any, Any, None]],
    *flags: list[str],
    **more: Any,
) -> None:
    async def main() -> None:
        async with servers(folder, *flags, **more) as found:
            await work(found)

    asyncio.run(main())


def server_pid(one: Replica) -> int:
    assert one.server is not None
    (found,) = children(one.server.process.pid)
    return found


def test_servers_start_at_the_same_time_and_closing_leaves_none(tmp_path: Path) -> None:
    gates = [tmp_path / "0.gate", tmp_path / "1.gate"]
    starts = tmp_path / "starts"
    flags = [["--gate", str(gate), "--starts", str(starts)] for gate in gates]

    async def work(found: Servers) -> None:
        rising = asyncio.create_task(found.worker.start())
        # both are there before either is ready
        await until_soon(lambda: starts.exists() and starts.read_text().count("\n") == 2)
        assert not rising.done() and not found.replicas.up
        for gate in gates:
            gate.touch()
        await rising
        pids = [server_pid(one) for one in found.replicas.all]
        assert found.told == ["starting", "up"]
        await found.worker.stop()
        assert not any(map(runs, pids))
        assert [one.server for one in found.replicas.all] == [None, None]

    run(tmp_path, work, *flags)


def test_an_engine_runs_on_those_of_its_servers_that_start(tmp_path: Path) -> None:
    async def work(found: Servers) -> None:
        await found.worker.start()
        assert found.told == ["starting", "up, but for 1 of its servers"]
        assert await found.pid() == server_pid(found.replicas.all[1])
        assert found.worker.health() is None

    run(tmp_path, work, ["--say", GONE, "--exit", "1"], [])


def test_an_engine_of_which_no_server_starts_says_why_to_every_call(tmp_path: Path) -> None:
    async def work(found: Servers) -> None:
        message = f"its server ended: {GONE}; its log is `{tmp_path / '0.log'}`"
        with pytest.raises(CallFailed) as caught:
            await found.worker.start()
        assert caught.value.message == message
        with pytest.raises(CallFailed) as again:
            await found.worker.submit(asking("hello"))
        assert again.value.message == message and not again.value.retryable
        assert again.value.help == "the end of the log tells more"
        assert found.worker.health() == message
        assert found.told[-1] == f"failed ({message})"

    run(tmp_path, work, ["--say", GONE, "--exit", "1"])


def test_a_call_takes_the_server_with_the_fewest(tmp_path: Path) -> None:
    async def work(found: Servers) -> None:
        await found.worker.start()
        end = tmp_path / "end"
        held = [found.worker.submit(asking(f"wait {end}")) for _ in range(4)]
        await until_soon(lambda: sum(r.in_flight for r in found.replicas.all) == 4)
        assert [r.in_flight for r in found.replicas.all] == [2, 2]
        end.touch()
        await asyncio.gather(*held)
        assert [r.in_flight for r in found.replicas.all] == [0, 0]

    run(tmp_path, work, [], [])


async def known(found: Servers) -> None:
    """Make so many calls that it is known what they take."""
    for _ in range(20):
        await found.pid()


def test_a_call_that_takes_longer_than_most_is_asked_of_an_idle_server_too(
    tmp_path: Path,
) -> None:
    stuck = tmp_path / "stuck"

    async def work(found: Servers) -> None:
        await found.worker.start()
        await known(found)
        stuck.touch()  # the first of them, which every call takes while both are idle
        assert await found.pid() == server_pid(found.replicas.all[1])
        assert [one.in_flight for one in found.replicas.all] == [0, 0]

    run(tmp_path, work, ["--stuck", str(stuck)], [])


def test_no_second_request_goes_to_a_server_that_has_calls(tmp_path: Path) -> None:
    stuck = tmp_path / "stuck"

    async def work(found: Servers) -> None:
        await found.worker.start()
        await known(found)
        stuck.touch()
        one, other = found.replicas.all
        other.in_flight += 1  # as if it had a call
        late = found.worker.submit(asking("pid"))
        await asyncio.sleep(0.3)
        assert [one.in_flight, other.in_flight] == [1, 1]
        stuck.unlink()
        assert int((await late).value) == server_pid(one)

    run(tmp_path, work, ["--stuck", str(stuck)], [])


def test_no_second_request_goes_beyond_the_budget_of_the_run(tmp_path: Path) -> None:
    stuck = tmp_path / "stuck"

    async def work(found: Servers) -> None:
        await found.worker.start()
        await known(found)
        stuck.touch()
        late = found.worker.submit(asking("pid"))
        await asyncio.sleep(0.3)
        assert [one.in_flight for one in found.replicas.all] == [1, 0]
        stuck.unlink()
        assert int((await late).value) == server_pid(found.replicas.all[0])

    run(tmp_path, work, ["--stuck", str(stuck)], [], policy=FailurePolicy(retry_floor=0))


def test_an_effect_is_asked_for_once(tmp_path: Path) -> None:
    stuck = tmp_path / "stuck"

    async def work(found: Servers) -> None:
        await found.worker.start()
        await known(found)
        stuck.touch()
        call = asking("pid")
        task = replace(call.step.task, effect=True)
        effect = call._replace(step=replace(call.step, task=task))
        asked = found.worker.submit(effect)
        await asyncio.sleep(0.3)
        assert [one.in_flight for one in found.replicas.all] == [1, 0]
        stuck.unlink()
        assert int((await asked).value) == server_pid(found.replicas.all[0])

    run(tmp_path, work, ["--stuck", str(stuck)], [])


def test_a_call_that_is_given_up_leaves_no_request(tmp_path: Path) -> None:
    stuck = tmp_path / "stuck"

    async def work(found: Servers) -> None:
        await found.worker.start()
        await known(found)
        stuck.touch()
        asked = found.worker.submit(asking("pid"))
        await until_soon(lambda: found.replicas.all[1].in_flight == 1)
        asked.cancel()
        await asyncio.wait([asked])
        assert [one.in_flight for one in found.replicas.all] == [0, 0]

    run(tmp_path, work, ["--stuck", str(stuck)], ["--stuck", str(stuck)])


def test_calls_of_a_server_that_dies_may_be_tried_again_and_go_to_the_other(
    tmp_path: Path,
) -> None:
    async def work(found: Servers) -> None:
        await found.worker.start()
        one, other = found.replicas.all
        other.in_flight += 1  # so that the next call is the first one's
        call = found.worker.submit(asking("wait /nowhere"))
        await until_soon(lambda: one.in_flight == 1)
        other.in_flight -= 1
        first, second = server_pid(one), server_pid(other)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(CallFailed) as caught:
            await call
        assert caught.value.retryable
        assert caught.value.message.endswith(f"(the server's log is `{tmp_path / '0.log'}`)")
        # its group is still ending: nobody else may be sent there meanwhile
        assert [await found.pid() for _ in range(5)] == [second] * 5

    run(tmp_path, work, ["--lingering", "0.5"], [])


def test_a_server_that_dies_is_started_again_while_calls_wait(tmp_path: Path) -> None:
    async def work(found: Servers) -> None:
        await found.worker.start()
        (one,) = found.replicas.all
        first = await found.pid()
        assert first == server_pid(one) or first in children(one.server.process.pid)  # type: ignore[union-attr]
        os.kill(first, signal.SIGKILL)
        with pytest.raises(CallFailed) as caught:
            await found.pid()
        assert caught.value.retryable
        second = await found.pid()
        assert second != first and one.restarts == 1
        assert found.told[2].startswith("restarting (its server ended: it was killed")
        assert found.told[-1] == "up again"

    run(tmp_path, work, ["--lingering", "0.3"])


def test_a_server_that_keeps_dying_is_given_up_after_three_restarts(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    flags = ["--starts", str(starts), "--first", "1", "--say", GONE, "--exit", "1"]

    async def work(found: Servers) -> None:
        await found.worker.start()
        (one,) = found.replicas.all
        os.kill(server_pid(one), signal.SIGKILL)
        await until_soon(lambda: not one.up)
        with pytest.raises(CallFailed) as caught:
            await found.worker.submit(asking("hello"))
        assert caught.value.message.startswith(f"its server ended: {GONE}")
        assert not caught.value.retryable
        assert len(starts.read_text().splitlines()) == 4 and one.restarts == 3
        assert found.told[-1].startswith("failed (its server ended: ")
        assert found.worker.health() is not None

    run(tmp_path, work, flags)


def test_a_server_that_hangs_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "HANGS_AFTER_S", 0.2)
    monkeypatch.setattr(client, "_PROBE_S", 0.2)

    async def work(found: Servers) -> None:
        await found.worker.start()
        (one,) = found.replicas.all
        first = server_pid(one)
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(CallFailed) as caught:
            # asked to end, it goes on for a moment: another call might be answered then
            await found.worker.submit(asking("wait /nowhere"))
        assert caught.value.retryable
        assert await found.pid() != first
        assert not runs(first) and one.restarts == 1
        assert "its server has not answered for" in "".join(found.told)

    run(tmp_path, work, [])


def test_calls_of_a_kept_server_that_hangs_go_to_the_one_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not this run's to end, so its connections stay open for as long as it hangs."""
    monkeypatch.setattr(replica, "HANGS_AFTER_S", 0.2)
    monkeypatch.setattr(client, "_PROBE_S", 0.2)

    async def work(found: Servers) -> None:
        await found.worker.start()
        (one,) = found.replicas.all
        first, kept = server_pid(one), one.server
        assert kept is not None
        one.origin, one.server = "warm", None  # as one that another command has started
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(CallFailed, match="answers no more") as caught:
            await found.worker.submit(asking("wait /nowhere"))
        assert caught.value.retryable and one.in_flight == 0
        assert await found.pid() != first
        assert runs(first)
        await kept.stop()

    run(tmp_path, work, [])


def test_servers_that_sleep_are_woken(tmp_path: Path) -> None:
    async def work(found: Servers) -> None:
        await found.worker.start()
        (one,) = found.replicas.all
        first = await found.pid()
        await found.worker.park()
        assert (one.asleep, one.up, found.told[-1]) == (True, False, "asleep")
        assert await found.pid() == first
        assert one.sleep_s is not None and one.wake_s is not None
        assert one.log is not None and one.log.read_text() == "/sleep\n/wake_up\n"

    run(tmp_path, work, ["--enable-sleep-mode"])


def test_a_sleeping_server_that_dies_is_started_again(tmp_path: Path) -> None:
    async def work(found: Servers) -> None:
        await found.worker.start()
        first = await found.pid()
        await found.worker.park()
        os.kill(first, signal.SIGKILL)
        await until_soon(lambda: not runs(first))
        assert await found.pid() != first

    run(tmp_path, work, ["--enable-sleep-mode"])


def test_servers_that_cannot_sleep_are_stopped_and_started_again(tmp_path: Path) -> None:
    async def work(found: Servers) -> None:
        await found.worker.start()
        first = await found.pid()
        await found.worker.park()
        assert not runs(first) and found.told[-1] == "stopped"
        assert await found.pid() != first

    run(tmp_path, work, [])


def test_servers_that_are_needed_no_more_are_stopped_rather_than_put_to_sleep(
    tmp_path: Path,
) -> None:
    async def work(found: Servers) -> None:
        await found.worker.start()
        first = await found.pid()
        found.worker.retire()
        await found.worker.park()
        assert not runs(first)

    run(tmp_path, work, ["--enable-sleep-mode"])


def test_parking_gives_up_a_start(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    flags = ["--gate", str(tmp_path / "never"), "--starts", str(starts)]

    async def work(found: Servers) -> None:
        rising = asyncio.create_task(found.worker.start())
        await until_soon(lambda: starts.exists() and starts.stat().st_size)
        await found.worker.park()
        with pytest.raises(asyncio.CancelledError):
            await rising
        assert not runs(int(starts.read_text().split()[0])) and not found.replicas.risen

    run(tmp_path, work, flags)


def test_lasting_servers_are_left_and_counters_are_read(tmp_path: Path) -> None:
    async def work(found: Servers) -> None:
        await found.worker.start()
        await found.worker.submit(asking("three words here"))
        await found.worker.stop()
        (one,) = found.replicas.all
        assert one.server is not None and one.server.alive
        metrics = found.replicas.metrics()
        assert metrics is not None and metrics.output_tokens == 3.0

    run(tmp_path, work, [], lasting=True)


def test_a_call_to_an_engine_whose_problem_is_known_fails_at_once() -> None:
    async def main() -> None:
        found = Replicas([], lambda state: None, CallFailed("no key", help="set it"))
        assert not found.up and found.metrics() is None
        for ask in (found.rise, found.pick):
            with pytest.raises(CallFailed, match="no key"):
                await ask()

    asyncio.run(main())
