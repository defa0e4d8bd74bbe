"""Measure the executors that run in process, and print their profile rows (CSV).

Seconds are CPU seconds of this process per item of the executor's work formula, after a first call
that loads what is needed: on a calm machine they are wall seconds, on a busy one they still hold.
The rows of `targets/profiles/local_tools.csv` come from this script. Run it as
`python benchmarks/local_tools/run.py [--repeat N]`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from murakkab.runtime.executors import (
    answering,
    extraction,
    frames,
    ocr,
    people,
    sandbox,
    scenes,
    similarity,
    speech,
    summary,
)
from murakkab.runtime.media import Media

VIDEO = Path(__file__).parents[2] / "examples/video_qa/station.mp4"
SECONDS = 21.5
FRAMES = 3
TEXT = "The train to Lyon leaves from platform seven. The bakery closes at nine. " * 20
PASSAGES = [f"Passage {n}: the {w} stands on shelf {n}." for n, w in enumerate(TEXT.split()[:40])]
TOKENS = len(TEXT) / 4


def cases() -> Iterator[tuple[str, float, Callable[[], object]]]:
    """Yield (executor, items of its work, call)."""
    video = Media("video", path=str(VIDEO))
    found = scenes.split_scenes(video)
    scene = max(found, key=lambda s: s["end"] - s["start"])
    images = frames.sample_frames(scene, frames=FRAMES)
    length = scene["end"] - scene["start"]
    yield "pyscenedetect", SECONDS, lambda: scenes.split_scenes(video)
    yield "opencv-frames", FRAMES, lambda: frames.sample_frames(scene, frames=FRAMES)
    yield "rapidocr", FRAMES, lambda: ocr.read_text(images)
    yield "opencv-people", FRAMES, lambda: people.detect_objects(images)
    yield "pocketsphinx", length, lambda: speech.transcribe(scene)
    yield "sklearn-embed", 1, lambda: similarity.embed(TEXT)
    yield "sklearn-search", 40, lambda: similarity.search("which shelf", PASSAGES, k=5)
    yield "sklearn-rank", 40, lambda: similarity.rank("which shelf", PASSAGES)
    yield "sklearn-classify", 1, lambda: similarity.classify(TEXT, ["trains", "bread"])
    yield "textrank", TOKENS / 100, lambda: summary.summarize(TEXT)
    yield "bm25-answer", TOKENS / 100, lambda: answering.answer("which platform", [TEXT])
    yield "labelled-fields", 1, lambda: extraction.extract("a: 1\nb: 2", ["a", "b"])
    if sandbox.unavailable() is None:
        code, tests = "def f(x): return x + 1", "def test_f(): assert f(1) == 2"
        yield "sandboxed-tests", 1, lambda: sandbox.run_tests(code, tests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    cv2.setNumThreads(1)
    print("model,precision,device,tp,load_items_per_s,latency_p50_s,latency_p90_s,seconds_of")
    for name, items, call in cases():
        call()
        clock = time.perf_counter if name == "sandboxed-tests" else time.process_time
        taken = []
        for _ in range(repeat):
            start = clock()
            call()
            taken.append((clock() - start) / items)
        p50 = statistics.median(taken)
        p90 = statistics.quantiles(taken, n=10)[-1]
        what = "wall" if name == "sandboxed-tests" else "CPU"
        print(f"{name},,cpu,0,{1 / p50:.3g},{p50:.2g},{p90:.2g},{what}")


if __name__ == "__main__":
    main()
