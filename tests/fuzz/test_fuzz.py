"""Readers of untrusted files: a fixed number of hostile inputs, and all that ever broke one.

`benchmarks/reliability/fuzz.py` is the long run, and looks for hangs as well.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from .mutation import MAX_BYTES, Mutator
from .readers import BY_NAME, READERS, Reader, outcome

CORPUS = Path(__file__).parent / "corpus"
BROKE = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
INPUTS = 150  # of each reader


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_hostile_inputs_are_taken_or_refused(reader: Reader, tmp_path: Path) -> None:
    mutator, rng = Mutator(reader.seeds(), reader.form), Random(reader.name)
    found = []
    for _ in range(INPUTS):
        data = mutator.input(rng)
        assert len(data) <= MAX_BYTES
        found.append(outcome(reader, data, tmp_path))
    assert "refused" in found  # or the inputs were not hostile


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_what_mutations_start_from_is_read(reader: Reader, tmp_path: Path) -> None:
    assert "accepted" in [outcome(reader, seed, tmp_path) for seed in reader.seeds()]


@pytest.mark.parametrize("path", BROKE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_once_broke_a_reader_breaks_none(path: Path, tmp_path: Path) -> None:
    outcome(BY_NAME[path.parent.name], path.read_bytes(), tmp_path)


def test_the_same_seed_gives_the_same_inputs() -> None:
    for reader in READERS[:5]:
        mutator = Mutator(reader.seeds(), reader.form)
        first, again = ([mutator.input(rng) for _ in range(20)] for rng in (Random(1), Random(1)))
        assert first == again
