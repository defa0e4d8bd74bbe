"""Starting one server: ready, late, dying, and what its end is told as."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from murakkab.runtime.errors import CallFailed
from murakkab.runtime.serving.client import HttpClient
from murakkab.runtime.serving.command import ServerCommand
from murakkab.runtime.serving.server import Server, failure, start_server, tail

from .processes import children, runs, until_soon

_STANDIN = str(Path(__file__).with_name("standin.py"))
BUSY = "OSError: [Errno 98] Address already in use"
NO_MEMORY = "torch.OutOfMemoryError: CUDA out of memory."


def standin(*flags: str) -> ServerCommand:
    return ServerCommand((sys.executable, "-S", _STANDIN, *flags), (), "stand-in")


def with_client(work: Callable[[HttpClient], Coroutine[Any, Any, None]]) -> None:
    """Do something in an event loop with a client."""

    async def main() -> None:
        client = HttpClient()
        try:
            await work(client)
        finally:
            await client.close()

    asyncio.run(main())


def server_of(process: int) -> int:
    """Return the first process of the server that a keeper keeps."""
    (found,) = children(process)
    return found


def test_a_server_is_there_when_it_answers_and_gone_when_it_is_stopped(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "server.log"

    async def work(client: HttpClient) -> None:
        server = await start_server(standin("--say", "hello"), log, client.answers)
        assert server.alive and await client.answers(server.url)
        first = server_of(server.process.pid)
        await server.stop()
        assert not server.alive and not runs(first)
        assert not await client.answers(server.url)

    with_client(work)
    assert log.read_text() == "hello\n"


def test_a_server_that_is_not_ready_is_waited_for(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def work(client: HttpClient) -> None:
        asked = 0

        async def answers(url: str) -> bool:
            nonlocal asked
            found = await client.answers(url)
            asked += 1
            if asked == 3:
                gate.touch()
            return found

        server = await start_server(standin("--gate", str(gate)), tmp_path / "log", answers)
        assert asked > 3 and server.started_s > 0.0
        await server.stop()

    with_client(work)


def test_a_server_that_does_not_get_ready_in_time_is_ended(tmp_path: Path) -> None:
    starts, log = tmp_path / "starts", tmp_path / "log"

    async def never(url: str) -> bool:
        return False

    async def work(client: HttpClient) -> None:
        with pytest.raises(CallFailed) as caught:
            await start_server(standin("--starts", str(starts)), log, never, within_s=0.5)
        assert caught.value.message == (f"the server did not get ready in time; its log is `{log}`")
        assert not caught.value.retryable

    with_client(work)
    assert not starts.exists() or not runs(int(starts.read_text().split()[0]))


def test_a_server_that_dies_while_it_starts_is_told_with_its_cause(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def work(client: HttpClient) -> None:
        with pytest.raises(CallFailed) as caught:
            await start_server(standin("--say", NO_MEMORY, "--exit", "1"), log, client.answers)
        assert caught.value.message == (
            f"its server ended: the GPU ran out of memory; its log is `{log}`"
        )
        assert caught.value.help == "use a smaller model, more GPUs for it, or a shorter context"

    with_client(work)


def test_a_port_that_was_taken_is_exchanged_for_another(tmp_path: Path) -> None:
    starts, once = tmp_path / "starts", tmp_path / "once"
    flags = ["--say", BUSY, "--exit", "1", "--once", str(once), "--starts", str(starts)]

    async def work(client: HttpClient) -> None:
        server = await start_server(standin(*flags), tmp_path / "log", client.answers)
        await server.stop()

    with_client(work)
    first, second = (line.split()[1] for line in starts.read_text().splitlines())
    assert first != second


def test_ports_that_are_always_taken_are_given_up(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    flags = ["--say", BUSY, "--exit", "1", "--starts", str(starts)]

    async def work(client: HttpClient) -> None:
        with pytest.raises(CallFailed, match="its port was taken by another program"):
            await start_server(standin(*flags), tmp_path / "log", client.answers)

    with_client(work)
    assert len(starts.read_text().splitlines()) == 3


def test_a_stranger_that_answers_on_the_port_is_not_taken_for_the_server(tmp_path: Path) -> None:
    starts = tmp_path / "starts"

    async def work(client: HttpClient) -> None:
        async def answered_by_another(url: str) -> bool:
            asked.append(url)
            await until_soon(lambda: len(keepers()) == len(asked))
            await until_soon(lambda: not any(map(runs, keepers())))
            return True

        def keepers() -> list[int]:
            lines = starts.read_text().splitlines() if starts.exists() else []
            return [int(line.split()[2]) for line in lines]

        asked: list[str] = []

        flags = ["--say", BUSY, "--exit", "1", "--starts", str(starts)]
        with pytest.raises(CallFailed, match="its port was taken"):
            await start_server(standin(*flags), tmp_path / "log", answered_by_another)

    with_client(work)


def test_what_a_former_server_wrote_into_the_log_is_not_taken_for_the_cause(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    log.write_text(f"{BUSY}\n{NO_MEMORY}\n")

    async def work(client: HttpClient) -> None:
        with pytest.raises(CallFailed) as caught:
            await start_server(
                standin("--say", "ValueError: the new cause", "--exit", "1"), log, client.answers
            )
        assert caught.value.message == (
            f"its server ended: ValueError: the new cause; its log is `{log}`"
        )

    with_client(work)


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = tmp_path / "file" / "server.log"

    async def work(client: HttpClient) -> None:
        with pytest.raises(CallFailed) as caught:
            await start_server(standin(), log, client.answers)
        assert caught.value.message.startswith(
            f"its server cannot be started with the log `{log}`: "
        )

    with_client(work)


def test_giving_up_a_start_ends_the_server(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    flags = ["--gate", str(tmp_path / "never"), "--starts", str(starts)]

    async def work(client: HttpClient) -> None:
        starting = asyncio.create_task(
            start_server(standin(*flags), tmp_path / "log", client.answers)
        )
        await until_soon(lambda: starts.exists() and starts.read_text().endswith("\n"))
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    with_client(work)
    assert not runs(int(starts.read_text().split()[0]))


def test_a_server_killed_by_the_kernel_left_no_cause_in_its_log(tmp_path: Path) -> None:
    async def work(client: HttpClient) -> None:
        server = await start_server(
            standin("--say", "all is well"), tmp_path / "log", client.answers
        )
        os.kill(server_of(server.process.pid), signal.SIGKILL)
        await until_soon(lambda: not server.alive)
        found = failure(server)
        assert "it was killed, as the kernel does where memory runs out" in found.message
        await server.stop()

    with_client(work)


def test_what_a_killed_keeper_leaves_is_ended_with_its_server(tmp_path: Path) -> None:
    async def work(client: HttpClient) -> None:
        flags = ["--lingering", "0"]
        server = await start_server(standin(*flags), tmp_path / "log", client.answers)
        first = server_of(server.process.pid)
        await until_soon(lambda: children(first))
        (second,) = children(first)
        server.process.kill()
        await until_soon(lambda: not server.alive and not runs(first))
        assert runs(second)
        await server.stop()
        await until_soon(lambda: not runs(second))

    with_client(work)


def test_two_servers_started_at_once_do_not_hold_each_others_lifelines(tmp_path: Path) -> None:
    async def work(client: HttpClient) -> None:
        servers: list[Server] = await asyncio.gather(
            *(
                start_server(standin(), tmp_path / f"{name}.log", client.answers)
                for name in ("a", "b", "c")
            )
        )
        assert len({server.url for server in servers}) == 3
        for index, server in enumerate(servers):
            assert server.process.stdin is not None
            server.process.stdin.close()  # as when this process ended
            await until_soon(lambda: not server.alive)  # noqa: B023
            assert [other.alive for other in servers[index + 1 :]] == [True] * (2 - index)
            await server.stop()

    with_client(work)


def test_a_lasting_server_has_no_lifeline(tmp_path: Path) -> None:
    async def work(client: HttpClient) -> None:
        server = await start_server(standin(), tmp_path / "log", client.answers, lasting=True)
        assert server.process.stdin is None and server.alive
        await server.stop()
        assert not server.alive

    with_client(work)


def test_the_end_of_a_long_log_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [f"line {n:06}" for n in range(10_000)]
    log.write_text("\n".join(lines) + "\n")
    shown = tail(log).splitlines()
    assert len(shown) < len(lines) and shown == lines[-len(shown) :]
    assert tail(log, begin=12 * 9_998) == "line 009998\nline 009999\n"
    assert tail(tmp_path / "none") == ""


def test_a_process_that_the_keeper_cannot_start_is_told(tmp_path: Path) -> None:
    command = ServerCommand((str(tmp_path / "nowhere"),), (), "m")

    async def work(client: HttpClient) -> None:
        with pytest.raises(CallFailed, match=r"FileNotFoundError: .*nowhere"):
            await start_server(command, tmp_path / "log", client.answers)

    with_client(work)
