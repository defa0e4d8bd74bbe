"""Calibration: what a threshold of a cascade is worth, by outcomes; and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.targets.calibration import calibrated, cascade_toml, load_outcomes
from murakkab.targets.compositions import figure
from murakkab.targets.library import load_library

ANSWERS = "confidence,cheap_right,strong_right\n0.9,1,1\n0.8,1,0\n0.4,0,1\n0.3,0,1\n"
GROUPS = (
    "subject,n_questions,both_right,only_weak_right,only_strong_right,both_wrong\n"
    "easy,100,80,5,5,10\nhard,100,20,10,60,10\n"
)


def written(folder: Path, text: str) -> Path:
    path = folder / "outcomes.csv"
    path.write_text(text)
    return path


def test_answers_below_the_threshold_are_the_strong_models(tmp_path: Path) -> None:
    outcomes = load_outcomes(written(tmp_path, ANSWERS))
    none, some, every = calibrated(outcomes, [0.0, 0.5, 1.0])
    assert [s.escalates for s in (none, some, every)] == [0.0, 0.5, 1.0]
    assert [s.accuracy for s in (none, some, every)] == pytest.approx([0.5, 1.0, 0.75])
    assert [s.factor for s in (none, some, every)] == pytest.approx([2 / 3, 4 / 3, 1.0])


def test_an_answer_at_the_threshold_stays(tmp_path: Path) -> None:
    (setting,) = calibrated(load_outcomes(written(tmp_path, ANSWERS)), [0.4])
    assert setting.escalates == 0.25


def test_a_group_is_as_sure_as_its_cheap_model_is_right(tmp_path: Path) -> None:
    outcomes = load_outcomes(written(tmp_path, GROUPS))
    assert [one.confidence for one in outcomes] == [0.85, 0.3]
    (setting,) = calibrated(outcomes, [0.5])
    assert setting.escalates == 0.5
    assert setting.accuracy == pytest.approx((85 + 80) / 200)


def test_the_entry_is_a_cascade_with_these_figures(tmp_path: Path) -> None:
    settings = list(calibrated(load_outcomes(written(tmp_path, ANSWERS)), [0.5, 0.0]))
    entry = tmp_path / "library.toml"
    entry.write_text(cascade_toml("two", ["llama-3.1-8b", "llama-3.1-70b"], settings, "4 answers"))
    found = load_library([entry]).composition("two")
    assert found is not None
    assert found.members == ("llama-3.1-8b", "llama-3.1-70b")
    assert dict(found.knobs) == {"threshold": (0.5, 0)}
    assert figure(found.escalates, 0.5) == 0.5
    assert found.factor({"threshold": 0.5}) == pytest.approx(4 / 3, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "the columns are not those of outcomes"),
        ("a,b\n1,2\n", 1, "the columns are not those of outcomes"),
        (ANSWERS + "1.5,1,1\n", 6, "`confidence` is `1.5`; it must be from 0 to 1"),
        (ANSWERS + "0.5,2,1\n", 6, "`cheap_right` is `2`; it must be 1 or 0"),
        (ANSWERS + "0.5,1\n", 6, "the row has 2 cells, the header 3"),
        (GROUPS + "x,10,1,1,1,1\n", 4, "the four outcomes do not add up to `n_questions`"),
        (GROUPS + "x,-1,0,0,0,-1\n", 4, "`n_questions` is `-1`; it must be a number of questions"),
        ("confidence,cheap_right,strong_right\n", 1, "the strong model got no question right"),
        ("confidence,cheap_right,strong_right\n0.5,1,0\n", 1, "got no question right"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    text: str, line: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_outcomes(written(tmp_path, text))
    (finding,) = caught.value.diagnostics
    assert finding.span is not None and finding.span.line == line
