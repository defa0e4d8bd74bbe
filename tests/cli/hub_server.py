"""A hub of one's own on this machine: it answers as the API that `huggingface_hub` speaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

FIRST, SECOND = "1" * 40, "2" * 40


@dataclass
class Hub:
    """Repositories by name: commits, oldest first, each with its files; what was asked for.

    `refusals` are statuses and error codes by repository, `broken` a status for everything. A
    repository in `gated` tells what it has, and gives none of it.
    """

    repositories: dict[str, dict[str, dict[str, bytes]]]
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    broken: int | None = None
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def commit_of(self, name: str, revision: str) -> str | None:
        """Return the commit that a branch or a commit is."""
        commits = list(self.repositories[name])
        return (
            commits[-1]
            if revision == "main"
            else next((commit for commit in commits if commit == revision), None)
        )

    @property
    def downloads(self) -> list[str]:
        """The names of the files whose content was sent."""
        return [
            path.rpartition("/")[2]
            for path in self.asked
            if path.startswith("GET /") and "/resolve/" in path
        ]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on a free port of this machine while entered."""

    class Handler(_Handler):
        of = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    of: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.of.asked.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if self.of.broken is not None:
            self._send(self.of.broken, b"{}", body=body)
        elif parts[:2] == ["api", "models"]:
            self._about("/".join(parts[2:4]), parts[4:], body=body)
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body=body)
        else:
            self._send(404, b"{}", body=body)

    def _found(self, name: str, revision: str, *, body: bool) -> str | None:
        """Return a commit, or refuse as the hub does and return None."""
        if name in self.of.refusals:
            status, code = self.of.refusals[name]
            self._send(status, b"{}", body=body, headers={"X-Error-Code": code})
        elif name not in self.of.repositories:
            self._send(404, b"{}", body=body, headers={"X-Error-Code": "RepoNotFound"})
        elif self.of.commit_of(name, revision) is None:
            self._send(404, b"{}", body=body, headers={"X-Error-Code": "RevisionNotFound"})
        else:
            return self.of.commit_of(name, revision)
        return None

    def _about(self, name: str, rest: list[str], *, body: bool) -> None:
        commit = self._found(name, rest[1] if len(rest) > 1 else "main", body=body)
        if commit is None:
            return
        files = self.of.repositories[name][commit]
        if rest[:1] == ["tree"]:
            tree = [{"type": "file", "path": n, **_facts(n, c, "oid")} for n, c in files.items()]
            self._send(200, json.dumps(tree).encode(), body=body)
            return
        siblings = [{"rfilename": n, **_facts(n, c, "blobId")} for n, c in files.items()]
        about = {"id": name, "sha": commit, "siblings": siblings, "private": False}
        self._send(200, json.dumps(about).encode(), body=body)

    def _file(self, name: str, revision: str, path: str, *, body: bool) -> None:
        commit = self._found(name, revision, body=body)
        if commit is None:
            return
        if name in self.of.gated:
            self._send(403, b"", body=body, headers={"X-Error-Code": "GatedRepo"})
            return
        content = self.of.repositories[name][commit].get(path)
        if content is None:
            self._send(404, b"", body=body, headers={"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit}
        self._send(200, content, body=body, headers=headers)

    def _send(
        self, status: int, content: bytes, *, body: bool, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


def _facts(name: str, content: bytes, key: str) -> dict[str, object]:
    facts: dict[str, object] = {"size": len(content), key: hashlib.sha1(content).hexdigest()}
    if name.endswith(".safetensors"):
        sha256 = hashlib.sha256(content).hexdigest()
        large = {"size": len(content), "pointerSize": 134}
        facts["lfs"] = {"sha256": sha256, "oid": sha256, **large}
    return facts
