"""Reading records: steps, calls, values and media, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.runtime.driver import run_plan
from murakkab.runtime.media import Media
from murakkab.runtime.record import RunRecord, load_record

from .conftest import MakeLibrary, MakePlan

TEXT = """module placed
task @shots(%v: Video) -> [Image]
task @tell(%frames: [Image]) -> Text
engine @a
engine @b
workflow @w(%v: Video) -> Text
{
  %frames = invoke @shots(%v) {engine = @a, executor = @shots} : [Image]
  %out = invoke @tell(%frames) {engine = @b, executor = @tell} : Text
  return(%out)
}
"""
CODE = """
from murakkab.runtime.media import Media
def shots(v):
    return [Media("image", data=v.read() + bytes([i])) for i in range(30)]
def tell(frames):
    return f"{len(frames)} frames"
"""


@pytest.fixture
def record(make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path) -> RunRecord:
    (tmp_path / "v.mp4").write_bytes(b"video")
    library = make_library(CODE, shots={"pooling": "process"}, tell={})
    path = tmp_path / "runs" / "run.json"
    inputs = {"v": Media("video", path=str(tmp_path / "v.mp4"))}
    done = asyncio.run(run_plan(make_plan(TEXT), inputs, library=library, record=path))
    loaded = load_record(path)
    assert loaded.document == done.record.document
    return loaded


def test_a_large_value_and_its_media_are_read_back(record: RunRecord) -> None:
    (call,) = record.calls("frames")
    assert "value" not in call["result"]
    frames = record.value(call["result"])
    assert [record.media(frame) for frame in frames] == [b"video" + bytes([i]) for i in range(30)]
    assert record.step("frames")["items"] == 30


def test_inputs_and_result_stand_in_the_record(record: RunRecord) -> None:
    assert record.value(record.document["result"]) == "30 frames"
    video = record.value(record.document["inputs"]["v"])
    assert record.media(video) == b"video"


def test_a_step_that_is_not_there_is_told_with_the_nearest(record: RunRecord) -> None:
    with pytest.raises(InputError) as caught:
        record.step("frame")
    (found,) = caught.value.diagnostics
    assert found.message == "the run has no step `frame`; its steps: frames, out"
    assert found.help == "did you mean `frames`?"


def test_values_that_are_gone_are_told(record: RunRecord) -> None:
    (call,) = record.calls("frames")
    assert record.path is not None
    name = f"{call['result']['sha256']}.json"
    (record.path.with_name("run.json.values") / name).unlink()
    with pytest.raises(InputError, match="a value of the run cannot be read"):
        record.value(call["result"])


def test_calls_of_a_run_that_broke_off_end_with_the_last_whole_line(record: RunRecord) -> None:
    assert record.path is not None
    lines = record.path.with_name("run.json.values") / "calls.jsonl"
    lines.write_text(lines.read_text()[:-10])
    assert [call["instance"] for call in record.calls()] == ["frames"]


def test_a_digest_in_a_record_cannot_name_a_file_elsewhere(record: RunRecord) -> None:
    with pytest.raises(InputError, match="a value of the run cannot be read"):
        record.value({"sha256": "../../../etc/passwd"})


def test_a_record_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_record(tmp_path / "absent.json")
