"""The command line and the environment of a vLLM server, from an engine of a plan."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from ...targets.library import Executor
from ...targets.plan import EnginePlan
from ..errors import CallFailed

WHOLE_GPU = 0.9  # the share of its memory that a server takes of a GPU it has to itself
_DEFAULT_KV_BYTES = 2**30
# What a server may know of the environment: where programs, libraries, caches and the hub are.
# Keys of other services are none of its business.
_PASSED = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "SSL_CERT_FILE",
)
_PASSED_PREFIXES = ("HF_", "VLLM_", "NCCL_", "CUDA_", "TORCH", "TRITON_", "XDG_", "LC_", "OMP_")
_SLEEP_SWITCH = "--enable-sleep-mode"
_DECISIVE = ("CUDA_VISIBLE_DEVICES", "VLLM_CPU_KVCACHE_SPACE", "OMP_NUM_THREADS")
_NEVER_PASSED = ("VLLM_API_KEY",)


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """How to start a server but for its port; two engines of equal commands can share servers."""

    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    served_model: str

    @property
    def fingerprint(self) -> str:
        """Return a digest of what the server is; whether it can sleep does not matter."""
        said = [*(a for a in self.arguments if a != _SLEEP_SWITCH)]
        said += [f"{name}={value}" for name, value in self.environment if name in _DECISIVE]
        return hashlib.sha256("\0".join(said).encode()).hexdigest()

    def on_port(self, port: int) -> list[str]:
        """Return the whole command line."""
        return [*self.arguments, "--port", str(port)]


def server_command(
    engine: EnginePlan,
    executor: Executor,
    model: str,
    replica: int,
    *,
    memory_share: float,
    sleeps: bool,
    environ: Mapping[str, str],
) -> ServerCommand:
    """Return the command of a replica of an engine; `model` is a folder or a name on the hub.

    Raises `CallFailed` where the plan puts it on a GPU that this process may not use.
    `memory_share` is that of each of its GPUs' memory. `sleeps` has it offer vLLM's sleep mode.
    `environ` is the environment of which the server gets what it may know.
    """
    settings = dict(executor.settings)
    given = shlex.split(str(settings.get("server_args", "")))
    flags = {
        "--served-model-name": executor.name,
        "--host": "127.0.0.1",
        "--scheduling-policy": "priority",
    }
    if executor.revision is not None:
        flags["--revision"] = executor.revision
    switches = ["--enable-prefix-caching", "--enable-prompt-tokens-details"]
    switches.append("--disable-uvicorn-access-log")
    gpus = engine.places[replica].gpus if replica < len(engine.places) else ()
    if engine.device == "gpu":
        flags["--tensor-parallel-size"] = str(engine.tp)
        flags["--gpu-memory-utilization"] = f"{memory_share:.2f}"
        if memory_share < WHOLE_GPU:
            # the plan leaves room for its calls, not for one as long as the model's context
            flags["--max-model-len"] = "auto"
        if sleeps:
            switches.append(_SLEEP_SWITCH)
    spelled = [part for flag, value in flags.items() for part in (flag, value)]
    return ServerCommand(
        arguments=(*_program(model), *spelled, *switches, *given),
        environment=tuple(sorted(_environment(engine, gpus, sleeps, environ).items())),
        served_model=executor.name,
    )


def _program(model: str) -> tuple[str, ...]:
    """Return the program and its model: `vllm serve`, or the module where only that works.

    The distribution `vllm-cpu` brings a script `vllm` that asks for the version of a distribution
    named `vllm`, and fails.
    """
    # 8 ms of imports that attaching to a server does without
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("vllm")
    except PackageNotFoundError:
        return (sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model)
    return (str(Path(sys.executable).with_name("vllm")), "serve", model)


def _environment(
    engine: EnginePlan, gpus: tuple[int, ...], sleeps: bool, environ: Mapping[str, str]
) -> dict[str, str]:
    passed = {
        name: value
        for name, value in environ.items()
        if (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and name not in _NEVER_PASSED
    }
    passed |= {"VLLM_NO_USAGE_STATS": "1", "PYTHONUNBUFFERED": "1"}
    if engine.device == "gpu":
        visible = passed.get("CUDA_VISIBLE_DEVICES")
        passed["CUDA_VISIBLE_DEVICES"] = ",".join(_named(engine.name, gpus, visible))
        passed["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # numbers as NVML and `nvidia-smi` give them
        if sleeps:
            passed["VLLM_SERVER_DEV_MODE"] = "1"  # without it the server has no `/sleep`
        return passed
    kv_bytes = engine.kv_cache_bytes or _DEFAULT_KV_BYTES
    passed.setdefault("VLLM_CPU_KVCACHE_SPACE", str(max(1, round(kv_bytes / 2**30))))
    # Binding threads to cores one by one would put every server of a node on the same ones.
    passed.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    passed["OMP_NUM_THREADS"] = str(max(1, engine.cores))
    return passed


def _named(engine: str, gpus: tuple[int, ...], listed: str | None) -> list[str]:
    """Return how CUDA is told of GPUs; the plan counts those that this process may see.

    A list of visible GPUs ends at the first entry that is empty or -1, as CUDA reads it.
    """
    if listed is None:
        return [str(gpu) for gpu in gpus]
    entries = [entry.strip() for entry in listed.split(",")]
    visible = list(takewhile(lambda entry: entry not in ("", "-1"), entries))
    beyond = [str(gpu) for gpu in gpus if gpu >= len(visible)]
    if not beyond:
        return [visible[gpu] for gpu in gpus]
    message = (
        f"the plan puts engine `{engine}` on GPU {', '.join(beyond)}, but `CUDA_VISIBLE_DEVICES` "
        f"(`{listed}`) lists {len(visible)}"
    )
    raise CallFailed(message, help="list every GPU of the plan there, or unset it")
