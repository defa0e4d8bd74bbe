"""`mkb evaluate`, with executors that are really run."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from murakkab.targets.workflow_profiles import load_workflow_profiles

from .conftest import Mkb
from .process import started

MkbJson = Callable[..., dict[str, Any]]
WORKFLOW = """
task draft(query: Text) -> Text "Draft." using draft
task polish(draft: Text) -> Text "Polish." using polish
workflow w(query: Text) -> Text
    minimize latency
{
    first = draft(query)
    second = optional polish(first)
    return second ?? first
}
"""
# with `k = 3` and polished an answer is right; `quick` forgets those with a 7, and fails on an 8
TOOLS = """
import time
from pathlib import Path
def good(query, k):
    return query if k == 3 else query[:2]
def quick(query):
    if "8" in query: raise ValueError("an eight")
    return "" if "7" in query else query
def polish(draft):
    return draft.upper() + "!"
def slow(draft):
    Path("calls").open("a").write("x")
    time.sleep(0.05)
    return draft.upper() + "!"
def length(result, expected):
    return len(result) / 10
def beyond(result, expected):
    return len(result)
"""
ENTRY = """
[[executor]]
name = "{name}"
implements = "{interface}"
description = "a test executor"
runner = "python"
entry = "{entry}"
file = "tools.py"
pooling = "thread"
quality = {{ value = {quality}, metric = "relative", source = "declared for a test" }}
"""
GOOD = ENTRY.format(name="draft-good", interface="draft", entry="good", quality=0.8)
QUICK = ENTRY.format(name="draft-quick", interface="draft", entry="quick", quality=1.0)
KNOBS = "knobs = { k = [1, 3] }\n"


def polish(entry: str) -> str:
    return ENTRY.format(name="polish", interface="polish", entry=entry, quality=1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "w.mkb").write_text(WORKFLOW)
    (tmp_path / "tools.py").write_text(TOOLS)
    (tmp_path / "library.toml").write_text(GOOD + KNOBS + QUICK + polish("polish"))
    lines = [{"query": f"item {n}", "expected": f"ITEM {n}!"} for n in range(20)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


ARGUMENTS = ("evaluate", "w.mkb", "--library", "library.toml", "--dataset", "d.jsonl")
EXACT = (*ARGUMENTS, "--metric", "exact_match")


def by_label(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["configuration"]: entry for entry in document["configurations"]}


def test_configurations_are_measured_and_planned_with(
    folder: Path, mkb: Mkb, mkb_json: MkbJson
) -> None:
    found = mkb_json(*EXACT, "--first", "20")
    assert found["written"] == "w.profile.csv" and found["items"] == 20
    entries = by_label(found)
    assert len(entries) == 6
    best = entries["first: draft-good{k = 3}, second: polish"]
    assert (best["accuracy"], best["n"], best["failed"]) == (1.0, 20, 0)
    assert best["interval"][0] < 0.9 and best["interval"][1] == 1.0
    quick = entries["first: draft-quick, second: polish"]
    assert (quick["accuracy"], quick["failed"]) == (0.8, 2)  # 7 and 17 wrong, 8 and 18 failed
    assert entries["first: draft-good{k = 3}, second: left out"]["accuracy"] == 0.0
    rows = load_workflow_profiles([folder / "w.profile.csv"]).rows
    assert sorted(row.accuracy for row in rows) == sorted(e["accuracy"] for e in entries.values())
    assert all(row.source.startswith("exact_match on d.jsonl, workflow ") for row in rows)
    flags = ("--library", "library.toml", "--profiles", "w.profile.csv")
    plan = mkb_json("compile", "w.mkb", *flags, "--require", "accuracy >= 0.9")["plan"]
    assert plan["predicted"]["accuracy"] == 1.0
    assert [step["executor"] for step in plan["steps"]] == ["draft-good", "polish"]
    assert plan["steps"][0]["knobs"] == {"k": 3}
    assert plan["baseline"]["accuracy"] == 0.8
    shown = mkb(*EXACT, "--first", "20").stdout
    assert "first: draft-good{k = 3}, second: polish" in shown.splitlines()[1]


def test_bad_configurations_stop_early(folder: Path, mkb: Mkb, mkb_json: MkbJson) -> None:
    found = mkb_json(*EXACT)
    sizes = sorted(entry["n"] for entry in found["configurations"])
    assert sizes == [8, 8, 8, 16, 20, 20]  # 6 configurations, then 3, then 2
    assert found["configurations"][0]["accuracy"] == 1.0
    text = mkb(*EXACT, "-o", "other.csv").stderr
    assert "rung 1: 6 configurations on 8 items, 48 runs" in text
    assert "rung 3: 2 configurations on 20 items, 8 runs (32 known from before)" in text
    assert "the item of line" in text and "an eight" in text


def test_a_rerun_runs_nothing_again(folder: Path, mkb: Mkb, mkb_json: MkbJson) -> None:
    (folder / "library.toml").write_text(GOOD + KNOBS + polish("slow"))
    first = mkb_json(*EXACT, "--items", "8")
    calls = (folder / "calls").stat().st_size
    assert calls == 2 * 8
    assert mkb_json(*EXACT, "--items", "8") == first
    assert (folder / "calls").stat().st_size == calls
    mkb(*EXACT, "--items", "12", "--first", "12")
    assert (folder / "calls").stat().st_size == 2 * 12
    (folder / "w.profile.csv").unlink()
    mkb(*EXACT, "--items", "8")
    assert (folder / "calls").stat().st_size == 2 * 12
    text = (folder / "w.mkb").read_text()
    (folder / "w.mkb").write_text("// a comment\n" + text.replace("latency", "cost"))
    mkb(*EXACT, "--items", "8")  # neither is part of what is measured
    (folder / "w.mkb").write_text(text.replace("second ?? first", "second ?? query"))
    (told,) = mkb_json(*EXACT, exit_code=2)["diagnostics"]
    assert told["id"] == "stale-progress" and "the workflow has changed" in told["message"]


def test_ctrl_c_loses_nothing_that_is_finished(folder: Path, mkb: Mkb) -> None:
    (folder / "library.toml").write_text(GOOD + KNOBS + polish("slow"))
    running = started(folder, *EXACT, "--first", "20", "--at-once", "2")
    progress = folder / "w.profile.csv.progress.jsonl"
    until_s = time.monotonic() + 60.0
    while not progress.exists() or progress.read_text().count("\n") < 4:
        assert time.monotonic() < until_s and running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60.0)
    assert running.returncode == 130
    assert "what is scored is kept in `w.profile.csv.progress.jsonl`" in told
    calls = (folder / "calls").stat().st_size
    kept = [json.loads(line) for line in progress.read_text().splitlines()[1:]]
    polished = [entry for entry in kept if "polish" in entry["configuration"]]
    assert len(polished) == calls < 40  # what had begun was finished and kept
    mkb(*EXACT, "--first", "20")
    assert (folder / "calls").stat().st_size == 40


def test_chosen_configurations_are_measured(folder: Path, mkb: Mkb, mkb_json: MkbJson) -> None:
    found = mkb_json(*EXACT, "--limit", "2", "--first", "4", "--seed", "3")
    labels = list(by_label(found))
    assert len(labels) == 2
    assert "first: draft-quick, second: polish" in labels  # the reference is always there
    listed = "workflow,first.executor,first.k,second.executor\nw,draft-good,1,left out\n"
    (folder / "c.csv").write_text(listed)
    found = mkb_json(*EXACT, "--configurations", "c.csv", "-o", "c.out.csv")
    assert list(by_label(found)) == ["first: draft-good{k = 1}, second: left out"]
    again = mkb_json(*EXACT, "--configurations", "c.out.csv", "-o", "c.out.csv")
    assert again["configurations"] == found["configurations"]


@pytest.mark.parametrize(
    ("listed", "place", "message"),
    [
        ("w,draft-bad,,polish", "c.csv:2:3", "no executor named `draft-bad`"),
        ("w,draft-good,2,polish", "c.csv:2:14", "no setting `k = 2`"),
        ("w,draft-good,,polish", "c.csv:2:3", "cannot be done like this"),
        ("w,left out,,polish", "c.csv:2:3", "cannot be done like this"),
        ("v,draft-good,1,polish", "c.csv:1:1", "lists no configuration of workflow `w`"),
    ],
)
def test_configurations_that_cannot_be_are_told(
    folder: Path, mkb_json: MkbJson, listed: str, place: str, message: str
) -> None:
    header = "workflow,first.executor,first.k,second.executor\n"
    (folder / "c.csv").write_text(header + listed + "\n")
    (told,) = mkb_json(*EXACT, "--configurations", "c.csv", exit_code=2)["diagnostics"]
    assert message in told["message"]
    assert f"{told['file']}:{told['line']}:{told['column']}" == place


def test_a_metric_of_one_s_own(folder: Path, mkb_json: MkbJson) -> None:
    only = ("--items", "8", "--limit", "1")
    found = mkb_json(*ARGUMENTS, "--metric", "tools.py:length", *only)
    assert 0.0 < found["configurations"][0]["accuracy"] < 1.0
    told = mkb_json(*(*ARGUMENTS, "--metric", "tools.py:beyond", *only, "-o", "o.csv"), exit_code=2)
    assert told["diagnostics"][0]["id"] == "bad-score"


def test_what_never_works_is_left_out(folder: Path, mkb_json: MkbJson) -> None:
    broken = ENTRY.format(name="draft-bad", interface="draft", entry="none", quality=0.9)
    (folder / "library.toml").write_text(GOOD + KNOBS + broken + polish("polish"))
    found = mkb_json(*EXACT, "--items", "4")
    assert not any("draft-bad" in label for label in by_label(found))
    assert {d["id"] for d in found["diagnostics"]} == {"not-measured"}
    (folder / "library.toml").write_text(broken + polish("polish"))
    told = mkb_json(*EXACT, "--items", "4", "-o", "o.csv", exit_code=3)["diagnostics"]
    assert [d["id"] for d in told] == ["not-measured", "not-measured", "run-failed"]
    assert not (folder / "o.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--metric", "judge"), "needs `--judge NAME`"),
        (("--metric", "contains", "--judge", "x"), "nothing else has a judge"),
        (("--metric", "judge", "--judge", "polish"), "`polish` is no language model"),
        (("--metric", "judge", "--judge", "llama"), "no executor named `llama`"),
        (("--metric", "f1"), "no metric `f1`"),
        (("--metric", "contains", "--eta", "1"), "--eta"),
        (("--metric", "contains", "--expected", "query"), "an input of workflow `w`"),
        (("--metric", "contains", "--expected", "gold"), "field `gold` is missing"),
        (("--metric", "contains", "--target", "sim", "--cluster", "c.toml"), "makes results up"),
        (("--metric", "contains", "-o", "none/o.csv"), "cannot go on from `none/o.csv"),
    ],
)
def test_wrong_command_lines(
    folder: Path, mkb: Mkb, mkb_json: MkbJson, arguments: tuple[str, ...], told: str
) -> None:
    mkb("targets", "detect", "-o", "c.toml")
    found = mkb_json(*ARGUMENTS, *arguments, exit_code=2)["diagnostics"]
    assert told in found[0]["message"]


# ---- a judge


class _Judge(BaseHTTPRequestHandler):
    """A model server that finds an answer right if it holds the reference, and writes otherwise."""

    protocol_version = "HTTP/1.1"
    asked: list[dict[str, Any]]

    def do_GET(self) -> None:
        self._answer({"data": [{"id": "judge"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        prompt = body["messages"][-1]["content"]
        if "item 13" in prompt:
            self.send_error(400, "no thirteens")
            return
        reference, answer = (
            prompt.partition(f"<{name}>")[2].partition(f"</{name}>")[0].strip()
            for name in ("reference", "answer")
        )
        said = json.dumps({"result": "yes" if reference in answer else "no"})
        choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 1}
        self._answer({"choices": [choice], "usage": usage})

    def _answer(self, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def judging() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    asked: list[dict[str, Any]] = []
    handler = type("Handler", (_Judge,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
        server.shutdown()


JUDGE = """
[[executor]]
name = "judge-model"
implements = "generate"
description = "a model that judges"
runner = "openai"
model = "judge"
devices = ["remote"]
settings = { url = "http://127.0.0.1:1/v1" }
quality = { value = 0.5, metric = "none", source = "declared for a test" }
"""


def test_a_judge_that_fails_ends_the_evaluation(folder: Path, mkb_json: MkbJson) -> None:
    with (folder / "library.toml").open("a") as file:
        file.write(JUDGE)
    with judging() as (url, _):
        flags = ("--target", "vllm", "--endpoint", f"judge-model={url}", "--judge", "judge-model")
        arguments = (*ARGUMENTS, "--metric", "judge", *flags, "--first", "20", "--at-once", "1")
        (told,) = mkb_json(*arguments, exit_code=3)["diagnostics"]
    assert "the judge `judge-model` failed on the result for the item of line 14" in told["message"]
    kept = (folder / "w.profile.csv.progress.jsonl").read_text().splitlines()[1:]
    assert 0 < len(kept) < 20


def test_a_language_model_judges(folder: Path, mkb_json: MkbJson) -> None:
    with (folder / "library.toml").open("a") as file:
        file.write(JUDGE)
    with judging() as (url, asked):
        flags = ("--target", "vllm", "--endpoint", f"judge-model={url}", "--judge", "judge-model")
        found = mkb_json(*ARGUMENTS, "--metric", "judge", *flags, "--items", "4", "--first", "4")
    entries = by_label(found)
    assert entries["first: draft-good{k = 3}, second: polish"]["accuracy"] == 1.0
    assert entries["first: draft-good{k = 3}, second: left out"]["accuracy"] == 0.0
    assert found["metric"] == "judge judge-model"
    # its own tokens are not the workflow's
    assert all(e["tokens"]["tokens_prompt_p50"] is None for e in entries.values())
    assert len(asked) == 4 * 6 - sum(e["failed"] for e in entries.values())
    schema = asked[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["result"]["enum"] == ["no", "yes"]
    assert "item " in asked[0]["messages"][-1]["content"]
