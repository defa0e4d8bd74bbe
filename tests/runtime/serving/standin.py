"""A program in the place of vLLM's: it speaks its interfaces, and fails in the ways it is told.

Standard library only, so that it answers within a fraction of a second. It says what it is told in
the words of a prompt: the process number to `pid`, nothing until a file exists to `wait FILE`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_LINGERS = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep({}), exit()))"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    flags: argparse.Namespace
    asleep = False
    tokens = 0

    def do_GET(self) -> None:
        """Answer what is asked about the server."""
        path = urlsplit(self.path).path
        if path == "/health":
            gate = self.flags.gate
            self.answer(200 if gate is None or gate.exists() else 503)
        elif path == "/metrics":
            if self.flags.late is not None:
                self.flags.late.with_suffix(".read").touch()
            model = f'model_name="{self.flags.served_model_name}"'
            lines = [
                "# TYPE vllm:num_requests_running gauge",
                f"vllm:num_requests_running{{{model}}} 0.0",
                "# TYPE vllm:generation_tokens counter",
                f"vllm:generation_tokens_total{{{model}}} {float(Handler.tokens)}",
            ]
            self.answer(200, "\n".join(lines) + "\n")
        elif path == "/v1/models":
            self.answer(200, {"data": [{"id": self.flags.served_model_name}]})
        elif path == "/is_sleeping" and self.flags.enable_sleep_mode:
            self.answer(200, {"is_sleeping": Handler.asleep})
        else:
            self.answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        """Complete a chat, sleep or wake up."""
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        if path in ("/sleep", "/wake_up") and self.flags.enable_sleep_mode:
            print(path, flush=True)
            Handler.asleep = path == "/sleep"
            self.answer(200)
        elif path == "/v1/chat/completions":
            self.chat(json.loads(content))
        else:
            self.answer(404, {"detail": "Not Found"})

    def chat(self, asked: dict[str, Any]) -> None:
        """Say the prompt, or what it asks for."""
        prompt = asked["messages"][-1]["content"]
        said = str(os.getpid()) if prompt == "pid" else prompt
        while self.flags.stuck is not None and self.flags.stuck.exists():
            time.sleep(0.01)
        if prompt.startswith("wait "):
            while not Path(prompt.removeprefix("wait ")).exists():
                time.sleep(0.01)
        tokens = len(said.split())
        Handler.tokens += tokens
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": tokens}
        choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        self.answer(200, {"choices": [choice], "usage": usage})

    def answer(self, status: int, body: Any = "") -> None:
        """Send an answer: text as it is, everything else as JSON."""
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Keep the log for what a test wants in it."""


class Server(ThreadingHTTPServer):
    """Answers in threads."""

    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that go away."""


def main() -> None:
    """Serve, unless the flags say otherwise."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", default="stand-in")
    parser.add_argument("--enable-sleep-mode", action="store_true")
    parser.add_argument("--gate", type=Path, help="healthy when this file exists")
    parser.add_argument("--say", action="append", default=[], help="a line for the log")
    parser.add_argument("--exit", type=int, help="end with this status instead of serving")
    parser.add_argument("--once", type=Path, help="do `--exit` only until this file exists")
    parser.add_argument("--first", type=int, default=0, help="serve so often before `--exit`")
    parser.add_argument("--starts", type=Path, help="a line is added to this file at each start")
    parser.add_argument("--alone", type=Path, help="fail if a server of this `--starts` runs")
    parser.add_argument("--late", type=Path, help="healthy if first, else when this file exists")
    parser.add_argument("--stuck", type=Path, help="answers no chat while this file exists")
    parser.add_argument("--lingering", type=float, help="seconds a child takes to end")
    flags, _ = parser.parse_known_args()
    if flags.alone is not None and _company(flags.alone):
        sys.exit("RuntimeError: another server is up at the same time")
    if flags.starts is not None:
        with flags.starts.open("a") as file:
            file.write(f"{os.getpid()} {flags.port} {os.getppid()}\n")
    for line in flags.say:
        print(line, flush=True)
    if flags.exit is not None and not _spared(flags):
        sys.exit(flags.exit)
    if flags.lingering is not None:
        code = _LINGERS.format(flags.lingering) + "; time.sleep(1000)"
        subprocess.Popen([sys.executable, "-S", "-c", code])
    if flags.late is not None and not _first(flags.late.with_suffix(".up")):
        flags.gate = flags.late
    Handler.flags = flags
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(("127.0.0.1", flags.port), Handler).serve_forever(0.01)


def _company(starts: Path) -> bool:
    pids = [line.split()[0] for line in starts.read_text().splitlines()] if starts.exists() else []
    return any(Path("/proc", pid).exists() for pid in pids)


def _first(mark: Path) -> bool:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _spared(flags: argparse.Namespace) -> bool:
    if flags.once is not None:
        spared: bool = flags.once.exists()
        flags.once.touch()
        return spared
    return flags.starts is not None and len(flags.starts.read_text().splitlines()) <= flags.first


if __name__ == "__main__":
    main()
