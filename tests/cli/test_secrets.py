"""A key that goes to a server is in nothing that is written, whatever the server does with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .process import ran

CANARY = "sk-canary/0b7c9d5e1f=="
WORKFLOW = """task mood(text: Text) -> Text prompt "The mood of {text}?"
effect task tell(text: Text) -> Bool "Tells." using webhook

workflow w(text: Text) -> Bool {
    found = mood(text)
    told = tell(found)
    return told
}
"""
LIBRARY = """[[executor]]
name = "hosted"
implements = "generate"
description = "Somebody's model"
runner = "openai"
model = "m"
quality = {{ value = 1.0, metric = "m", source = "s" }}
price = {{ usd_per_mtok_prompt = 1.0, usd_per_mtok_output = 1.0 }}
work = {{ prompt_tokens = "tokens(prompt)", output_tokens = 10 }}
settings = {{ url = "{url}/v1", key_env = "MY_KEY", stream = false }}

[[executor]]
name = "hook"
implements = "webhook"
description = "Posts"
runner = "python"
entry = "webhook"
quality = {{ value = 1.0, metric = "m", source = "s" }}
settings = {{ url_env = "MY_HOOK" }}
"""


class Echo(BaseHTTPRequestHandler):
    """Repeats the key in whatever it answers; refuses where `refuses` is set."""

    refuses = 0
    escapes = False
    seen = 0

    def do_GET(self) -> None:
        self._answer(200, {"data": [{"id": "m", "echo": self.headers.get("Authorization")}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers.get("Authorization", "")
        Echo.seen += CANARY in key
        if Echo.refuses or self.path.startswith("/hook"):
            status = Echo.refuses or 204
            self._answer(status, {"error": {"message": f"no good: {key} {self.path}"}})
            return
        choice = {
            "message": {"role": "assistant", "content": f"fine {key}"},
            "finish_reason": "stop",
        }
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        self._answer(200, {"choices": [choice], "usage": usage, "echo": key})

    def _answer(self, status: int, document: object) -> None:
        content = b"" if status == 204 else json.dumps(document).encode()
        if self.escapes:  # as PHP and others write JSON
            content = content.replace(b"/", b"\\/").replace(b"=", b"\\u003d")
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def mkb(folder: Path, url: str, *words: str) -> tuple[int, bytes]:
    """Run a command; return its exit code and all it wrote, to the terminal and to files."""
    hook = f"{url}/hook/{CANARY}"
    code, out, err = ran(folder, *words, MY_KEY=CANARY, MY_HOOK=hook)
    files = b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())
    return code, (out + err).encode() + files


@pytest.mark.parametrize(("refuses", "escapes"), [(0, False), (401, True), (400, False), (0, True)])
def test_a_key_is_written_nowhere(
    tmp_path: Path, url: str, refuses: int, escapes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Echo, "refuses", refuses)
    monkeypatch.setattr(Echo, "escapes", escapes)
    monkeypatch.setattr(Echo, "seen", 0)
    (tmp_path / "w.mkb").write_text(WORKFLOW)
    (tmp_path / "library.toml").write_text(LIBRARY.format(url=url))
    flags = ("--target", "vllm", "--library", "library.toml")
    code, written = mkb(tmp_path, url, "compile", "w.mkb", *flags, "-o", "plan.json")
    assert code == 0, written.decode()
    begin = ("run", "plan.json", "--library", "library.toml", "--input", "text=x")
    for more_flags in ((), ("--json", "--debug"), ("--journal", "run.db")):
        code, more = mkb(tmp_path, url, *begin, *more_flags)
        assert code == (3 if refuses else 0), more.decode(errors="replace")
        written += more
    for command in (("runs",), ("inspect", "plan.json"), ("explain", "plan.json")):
        code, more = mkb(tmp_path, url, *command)
        assert code == 0
        written += more
    assert Echo.seen  # it did reach the server
    assert b"0b7c9d5e1f" not in written  # whatever is escaped beside it
