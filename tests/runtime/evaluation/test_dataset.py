"""Datasets: what is read, and what is told with its line."""

import json
from pathlib import Path

import pytest

from murakkab.compiler.frontend import check_text, select
from murakkab.ir.diagnostics import InputError
from murakkab.ir.workflow import Workflow
from murakkab.runtime.evaluation.dataset import load_dataset


@pytest.fixture(scope="module")
def workflow() -> Workflow:
    text = "workflow w(query: Text, count: Int, photo: Image?) -> Text { return query }"
    return select(check_text(text)).sole()


def write(folder: Path, *lines: object) -> Path:
    path = folder / "d.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts))
    return path


def test_items_have_inputs_and_what_is_expected(tmp_path: Path, workflow: Workflow) -> None:
    (tmp_path / "a.png").write_bytes(b"png")
    path = write(
        tmp_path,
        {"query": "a", "count": 1, "photo": "a.png", "expected": "x", "id": 7},
        "",
        {"query": "b", "count": 2, "expected": ["y", "z"]},
    )
    items = load_dataset(path, workflow).items
    assert [item.line for item in items] == [1, 3]
    assert items[0].inputs["photo"].path == str(tmp_path / "a.png")
    assert items[1].inputs == {"query": "b", "count": 2, "photo": None}
    assert [item.expected for item in items] == ["x", ["y", "z"]]


def test_the_digest_follows_content_not_layout(tmp_path: Path, workflow: Workflow) -> None:
    one = {"query": "a", "count": 1, "photo": "a.png", "expected": "x"}
    (tmp_path / "a.png").write_bytes(b"png")
    first = load_dataset(write(tmp_path, one), workflow).digest
    same = json.dumps(dict(reversed(one.items())), indent=None) + "\n\n"
    assert load_dataset(write(tmp_path, same), workflow).digest == first
    (tmp_path / "a.png").write_bytes(b"another")
    assert load_dataset(write(tmp_path, one), workflow).digest != first
    assert load_dataset(write(tmp_path, {**one, "expected": "y"}), workflow).digest != first


def test_another_field_may_hold_what_is_expected(tmp_path: Path, workflow: Workflow) -> None:
    path = write(tmp_path, {"query": "a", "count": 1, "gold": "x"})
    assert load_dataset(path, workflow, "gold").items[0].expected == "x"
    with pytest.raises(InputError, match="an input of workflow `w`"):
        load_dataset(path, workflow, "query")


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ('{"query": "a", }', 16, "not JSON"),
        ("[1]", 1, "the line is not a JSON object"),
        ('{"count": 1, "expected": ""}', 1, "input `query: Text` is missing"),
        ('{"query": "a", "count": "1", "expected": ""}', 1, "input `count`: expected Int"),
        ('{"query": "a", "count": 1}', 1, "field `expected` is missing"),
        ('{"query": "a", "count": 1, "expected": "", "photo": "b.png"}', 1, "does not exist"),
        ('{"query": "a", "count": 1, "expected": "", "foto": "b.png"}', 1, "`photo: Image?`"),
    ],
)
def test_wrong_items_are_told_with_their_line(
    tmp_path: Path, workflow: Workflow, line: str, column: int, message: str
) -> None:
    path = write(tmp_path, {"query": "a", "count": 1, "expected": "x"}, line)
    with pytest.raises(InputError) as refused:
        load_dataset(path, workflow)
    (found,) = refused.value.diagnostics
    assert found.id == "bad-item" and message in found.message
    assert str(found.span) == f"{path}:2:{column}"


def test_a_dataset_without_items_is_refused(tmp_path: Path, workflow: Workflow) -> None:
    with pytest.raises(InputError, match="holds no items"):
        load_dataset(write(tmp_path, "", " "), workflow)
    with pytest.raises(InputError, match="there is no file"):
        load_dataset(tmp_path / "none.jsonl", workflow)


def test_many_findings_are_cut_short(tmp_path: Path, workflow: Workflow) -> None:
    with pytest.raises(InputError) as refused:
        load_dataset(write(tmp_path, *["[]"] * 50), workflow)
    assert len(refused.value.diagnostics) == 21
    assert "30 more findings" in str(refused.value)
