"""Command lines and environments of servers: what they are told, and what is kept from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from murakkab.runtime.errors import CallFailed
from murakkab.runtime.serving.command import ServerCommand, server_command
from murakkab.targets.plan import Place

from .called import engine, executor

GPUS = Place("p", 0, (1, 2))


def command(
    environ: Mapping[str, str] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    share: float = 0.9,
    sleeps: bool = False,
    **fields: Any,
) -> ServerCommand:
    given = {"places": (GPUS,), "tp": 2, **fields}
    return server_command(
        engine(**given),
        executor(settings=tuple((settings or {}).items())),
        "org/tiny",
        0,
        memory_share=share,
        sleeps=sleeps,
        environ=environ or {},
    )


def environment(environ: Mapping[str, str] | None = None, **fields: Any) -> dict[str, str]:
    return dict(command(environ, **fields).environment)


def flag(made: ServerCommand, name: str) -> str:
    return made.arguments[made.arguments.index(name) + 1]


def test_a_server_listens_to_this_machine_only_and_takes_priorities() -> None:
    made = command()
    assert flag(made, "--host") == "127.0.0.1"
    assert flag(made, "--scheduling-policy") == "priority"
    assert flag(made, "--served-model-name") == made.served_model == "tiny"
    assert flag(made, "--tensor-parallel-size") == "2"
    assert flag(made, "--gpu-memory-utilization") == "0.90"
    assert made.on_port(8123) == [*made.arguments, "--port", "8123"]


def test_one_that_shares_a_gpu_is_held_to_what_its_share_has_room_for() -> None:
    assert "--max-model-len" not in command().arguments
    assert flag(command(share=0.4), "--max-model-len") == "auto"
    user = command(share=0.4, settings={"server_args": "--max-model-len 4096"})
    assert user.arguments[-2:] == ("--max-model-len", "4096")


def test_the_users_own_flags_come_last() -> None:
    made = command(settings={"server_args": "--max-model-len 4096 --name 'a b'"})
    assert made.arguments[-4:] == ("--max-model-len", "4096", "--name", "a b")


def test_a_server_learns_nothing_that_is_none_of_its_business() -> None:
    secrets = {
        "OPENAI_API_KEY": "sk-1",
        "AWS_SECRET_ACCESS_KEY": "2",
        "VLLM_API_KEY": "3",
        "DATABASE_URL": "4",
        "PYTHONPATH": "5",
    }
    known = {"PATH": "/bin", "HF_TOKEN": "hf", "HF_HOME": "/hub", "XDG_CACHE_HOME": "/cache"}
    found = environment({**secrets, **known})
    assert found.items() >= known.items()
    assert not secrets.keys() & found.keys()
    assert found["VLLM_NO_USAGE_STATS"] == "1"


@pytest.mark.parametrize(
    ("visible", "told"),
    [
        (None, "1,2"),
        ("4,5,6,7", "5,6"),
        (" 4, 5 ,6", "5,6"),
        ("GPU-aa,GPU-bb,GPU-cc", "GPU-bb,GPU-cc"),
        ("0,1,2,-1,3", "1,2"),
    ],
)
def test_gpus_are_counted_among_those_that_are_visible(visible: str | None, told: str) -> None:
    found = environment({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert found["CUDA_VISIBLE_DEVICES"] == told
    assert found["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize(
    ("visible", "message"),
    [
        ("", "GPU 1, 2, but `CUDA_VISIBLE_DEVICES` (``) lists 0"),
        ("3", "GPU 1, 2, but `CUDA_VISIBLE_DEVICES` (`3`) lists 1"),
        ("3,4", "GPU 2, but `CUDA_VISIBLE_DEVICES` (`3,4`) lists 2"),
        ("3,4,-1,5", "GPU 2, but `CUDA_VISIBLE_DEVICES` (`3,4,-1,5`) lists 2"),
        ("-1", "GPU 1, 2, but `CUDA_VISIBLE_DEVICES` (`-1`) lists 0"),
    ],
)
def test_gpus_that_are_not_visible_are_refused(visible: str, message: str) -> None:
    with pytest.raises(CallFailed) as caught:
        command({"CUDA_VISIBLE_DEVICES": visible})
    assert caught.value.message == f"the plan puts engine `e` on {message}"
    assert caught.value.help == "list every GPU of the plan there, or unset it"


def test_a_server_on_cores_has_its_memory_and_threads_and_no_gpu_flags() -> None:
    made = command(
        {"CUDA_VISIBLE_DEVICES": ""},
        device="cpu",
        tp=0,
        places=(Place("p", 0, ()),),
        cores=6,
        kv_cache_bytes=3.2e9,
    )
    found = dict(made.environment)
    assert (found["OMP_NUM_THREADS"], found["VLLM_CPU_KVCACHE_SPACE"]) == ("6", "3")
    assert found["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert "--tensor-parallel-size" not in made.arguments


def test_whoever_runs_it_may_say_otherwise_for_memory() -> None:
    given = {"VLLM_CPU_KVCACHE_SPACE": "40", "VLLM_CPU_OMP_THREADS_BIND": "0-31"}
    assert environment(given, device="cpu", places=()).items() >= given.items()


def test_sleeping_is_offered_where_it_is_wanted_and_changes_nothing_else() -> None:
    awake, asleep = command(), command(sleeps=True)
    assert "--enable-sleep-mode" in asleep.arguments
    assert dict(asleep.environment)["VLLM_SERVER_DEV_MODE"] == "1"
    assert awake.fingerprint == asleep.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        {"share": 0.45},
        {"places": (Place("p", 0, (0, 1)),)},
        {"tp": 1},
        {"settings": {"server_args": "--max-model-len 1024"}},
        {"device": "cpu"},
    ],
)
def test_servers_that_differ_in_what_they_are_have_other_fingerprints(other: Any) -> None:
    assert command(**other).fingerprint != command().fingerprint


def test_what_is_only_passed_on_does_not_make_another_server() -> None:
    assert command({"HF_TOKEN": "a"}).fingerprint == command({"HF_TOKEN": "b"}).fingerprint
