"""Metrics: what counts as the same, and what a metric of one's own may return."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.runtime.evaluation.dataset import Dataset, Item
from murakkab.runtime.evaluation.scoring import metric_named


def score(metric: str, expected: Any, result: Any) -> float:
    item = Item(3, {}, expected)
    found = metric_named(metric, Dataset(Path("d.jsonl"), (item,), ""))
    return asyncio.run(_awaited(found.score(item, result)))


async def _awaited(score: Any) -> float:
    value: float = await score
    return value


@pytest.mark.parametrize(
    ("expected", "result", "wanted"),
    [
        ("Prague", "  prague\n", 1.0),
        ("New  York", "new york", 1.0),
        ("Stra\u00dfe", "STRASSE", 1.0),
        ("Prague", "Prague.", 0.0),
        (["Prague", "Praha"], "praha", 1.0),
        (["Prague", "Praha"], ["prague", "praha"], 1.0),
        (["Prague", "Praha"], ["praha", "prague"], 0.0),
        (3, 3.0, 1.0),
        ("3", 3, 1.0),
        (True, 1, 0.0),
        (1, True, 0.0),
        (None, None, 1.0),
        ({"city": "Prague", "n": [1]}, {"n": [1], "city": "prague "}, 1.0),
        ({"city": "Prague"}, {"city": "Vienna"}, 0.0),
    ],
)
def test_exact_match(expected: Any, result: Any, wanted: float) -> None:
    assert score("exact_match", expected, result) == wanted


@pytest.mark.parametrize(
    ("expected", "result", "wanted"),
    [
        ("prague", "It is  PRAGUE.", 1.0),
        (["vienna", "prague"], "It is Prague.", 1.0),
        ("vienna", "It is Prague.", 0.0),
        ("prague", {"city": "Prague"}, 1.0),
    ],
)
def test_contains(expected: Any, result: Any, wanted: float) -> None:
    assert score("contains", expected, result) == wanted


@pytest.mark.parametrize("expected", [3, "", [], ["a", 3], {"a": "b"}])
def test_contains_wants_texts(expected: Any) -> None:
    with pytest.raises(InputError, match=r"`d\.jsonl` line 3: `contains` looks for a text"):
        score("contains", expected, "a")


def own(folder: Path, body: str) -> str:
    (folder / "own.py").write_text(f"def f(result, expected):\n    {body}\n")
    return f"{folder / 'own.py'}:f"


def test_a_metric_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "return len(result) / expected"
    assert score(own(tmp_path, body), 4, "ab") == 0.5
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_metric_module.py").write_text("def f(result, expected): return True")
    assert score("own_metric_module:f", None, "") == 1.0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 1.5", "returned 1.5: a score is a number from 0 to 1"),
        ("return -1", "returned -1"),
        ("return float('nan')", "returned nan"),
        ("return 'good'", "returned 'good'"),
        ("return None", "returned none"),
        ("return 1 / 0", "raised ZeroDivisionError"),
    ],
)
def test_impossible_scores_are_told(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(InputError, match="item of line 3") as refused:
        score(own(tmp_path, body), None, "")
    assert message in str(refused.value)


def test_a_metric_s_code_is_part_of_what_it_is(tmp_path: Path) -> None:
    dataset = Dataset(Path("d"), (), "")
    first = metric_named(own(tmp_path, "return 1"), dataset).digest
    assert metric_named(own(tmp_path, "return 0"), dataset).digest != first


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("exact-match", "did you mean `exact_match`?"),
        ("f1", "MODULE:FUNCTION"),
        ("none.py:f", "`none.py` is not a Python file"),
        ("no_such_module:f", "module `no_such_module` cannot be imported"),
        ("json:f", "module `json` has no function `f`"),
    ],
)
def test_metrics_that_there_are_not(name: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        metric_named(name, Dataset(Path("d"), (), ""))
    assert told in str(refused.value)


def test_a_file_beside_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside_metric.py").write_text("def f(result, expected): return 1")
    with pytest.raises(InputError, match=r"`beside_metric\.py:f` is the file"):
        metric_named("beside_metric:f", Dataset(Path("d"), (), ""))
