"""Where runs meet real model servers that fail: a project, two kept servers, proxies, processes.

The weights are random, the servers vLLM's. Two replicas of one engine are kept by `mkb up`; a proxy
stands in front of each: the file by which `mkb run` finds a kept server names the proxy instead.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import aiohttp
from aiohttp import web

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "vllm"))

from kills import Receiver, mkb  # noqa: E402  # the other experiment's
from models import SERVER_ARGS  # noqa: E402  # of the tests of servers
from proxy import PASS, Fault, FaultProxy, identity  # noqa: E402

MODEL = "tiny"
REPLICAS = 2
ITEMS = 20
TIMEOUT_S = 20.0  # of one request
OUTPUT_TOKENS = 96
WORKFLOW = """task answer(text: Text) -> Text "Answers a question." prompt "{text}"
task sort(said: Text) -> { city: "Prague" | "Vienna", urgent: Bool } "Sorts an answer."
    prompt "Which city, and is it urgent? {said}"
effect task report(text: Text, said: Text) -> Bool "Tells the receiver." using webhook

workflow w(questions: [Text])
    -> [{ text: Text, said: Text, found: { city: "Prague" | "Vienna", urgent: Bool },
          told: Bool }]
    minimize latency
    expect len(questions) = 200
    expect questions.tokens = 4000
{
    done = for text in questions {
        said = answer(text)
        found = sort(said)
        told = report(text, said)
        yield { text, said, found, told }
    }
    return done
}
"""
STEPS = ("said", "found", "told")  # one call of each for every item
LIBRARY = """[[executor]]
name = "{model}"
implements = "generate"
description = "A language model with random weights"
runner = "vllm"
model = "./{model}"
devices = ["cpu"]
cores = 1
context = 2048
[executor.quality]
value = 1.0
metric = "none"
source = "weights are random"
[executor.work]
prompt_tokens = "tokens(prompt) + 10"
output_tokens = {tokens}
[executor.result]
tokens = {tokens}
[executor.settings]
server_args = {arguments}
max_tokens = {tokens}
temperature = 0.0
timeout_s = {timeout_s}

