from pathlib import Path

import pytest

from murakkab.compiler.frontend import check_file, check_text
from murakkab.ir.diagnostics import CompileError, Diagnostic, InputError
from murakkab.ir.verifier import verify

MAIN = "workflow main(q: Text) -> Text { return f(q) }"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "main.mkb"


def errors(folder: Path, files: dict[str, str]) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as caught:
        check_file(write(folder, files))
    return caught.value.diagnostics


def test_types_tasks_and_workflows_are_imported(tmp_path: Path) -> None:
    shared = (
        'type Note = { text: Text }\ntask tell(note: Note) -> Text "Tell."\n'
        "workflow twice(n: Note) -> Text { return tell(n) + tell(n) }"
    )
    main = 'import "lib/notes"\nworkflow main(n: Note) -> Text { return tell(n) + twice(n) }'
    checked = check_file(write(tmp_path, {"main.mkb": main, "lib/notes.mkb": shared}))
    verify(checked.module)
    assert checked.workflow_names == ("main",)
    assert [op.symbol for op in checked.module.workflows[0].calls()] == ["tell"] * 3
    assert set(checked.sources) == {str(tmp_path / "main.mkb"), str(tmp_path / "lib/notes.mkb")}


def test_an_imported_file_may_import_from_the_whole_tree_of_the_program(tmp_path: Path) -> None:
    files = {
        "main.mkb": 'import "a/one"\n' + MAIN,
        "a/one.mkb": 'import "../b/two.mkb"\ntask f(x: T) -> T "Do."',
        "b/two.mkb": "type T = Text",
    }
    assert [t.name for t in check_file(write(tmp_path, files)).module.tasks] == ["f"]


def test_imports_are_not_passed_on(tmp_path: Path) -> None:
    files = {
        "main.mkb": 'import "one"\n' + MAIN,
        "one.mkb": 'import "two"',
        "two.mkb": 'task f(x: Text) -> Text "Do."',
    }
    assert [e.id for e in errors(tmp_path, files)] == ["unknown-task"]


@pytest.mark.parametrize("path", ["../other", "/etc/passwd", "a/../../x", "link/x"])
def test_an_import_may_not_leave_the_tree(tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x.mkb").write_text("type T = Text")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/link").symlink_to(tmp_path / "outside")
    (found,) = errors(tmp_path / "inside", {"main.mkb": f'import "{path}"\n{MAIN}'})
    assert (found.id, str(found.span).rsplit(":", 2)[1:]) == ("import-escape", ["1", "8"])


def test_a_nested_import_may_not_leave_the_tree_of_the_root_file(tmp_path: Path) -> None:
    files = {"main.mkb": 'import "a/one"', "a/one.mkb": 'import "../../x"'}
    (found,) = errors(tmp_path, files)
    assert found.id == "import-escape"
    assert found.span is not None and found.span.file == str(tmp_path / "a/one.mkb")


def test_cycles_are_reported_once_with_their_path(tmp_path: Path) -> None:
    files = {
        "main.mkb": 'import "one"',
        "one.mkb": 'import "two"',
        "two.mkb": 'import "one"',
    }
    (found,) = errors(tmp_path, files)
    assert found.id == "import-cycle"
    assert "one.mkb` -> `" in found.message and found.message.endswith("one.mkb`")


def test_a_diamond_is_no_cycle_and_no_ambiguity(tmp_path: Path) -> None:
    files = {
        "main.mkb": 'import "a"\nimport "b"\nimport "base"\nimport "base"\n' + MAIN,
        "a.mkb": 'import "base"',
        "b.mkb": 'import "base"',
        "base.mkb": 'task f(x: Text) -> Text "Do."',
    }
    assert check_file(write(tmp_path, files)).warnings == ()


def test_missing_files_are_suggested(tmp_path: Path) -> None:
    (found,) = errors(tmp_path, {"main.mkb": f'import "shard"\n{MAIN}', "shared.mkb": ""})
    assert (found.id, found.help) == ("unknown-import", "did you mean `shared`?")
    (found,) = errors(tmp_path, {"main.mkb": f'import "std/medai"\n{MAIN}'})
    assert (found.id, found.help) == ("unknown-import", "did you mean `std/media`?")


