"""How much more than its calls a run asks of a server that fails a share of them.

    python benchmarks/reliability/storm.py [--calls 1000] [--seed 0]

One server on this machine speaks OpenAI's interface and fails at random: with 500, with broken
connections, or with answers that are not what was asked for. A workflow of one structured answer
for each item goes on without the items that fail (`--keep-going`). Counted is what the server is
asked, beside what an undisturbed run asks: the plan's failure policy allows a tenth more, or 64.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kills import mkb

WORKFLOW = """task sort(text: Text) -> { urgent: Bool } "Sorts." prompt "Is it urgent? {text}"

workflow w(texts: [Text]) -> [{ urgent: Bool }] {
    sorted = for text in texts { yield sort(text) }
    return sorted
}
"""
LIBRARY = """[[executor]]
name = "served"
implements = "generate"
description = "A server that fails"
runner = "openai"
model = "served"
quality = {{ value = 1.0, metric = "m", source = "s" }}
price = {{ usd_per_mtok_prompt = 0.1, usd_per_mtok_output = 0.1 }}
settings = {{ url = "{url}/v1" }}
[executor.work]
prompt_tokens = 20
output_tokens = 5
"""
FAULTS = ("500", "connection", "malformed")
SHARES = (0.0, 0.05, 0.2, 0.5, 1.0)
_TAKES_S = 0.005
_WITHIN_S = 600.0


@dataclass
class Server:
    """Answers chats after a moment, or fails; counts what it is asked."""

    fault: str = ""
    share: float = 0.0
    asked: int = 0
    chance: random.Random = field(default_factory=random.Random)
    url: str = ""

    def content(self) -> bytes | None:
        """Return the answer to the next request, None where there is none."""
        self.asked += 1
        fails = self.chance.random() < self.share
        if fails and self.fault != "malformed":
            return None
        said = "I cannot tell." if fails else '{"urgent": true}'
        choice = {"index": 0, "finish_reason": "stop", "message": {"content": said}}
        usage = {"prompt_tokens": 20, "completion_tokens": 5}
        return json.dumps({"choices": [choice], "usage": usage}).encode()


@contextmanager
def serving(server: Server) -> Iterator[None]:
    """Have a server answer on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, json.dumps({"data": [{"id": "served"}]}).encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(_TAKES_S)
            content = server.content()
            if content is not None:
                self._send(200, content)
            elif server.fault == "500":
                self._send(500, b"{}")
            else:
                self.close_connection = True

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server.url = f"http://127.0.0.1:{listening.server_port}"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield
    listening.shutdown()


@dataclass(frozen=True)
class Outcome:
    """What a run asked, and what came of its items."""

    asked: int
    answered: int
    seconds: float
    ended: str


def measured(folder: Path, server: Server, calls: int) -> Outcome:
    """Run the workflow once, against the server as it is."""
    server.asked = 0
    flags = ("--target", "vllm", "--library", "library.toml", "--inputs", "inputs.json")
    began_s = time.monotonic()
    run = mkb(folder, "run", "w.mkb", *flags, "--json", "--keep-going", "--no-journal")
    out, err = run.communicate(timeout=_WITHIN_S)
    document = json.loads(out)
    result = document.get("result")
    if result is None and "failures" not in document:
        raise SystemExit(out + err)
    ended = "completed" if run.returncode == 0 else f"exit code {run.returncode}"
    answered = len(result or [])
    return Outcome(server.asked, answered, time.monotonic() - began_s, ended)


def main() -> None:
    """Print what was asked for each fault and each share of requests that meet it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| fault | requests that meet it | asked | beside the calls | answered | ended | s |")
    print("|---|---|---|---|---|---|---|")
    server = Server(chance=random.Random(given.seed))
    with serving(server), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "w.mkb").write_text(WORKFLOW)
        (folder / "library.toml").write_text(LIBRARY.format(url=server.url))
        texts = [f"Item {n}" for n in range(given.calls)]
        (folder / "inputs.json").write_text(json.dumps({"texts": texts}))
        for server.fault in FAULTS:
            for server.share in SHARES:
                one = measured(folder, server, given.calls)
                more = f"{one.asked / given.calls - 1:+.1%}"
                row = (server.fault, f"{server.share:.0%}", one.asked, more, one.answered)
                cells = (*row, one.ended, f"{one.seconds:.0f}")
                print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
