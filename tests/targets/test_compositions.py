"""Compositions of the library: what an entry says, and what is wrong with it, in its place."""

from pathlib import Path

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.targets.compositions import figure
from murakkab.targets.library import Executor, load_library

MINE = """[[executor]]
name = "mine"
kind = "composition"
composition = "cascade"
description = "small first"
members = ["llama-3.1-8b", "llama-3.1-70b"]
knobs = { threshold = [0.5, 0.8] }
escalates = [[0.5, 0.1], [0.8, 0.3]]
[executor.quality]
value = 0.98
metric = "relative"
source = "us"
factors = { threshold = [[0.5, 0.9], [0.8, 1.1]] }
"""


def own(folder: Path, text: str) -> Path:
    path = folder / "lib.toml"
    path.write_text(text)
    return path


def test_an_entry_is_read_with_its_figures(tmp_path: Path) -> None:
    library = load_library([own(tmp_path, MINE)])
    found = library.composition("mine")
    assert found is not None
    assert found.kind == "cascade"
    assert found.interface == "generate"
    assert found.members == ("llama-3.1-8b", "llama-3.1-70b")
    assert found.factor({"threshold": 0.8}) == pytest.approx(0.98 * 1.1)
    assert figure(found.escalates, 0.5) == 0.1
    assert figure(found.agrees, 0.5) is None
    assert library.get("mine") is None


def test_one_figure_may_hold_for_every_setting(tmp_path: Path) -> None:
    text = MINE.replace("escalates = [[0.5, 0.1], [0.8, 0.3]]", "escalates = 0.25")
    found = load_library([own(tmp_path, text)]).composition("mine")
    assert found is not None
    assert figure(found.escalates, 0.8) == 0.25


def test_what_decides_results_is_in_the_digest(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        found = load_library([own(tmp_path, text)]).composition("mine")
        assert found is not None
        return found.digest

    assert digest(MINE) == digest(MINE.replace("0.98", "0.97"))
    assert digest(MINE) != digest(MINE.replace('["llama-3.1-8b", ', '["gemma-3-4b", '))


def test_shipped_compositions_gain_nothing_that_was_not_measured() -> None:
    for composition in load_library().compositions:
        settings = [(name, choice) for name, choices in composition.knobs for choice in choices]
        assert {composition.factor({name: choice}) for name, choice in settings} <= {1.0}
        assert composition.quality.source.startswith("declared: not measured")


def test_a_composition_replaces_an_executor_of_its_name_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    library = load_library([own(tmp_path, MINE.replace('"mine"', '"pocketsphinx"', 1))])
    assert library.get("pocketsphinx") is None
    assert library.composition("pocketsphinx") is not None
    assert [note.id for note in library.notes] == ["replaced-executor"]
    assert all(isinstance(e, Executor) for e in library.executors)


VOTE = MINE.replace('"cascade"', '"vote"').replace("threshold", "votes")


@pytest.mark.parametrize(
    ("old", "new", "where", "message", "hint"),
    [
        ('"cascade"', '"cascades"', "4:15", "`cascades` is not a value", "cascade"),
        ("members", "runner = 'vllm'\nmembers", "6:1", "unknown key `runner`", "`members`"),
        ('["llama-3.1-8b", ', '["llama-3.1-8", ', "6:11", "no executor is named", "llama-3.1-8b"),
        ('["llama-3.1-8b", ', "[", "6:11", "at least two members", "leave `members` out"),
        ('"llama-3.1-70b"]', '"llama-3.1-8b"]', "6:28", "stands here twice", None),
        ("threshold = [0.5", "treshold = [0.5", "7:11", "unknown knob `treshold`", "threshold"),
        ("knobs = { threshold = [0.5, 0.8] }\n", "", "1:1", "has no `knobs.threshold`", None),
        ("[0.5, 0.8] }", "[-1, 0.8] }", "7:24", "`threshold` is a number from 0", None),
        ("[[0.5, 0.1], [0.8", "[[0.5, 1.1], [0.8", "8:20", "a share of calls", None),
        ("[[0.5, 0.1], [0.8", "[[0.4, 0.1], [0.8", "8:15", "which is none of its choices", None),
        ("escalates", "mean_rounds", "8:1", "belongs to a reflect or a debate", None),
        ("value = 0.98", "value = 0", "10:9", "not a factor above 0", None),
        ("[[0.5, 0.9], ", "[", "13:25", "has no quality factor for `0.5`", None),
        ("knobs", 'verify = "task"\nknobs', "8:11", "unknown knob `threshold`", "none"),
        ("knobs", 'verify = "me"\nknobs', "7:10", "`me` is not a value", None),
        (MINE, VOTE, "7:20", "`votes` is a whole number from 3 to 100, not 0.5", None),
        (MINE, VOTE, "8:1", "`escalates` belongs to a cascade, and this is a vote", None),
    ],
)
def test_mistakes(
    tmp_path: Path, old: str, new: str, where: str, message: str, hint: str | None
) -> None:
    assert old in MINE
    path = own(tmp_path, MINE.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_library([path])
    matching = [d for d in caught.value.diagnostics if message in d.message]
    assert matching, caught.value
    assert str(matching[0].span) == f"{path}:{where}"
    if hint is not None:
        assert hint in (matching[0].help or "")
