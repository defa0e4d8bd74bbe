"""Two replicas of a server: one is killed in the middle, and the run loses and doubles nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from .models import write_library
from .served import processes_of
from .test_launched import until
from .workflows import ASK, ENVIRONMENT, command, questions

NUMBER = 200
_PATIENCE_S = 240.0


def groups_of(model: Path) -> set[int]:
    """Return the process groups of the servers of a model's folder."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if os.fsencode(model) in words and not any(w.endswith(b"keeper.py") for w in words):
                found.add(os.getpgid(int(entry.name)))
        except OSError:
            continue
    return found


def at_work(model: Path) -> list[str]:
    """Return the addresses of the servers of a model's folder that have requests at work."""
    return [url for url in addresses_of(model) if busy(url)]


def addresses_of(model: Path) -> set[str]:
    """Return where the servers of a model's folder listen, by their command lines."""
    found = set()
    for group in groups_of(model):
        words = Path(f"/proc/{group}/cmdline").read_bytes().decode().split("\0")
        found.add(f"http://127.0.0.1:{words[words.index('--port') + 1]}")
    return found


def busy(url: str) -> bool:
    """Tell whether the server at a URL counts requests that run."""
    try:
        with urlopen(f"{url}/metrics", timeout=5.0) as answer:
            lines = answer.read().decode().splitlines()
    except (URLError, OSError):
        return False
    running = [line for line in lines if line.startswith("vllm:num_requests_running{")]
    return any(float(line.split()[-1]) > 0.0 for line in running)


def test_a_run_survives_the_end_of_one_of_its_servers(models_apart: Path, tmp_path: Path) -> None:
    # long answers, so that most calls are still to be done when the server goes
    library = write_library(
        models_apart / "replicas.toml", ["small"], max_tokens=1500, timeout_s=200
    )
    run = subprocess.Popen(
        command(tmp_path, ASK, questions(NUMBER), library, "--record", "run/run.json"),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    calls = tmp_path / "run/run.json.values/calls.jsonl"
    model = models_apart / "small"
    both = until(lambda: len(at_work(model)) == 2, run)
    assert both, run.communicate()
    victims = groups_of(model)
    os.killpg(min(victims), signal.SIGKILL)
    out, err = run.communicate(timeout=_PATIENCE_S)
    assert run.returncode == 0, err
    document = json.loads(out)
    assert len(document["result"]) == NUMBER
    with calls.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    done = [line["instance"] for line in lines if "result" in line]
    assert sorted(done) == sorted(f"text[{n}]" for n in range(NUMBER))
    broken = [line for line in lines if "error" in line]
    assert broken, "the server was killed when nothing was at work"
    (engine,) = document["run"]["engines"]
    assert [server["origin"] for server in engine["servers"]] == ["own", "own"]
    assert all(processes_of(group) == [] for group in victims)
    assert groups_of(model) == set()