[[executor]]
name = "report"
implements = "webhook"
description = "Tells"
runner = "python"
entry = "webhook"
quality = {{ value = 1.0, metric = "m", source = "s" }}
settings = {{ url = "{url}" }}
"""
LIBRARY_FLAG = ("--library", "library.toml")
_GONE_WITHIN_S = 15.0
_ENGINES = Path(".murakkab/engines")
# Weights three times as large as usual, so that answers differ between prompts and the likeliest
# token leads by more than what another batch changes; texts that never end by themselves.
_WRITE_MODEL = """
import sys
from pathlib import Path
import models
from safetensors.torch import load_file, save_file
folder = Path(sys.argv[1])
models.write_model(folder, hidden=64, layers=2, heads=2, seed=0)
path = folder / "model.safetensors"
weights = {name: w * 3 if w.dim() == 2 else w for name, w in load_file(path).items()}
weights["model.embed_tokens.weight"][:3] = 0
save_file(weights, path, metadata={"format": "pt"})
"""


@dataclass
class Weather:
    """What happens to requests, at all proxies together.

    share: how many of those that come first meet the fault. most: how often one request may; None
    knows no mercy. hit: how many have met it.
    """

    faults: tuple[Fault, ...] = ()
    share: float = 0.0
    most: int | None = 2
    chance: random.Random = field(default_factory=random.Random)
    met: Counter[str] = field(default_factory=Counter)

    def fault(self, request: str) -> Fault:
        """Return what happens to a request, known by its identity."""
        spared = self.most is not None and self.met[request] >= self.most
        if not self.faults or spared or self.chance.random() >= self.share:
            return PASS
        self.met[request] += 1
        return self.chance.choice(self.faults)


class StormProxy(FaultProxy):
    """A proxy whose faults are drawn by chance."""

    def __init__(self, upstream: str) -> None:
        """Let everything pass."""
        super().__init__(upstream)
        self.weather = Weather()
        self.asked = 0  # requests since the weather changed

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked += request.method == "POST"
        fault = self.weather.fault(identity(body)) if request.method == "POST" else PASS
        try:
            return await self._met(fault, request, body)
        except aiohttp.ClientConnectionError:  # the server is gone: as if it had been asked itself
            if request.transport is not None:
                request.transport.abort()
            return web.Response()  # to nobody


class Stage:
    """A folder with a compiled plan, the receiver of its effects, and the servers it is run on."""

    def __init__(self, folder: Path) -> None:
        """Write the model, the workflow, its inputs and its plan."""
        self.folder = folder
        self.receiver = Receiver()
        self.proxies: list[StormProxy] = []
        self._loop = asyncio.new_event_loop()
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "vllm")}
        written = [sys.executable, "-c", _WRITE_MODEL, str(folder / MODEL)]
        subprocess.run(written, env=environment, check=True, capture_output=True)
        library = LIBRARY.format(
            model=MODEL,
            tokens=OUTPUT_TOKENS,
            arguments=json.dumps(SERVER_ARGS),
            timeout_s=TIMEOUT_S,
            url=self.receiver.url,
        )
        (folder / "library.toml").write_text(library)
        (folder / "w.mkb").write_text(WORKFLOW)
        self.questions = [f"Question {n:02}: what is it?" for n in range(ITEMS)]
        (folder / "inputs.json").write_text(json.dumps({"questions": self.questions}))
        self._must("compile", "w.mkb", "--target", "vllm", *LIBRARY_FLAG, "-o", "plan.json")
        (engine,) = [
            each
            for each in json.loads((folder / "plan.json").read_text())["engines"]
            if each["runner"] == "vllm"
        ]
        self.engine: str = engine["name"]
        if engine["replicas"] != REPLICAS:
            raise SystemExit(f"the plan has {engine['replicas']} replicas, not {REPLICAS}")

    def _must(self, *arguments: str) -> str:
        done = mkb(self.folder, *arguments)
        out, err = done.communicate()
        if done.returncode:
            raise SystemExit(f"mkb {' '.join(arguments)}: {out}{err}")
        return out

    # ---- servers that are kept

    def up(self) -> None:
        """Have both servers kept and sound, each behind a proxy; those that do not answer go."""
        self._must("up", "plan.json", *LIBRARY_FLAG)
        known = {proxy.url: proxy for proxy in self.proxies}
        self.proxies = []
        for path in sorted((self.folder / _ENGINES).glob("*.json")):
            document = json.loads(path.read_text())
            proxy = known.pop(document["base"], None)
            if proxy is None:
                proxy = self._proxied(document["base"])
                path.write_text(json.dumps(document | {"base": proxy.url}))
            self.proxies.append(proxy)
        for proxy in known.values():  # of servers that are gone
            self._close(proxy)

    def down(self) -> None:
        """End the servers that are kept, also those that were stopped, and the proxies."""
        self._must("down")
        for proxy in self.proxies:
            self._close(proxy)
        self.proxies.clear()

    def kept(self) -> list[int]:
        """Return the keepers of the servers that are kept: each leads a session of processes."""
        files = (self.folder / _ENGINES).glob("*.json")
        return sorted(json.loads(path.read_text())["pid"] for path in files)

    def _proxied(self, upstream: str) -> StormProxy:
        proxy = StormProxy(upstream)
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), self._loop).result()
        return proxy

    def _close(self, proxy: StormProxy) -> None:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(), self._loop).result()

    def storm(self, weather: Weather) -> None:
        """Have all proxies do the same from now on."""
        for proxy in self.proxies:
            proxy.weather, proxy.asked = weather, 0

    # ---- processes

    def sessions(self) -> dict[int, list[int]]:
        """Return the processes that work in this folder, by their session's leader."""
        found: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[1-9]*"):
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                where = Path(os.readlink(entry / "cwd"))
                if fields[0] != "Z" and where.is_relative_to(self.folder):
                    found.setdefault(int(fields[3]), []).append(int(entry.name))
        return found

    def left_of_runs(self) -> int:
        """Return how many processes there are beside kept servers, once those that end have."""
        until_s = time.monotonic() + _GONE_WITHIN_S
        while True:
            kept, sessions = set(self.kept()), self.sessions()
            left = sum(len(each) for leader, each in sessions.items() if leader not in kept)
            if not left or time.monotonic() > until_s:
                return left
            time.sleep(0.2)

    def servers(self) -> list[list[int]]:
        """Return the processes of each server, its keeper's first."""
        return [
            sorted(each)
            for leader, each in sorted(self.sessions().items())
            if b"keeper.py" in _words(leader)
        ]

    def at_work(self) -> bool:
        """Tell whether a server has requests: one behind a proxy, or one that a run started."""
        if self.proxies:
            return any(proxy.asked for proxy in self.proxies)
        return any(_busy(server[1]) for server in self.servers() if len(server) > 1)

    @contextmanager
    def background(self) -> Iterator[None]:
        """Run the proxies beside what follows, and end all that is left afterwards."""
        thread = threading.Thread(target=self._loop.run_forever, name="proxies")
        thread.start()
        try:
            yield
        finally:
            self.down()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()


def _busy(process: int) -> bool:
    """Tell whether a server, by its first process, counts requests that run."""
    words = _words(process).decode().split("\0")
    if "--port" not in words:
        return False
    url = f"http://127.0.0.1:{words[words.index('--port') + 1]}/metrics"
    try:
        with urlopen(url, timeout=5.0) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return False
    running = [line for line in lines if line.startswith("vllm:num_requests_running{")]
    return any(float(line.split()[-1]) > 0.0 for line in running)


def _words(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""
