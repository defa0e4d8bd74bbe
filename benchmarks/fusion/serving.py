"""Two models with random weights, the real vLLM servers of them, and what those count.

`large` has four times the parameters of `small`. Each server stands behind a relay that puts
recorded outcomes in place of decisions by chance.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import Request, urlopen

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.append(str(HERE.with_name("vllm_overhead")))

from server import Server, served  # noqa: E402  # beside the other benchmark of vLLM

LARGE, SMALL = "large", "small"
CLIENT_CORE, SERVER_CORE = 0, 1
# Declared, as are the models' prices. Qwen2.5's 7B is to its 32B on MMLU as 0.89 to 1
# (arXiv:2412.15115), with parameters 1 : 4.3.
QUALITY = {LARGE: 1.0, SMALL: 0.9}
# What an answer is worth beside others in one call. Large models solved two or three tasks at once
# better than one by one (arXiv:2402.11597); here no gain is counted on, and a little lost.
TOGETHER = 0.98
PRICE = {LARGE: 0.4, SMALL: 0.1}  # US dollars for a million tokens, by parameters
# Alike but for their depth. Narrow and deep, a step of one request takes as long as one of several,
# as where weights have to be fetched from a GPU's memory.
LAYERS = {LARGE: 24, SMALL: 6}
# Lists in a prompt are JSON, where what a byte of noise becomes takes up to six.
CONTEXT_TOKENS = 16384
_ARGUMENTS = (
    f"--enforce-eager --max-model-len {CONTEXT_TOKENS} "
    '--structured-outputs-config \'{"backend": "xgrammar", "disable_any_whitespace": true}\''
)
_READY_WITHIN_S = 30.0


@dataclass(frozen=True)
class Counts:
    """What servers have counted since they began; `cpu_s` is of all their processes."""

    requests: float
    prompt_tokens: float
    computed_tokens: float
    output_tokens: float
    cpu_s: float

    def since(self, before: Counts) -> Counts:
        """Return what was counted after an earlier reading."""
        return Counts(
            *(a - b for a, b in zip(vars(self).values(), vars(before).values(), strict=True))
        )


@dataclass(frozen=True)
class Models:
    """The running servers by model, the relays' addresses, and the models' parameters."""

    servers: Mapping[str, Server]
    urls: Mapping[str, str]
    parameters: Mapping[str, int]

    def counts(self) -> Counts:
        """Return what all servers have counted together."""
        cpu_s = sum(server.busy_s() for server in self.servers.values())
        told = [_metrics(server) for server in self.servers.values()]
        total = {name: sum(each[name] for each in told) for name in _COUNTERS}
        return Counts(
            requests=total["vllm:request_success_total"],
            prompt_tokens=total["vllm:prompt_tokens_total"],
            computed_tokens=total["vllm:prompt_tokens_total"]
            - total["vllm:prefix_cache_hits_total"],
            output_tokens=total["vllm:generation_tokens_total"],
            cpu_s=cpu_s,
        )

    def forget(self) -> None:
        """Empty the prefix caches: what one side has asked must not help the next."""
        for server in self.servers.values():
            url = server.url.removesuffix("/v1") + "/reset_prefix_cache"
            urlopen(Request(url, method="POST"), timeout=30.0).close()


_COUNTERS = (
    "vllm:request_success_total",
    "vllm:prompt_tokens_total",
    "vllm:prefix_cache_hits_total",
    "vllm:generation_tokens_total",
)


def _metrics(server: Server) -> dict[str, float]:
    with urlopen(server.url.removesuffix("/v1") + "/metrics", timeout=30.0) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: sum(float(x.rpartition(" ")[2]) for x in lines if x.startswith(f"{name}{{"))
        for name in _COUNTERS
    }


@contextmanager
def models_served(folder: Path) -> Iterator[Models]:
    """Write both models, serve them on the servers' core, each behind a relay."""
    parameters = write_models(folder)
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"  # as only so a server can be told to forget
    with ExitStack() as stack:
        running = [
            served(sys.executable, folder / name, _ARGUMENTS, folder / f"{name}.log", SERVER_CORE)
            for name in LAYERS
        ]
        with ThreadPoolExecutor() as pool:  # side by side, two start in little more time than one
            begun = list(pool.map(stack.enter_context, running))
        servers = dict(zip(LAYERS, begun, strict=True))
        urls = {name: stack.enter_context(_relayed(each.url)) for name, each in servers.items()}
        yield Models(servers, urls, parameters)


@contextmanager
def _relayed(url: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    upstream = url.removesuffix("/v1")
    process = subprocess.Popen([sys.executable, str(HERE / "relay.py"), upstream, str(port)])
    try:
        os.sched_setaffinity(process.pid, {CLIENT_CORE})
        until_s = monotonic() + _READY_WITHIN_S
        while not _answers(f"http://127.0.0.1:{port}/health"):
            if monotonic() > until_s:
                raise SystemExit("the relay did not get ready")
            sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5.0) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def write_models(folder: Path) -> dict[str, int]:
    """Write both models; return their parameters.

    Answers in free text never end by themselves, so that they are as long on every side. The
    weights are three times as large as usual, so that answers differ between prompts.
    """
    code = """
import sys
from pathlib import Path
import models
from safetensors.torch import load_file, save_file
folder, layers, context = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
sizes = {"hidden": 128, "layers": layers, "heads": 2, "context": context}
count = models.write_model(folder, **sizes, seed=layers)
path = folder / "model.safetensors"
weights = load_file(path)
weights = {name: w * 3 if w.dim() == 2 else w for name, w in weights.items()}
weights["model.embed_tokens.weight"][:3] = 0  # the special tokens, of which one ends a text
save_file(weights, path, metadata={"format": "pt"})
print(count)
"""
    at = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "vllm")}
    found = {}
    for name, layers in LAYERS.items():
        sizes = (str(layers), str(CONTEXT_TOKENS))
        command = [sys.executable, "-c", code, str(folder / name), *sizes]
        done = subprocess.run(command, env=at, check=True, capture_output=True, text=True)
        found[name] = int(done.stdout.split()[-1])
    return found


def write_library(path: Path, names: tuple[str, ...]) -> Path:
    """Write an executor library of some of the models, with declared quality and prices."""
    path.write_text("\n".join(_ENTRY.format(**_entry(name)) for name in names), "utf-8")
    return path


def _entry(name: str) -> dict[str, object]:
    return {
        "name": name,
        "quality": QUALITY[name],
        "together": TOGETHER,
        "price": PRICE[name],
        "context": CONTEXT_TOKENS,
    }


_ENTRY = """
[[executor]]
name = "{name}"
implements = "generate"
description = "A language model with random weights, the {name} one"
runner = "vllm"
model = "./{name}"
devices = ["cpu"]
cores = 1
context = {context}
price = {{ usd_per_mtok_prompt = {price}, usd_per_mtok_output = {price} }}
[executor.quality]
value = {quality}
together = {together}
metric = "none"
source = "declared: the weights are random"
[executor.work]
prompt_tokens = "tokens(prompt) + 10"
output_tokens = 32
[executor.settings]
temperature = 0.0
timeout_s = 120
stream = false
"""
