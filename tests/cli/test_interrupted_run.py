"""Ctrl-C at a real `mkb run`: what is said, and how the process ends."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from .process import started

WORKFLOW = """task nap(text: Text) -> Text "Sleep over a text."

workflow naps(texts: [Text]) -> [Text] {
    slept = for text in texts {
        dreamt = nap(text)
        yield dreamt
    }
    return slept
}
"""
LIBRARY = """[[executor]]
name = "napper"
implements = "nap"
description = "Sleeps"
runner = "python"
entry = "nap"
file = "tools.py"
quality = { value = 1.0, metric = "m", source = "s" }
work = { items = 1 }
"""
TOOL = """import time
from pathlib import Path
def nap(text):
    Path("begun").touch()
    time.sleep(float(text))
    return text
"""


@pytest.mark.parametrize(("nap_s", "presses"), [("2", 1), ("60", 2)])
def test_a_run_that_is_interrupted_ends_as_interrupted(
    tmp_path: Path, nap_s: str, presses: int
) -> None:
    for name, text in (("w.mkb", WORKFLOW), ("library.toml", LIBRARY), ("tools.py", TOOL)):
        (tmp_path / name).write_text(text)
    inputs = f"texts={json.dumps([nap_s] * 200)}"
    command = ("run", "w.mkb", "--library", "library.toml")
    run = started(tmp_path, *command, "--input", inputs, "--record", "run.json")
    _wait_for(tmp_path / "begun")
    assert run.stderr is not None
    said = ""
    for _ in range(presses):
        run.send_signal(signal.SIGINT)
        while "Ctrl-C again" not in said and (line := run.stderr.readline()):
            said += line
    out, rest = run.communicate(timeout=30)
    said += rest
    assert run.returncode == 130, said
    assert "finishing " in said and "at work; Ctrl-C again to stop " in said
    assert "error[interrupted]" in said and "run-failed" not in said
    assert out == ""
    document = json.loads((tmp_path / "run.json").read_text())
    assert (document["status"], document["failures"]) == ("interrupted", [])


def test_sigterm_for_the_whole_group_lets_calls_end(tmp_path: Path) -> None:
    for name, text in (("w.mkb", WORKFLOW), ("library.toml", LIBRARY), ("tools.py", TOOL)):
        (tmp_path / name).write_text(text)
    command = ("run", "w.mkb", "--library", "library.toml", "--input", 'texts=["1", "1", "1"]')
    run = started(tmp_path, *command, "--record", "run.json", alone=True)
    _wait_for(tmp_path / "begun")
    os.killpg(run.pid, signal.SIGTERM)  # as `timeout` and service managers send it
    _, said = run.communicate(timeout=30)
    assert run.returncode == 130, said
    (step,) = json.loads((tmp_path / "run.json").read_text())["steps"]
    assert step["calls"] >= 1 and step["failed"] == 0


def _wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within 30 s")