def test_faults_of_imported_files_stand_where_they_are(tmp_path: Path) -> None:
    files = {
        "main.mkb": 'import "syntax"\nimport "types"\n' + MAIN,
        "syntax.mkb": "task (",
        "types.mkb": "type A = Missing\nworkflow w(x: Text) -> Int { return x }",
    }
    found = errors(tmp_path, files)
    places = [(Path(d.span.file).name, d.span.line, d.id) for d in found if d.span is not None]
    assert places[1:] == [("types.mkb", 1, "unknown-type"), ("types.mkb", 2, "type-mismatch")]
    assert places[0][0] == "syntax.mkb"


def test_an_imported_folder_or_binary_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder.mkb").mkdir()
    (tmp_path / "binary.mkb").write_bytes(b"type A = \xff\xfe")
    found = errors(tmp_path, {"main.mkb": f'import "folder"\nimport "binary"\n{MAIN}'})
    assert [d.id for d in found] == ["not-utf8", "unknown-import"]
    assert found[0].span is not None and found[0].span.file == str(tmp_path / "binary.mkb")


def test_own_names_shadow_imported_ones_with_a_warning() -> None:
    text = (
        'import "std/text"\nimport "std/media"\ntype Scene = Text\n'
        'task answer(query: Text) -> Text "Answer."\n'
        "workflow main(q: Scene) -> Text { return answer(q) }"
    )
    warnings = check_text(text).warnings
    assert [(d.id, d.span.line) for d in warnings if d.span] == [
        ("shadowed-name", 3),
        ("shadowed-name", 4),
    ]
    assert [d.labels[0].span.file for d in warnings] == ["std/media.mkb", "std/text.mkb"]


def test_clashing_imports_are_an_error_only_where_the_name_is_used(tmp_path: Path) -> None:
    files = {
        "one.mkb": 'task f(x: Text) -> Text "One."\ntype T = Int',
        "two.mkb": 'task f(x: Text) -> Text "Two."\ntype T = Text',
        "main.mkb": 'import "one"\nimport "two"\nworkflow main(q: Text) -> Text { return q }',
    }
    check_file(write(tmp_path, files))
    files["main.mkb"] = (
        files["main.mkb"].replace("return q", "return f(q)").replace("q: Text", "q: T")
    )
    found = errors(tmp_path, files)
    assert [d.id for d in found] == ["ambiguous-name", "ambiguous-name"]
    assert {Path(label.span.file).name for d in found for label in d.labels} == {
        "one.mkb",
        "two.mkb",
    }


def test_tasks_of_one_name_from_two_files_get_symbols_of_their_own(tmp_path: Path) -> None:
    files = {
        "lib.mkb": 'task f(x: Text) -> Text "Theirs."\nworkflow w(x: Text) -> Text { return f(x) }',
        "main.mkb": 'import "lib"\ntask f(x: Text) -> Text "Ours."\n'
        "workflow main(q: Text) -> Text { return w(q) + f(q) }",
    }
    module = check_file(write(tmp_path, files)).module
    verify(module)
    assert [(t.name, t.description) for t in module.tasks] == [("f", "Ours."), ("f_1", "Theirs.")]
    assert [op.symbol for op in module.workflows[0].calls()] == ["f_1", "f"]


def test_text_without_a_file_imports_the_standard_library_only(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        check_text('import "lib"\ntype A = Missing')
    assert [d.id for d in caught.value.diagnostics] == ["unknown-import"]
    write(tmp_path, {"lib.mkb": "type Missing = Text"})
    assert check_text('import "lib"\ntype A = Missing', root=tmp_path).warnings == ()


def test_sources_are_kept_when_the_program_is_wrong(tmp_path: Path) -> None:
    sources: dict[str, str] = {}
    path = write(tmp_path, {"main.mkb": 'import "std/net"\ntype A = B'})
    with pytest.raises(CompileError):
        check_file(path, sources)
    assert set(sources) == {str(path), "std/net.mkb"}


def test_a_file_that_cannot_be_read_is_no_fault_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        check_file(tmp_path / "nothing.mkb")
