"""Every mistake in a TOML file is reported with its line, column, and what to write instead."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.ir.diagnostics import InputError
from murakkab.targets.toml_source import MAX_FINDINGS, load_toml, parse_toml, shipped_toml

TEXT = '''\
name = "x" # a comment with [brackets] = "and quotes"
a.b = 3
"q k" = [1, { x = 1, y = "]}" }, """
many "lines" """]

[[pool]]
name = 'p'
cpu.cores = 4
[pool.gpu]
type = "T"
[[pool]]
name = "second"
[pool.gpu]
type = "U"
'''


def place(path: tuple[str | int, ...], *, key: bool = False) -> str:
    span = parse_toml(TEXT, "t").span(path, key=key)
    return f"{span.line}:{span.column}-{span.end_line}:{span.end_column}"


def test_places() -> None:
    assert place(("name",)) == "1:8-1:11"
    assert place(("name",), key=True) == "1:1-1:5"
    assert place(("a", "b")) == "2:7-2:8"
    assert place(("q k", 1, "y")) == "3:26-3:30"
    assert place(("q k", 2)) == "3:34-4:17"
    assert place(("pool", 0, "cpu", "cores")) == "8:13-8:14"
    assert place(("pool", 0, "gpu", "type")) == "10:8-10:11"
    assert place(("pool", 1, "gpu", "type")) == "14:8-14:11"
    assert place(("pool", 1, "not there")) == "11:1-11:9"


keys = st.text("abc-_ .\"'é", min_size=1, max_size=6)
scalars = st.one_of(st.integers(-9, 9), st.booleans(), st.text("ab\"'\\#]}\n,=", max_size=8))
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=10,
)


def inline(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return quoted(value)
        case list():
            return "[" + ", ".join(map(inline, value)) + "]"
        case dict():
            return "{ " + ", ".join(f"{quoted(k)} = {inline(v)}" for k, v in value.items()) + " }"
    raise AssertionError(value)


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@given(st.dictionaries(keys, trees, max_size=4))
def test_every_value_is_found_where_it_stands(data: dict[str, object]) -> None:
    text = "".join(f"{quoted(k)} = {inline(v)} # note\n" for k, v in data.items())
    source = parse_toml(text, "t")
    assert source.data == data

    def check(path: tuple[str | int, ...], value: object) -> None:
        start, end = source.places[path].value
        assert text[start:end] == inline(value)
        parts = value.items() if isinstance(value, dict) else ()
        items = enumerate(value) if isinstance(value, list) else parts
        for name, part in items:
            check((*path, name), part)

    for name, value in data.items():
        check((name,), value)


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "cluster.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "where", "id", "message"),
    [
        ("name = \n", "1:8", "malformed-toml", "malformed TOML: invalid value"),
        ("name = [1", "1:10", "malformed-toml", "malformed TOML"),
        ("name = 'x'\nname = 'y'\npool = []", "2:11", "malformed-toml", "cannot overwrite a value"),
        (b"name = 'x'\n\xff", "2:1", "unreadable-file", "is not UTF-8 text"),
        (b"name = 'x\x00'", "1:10", "malformed-toml", "malformed TOML"),
        ("v = " + "[" * 20000, "1:1", "malformed-toml", "nested too deeply"),
        ("v = 1\n a" + ".'b'" * 64 + " = 1", "2:2", "malformed-toml", "more than 64 parts"),
        ("v = " + "9" * 5000, "1:1", "malformed-toml", "a number is too long"),
    ],
)
def test_files_that_are_no_toml(
    tmp_path: Path, text: str | bytes, where: str, id: str, message: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_toml(path, "cluster")
    (finding,) = caught.value.diagnostics
    assert finding.id == id
    assert message in finding.message
    assert str(finding.span) == f"{path}:{where}"


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no.toml", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(InputError, match=reason):
            load_toml(path, "cluster")


def test_a_file_of_many_megabytes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "#" * 5_000_000)
    with pytest.raises(InputError, match="more than 4000000 bytes"):
        load_toml(path, "cluster")


def test_the_first_of_many_findings_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "x"\npool = []\n' + "".join(f"k{n} = 1\n" for n in range(999)))
    with pytest.raises(InputError) as caught:
        load_toml(path, "cluster")
    assert len(caught.value.diagnostics) == MAX_FINDINGS


def test_windows_line_ends_do_not_shift_places(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "x"\r\n\r\npool = 3\r\n')
    with pytest.raises(InputError) as caught:
        load_toml(path, "cluster")
    assert [str(d.span) for d in caught.value.diagnostics] == [f"{path}:3:8"]


@pytest.mark.parametrize("folder", ["catalog", "library"])
def test_shipped_files_follow_their_schemas(folder: str) -> None:
    from jsonschema import Draft202012Validator

    from murakkab.targets.conformance import load_schema

    schema = load_schema(folder)
    Draft202012Validator.check_schema(schema)
    sources = shipped_toml(folder)
    assert sources
    for source in sources:
        assert not list(Draft202012Validator(schema).iter_errors(source.data)), source.file
