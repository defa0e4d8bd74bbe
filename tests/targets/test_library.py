"""The executor library: what is shipped, a user's own files, and what is wrong with them."""

from pathlib import Path

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.ir.types import FLOAT, TEXT, Base, ListOf, Record, Type
from murakkab.targets.catalog import load_catalog
from murakkab.targets.library import Executor, availability, load_library, load_named
from murakkab.targets.sizes import Size, default_size, rendered

VIDEO, IMAGE, AUDIO = Base("Video"), Base("Image"), Base("Audio")
SCENE = Record((("video", VIDEO), ("start", FLOAT), ("end", FLOAT)))
TEXTS, FRAMES = ListOf(TEXT), ListOf(IMAGE)
# interface -> parameters and result, as in docs/language.md, The standard library
INTERFACES: dict[str, tuple[dict[str, Type], Type]] = {
    "split_scenes": ({"video": VIDEO}, ListOf(SCENE)),
    "sample_frames": ({"scene": SCENE}, FRAMES),
    "transcribe": ({"scene": SCENE}, TEXT),
    "transcribe_audio": ({"audio": AUDIO}, TEXT),
    "detect_objects": ({"frames": FRAMES}, TEXTS),
    "read_text": ({"frames": FRAMES}, TEXT),
    "caption": ({"image": IMAGE}, TEXT),
    "embed": ({"text": TEXT}, Base("Embedding")),
    "search": ({"query": TEXT, "passages": TEXTS}, TEXTS),
    "rank": ({"query": TEXT, "passages": TEXTS}, TEXTS),
    "classify": ({"text": TEXT, "labels": TEXTS}, TEXT),
    "extract": ({"text": TEXT, "fields": TEXTS}, Base("Json")),
    "summarize": ({"text": TEXT}, TEXT),
    "answer": ({"query": TEXT, "context": TEXTS}, TEXT),
    "translate": ({"text": TEXT, "language": TEXT}, TEXT),
    "write_code": ({"problem": TEXT, "feedback": TEXT}, TEXT),
    "review": ({"code": TEXT, "report": TEXT}, TEXT),
    "run_tests": (
        {"code": TEXT, "tests": TEXT},
        Record((("passed", Base("Bool")), ("report", TEXT))),
    ),
    "webhook": ({"message": TEXT}, Base("Bool")),
    "generate": ({}, TEXT),
}
NO_CPU = {"caption", "translate", "write_code", "review", "generate"}
SHIPPED = load_library().executors


def test_every_interface_is_implemented() -> None:
    assert {e.interface for e in SHIPPED} == set(INTERFACES)
    for interface in set(INTERFACES) - NO_CPU:
        runners = {e.runner for e in SHIPPED if e.interface == interface}
        assert "python" in runners, interface


@pytest.mark.parametrize("executor", SHIPPED, ids=lambda e: e.name)
def test_shipped_executor(executor: Executor) -> None:
    params, result = INTERFACES[executor.interface]
    sizes: dict[str, Size] = {name: default_size(kind) for name, kind in params.items()}
    if executor.interface == "generate":
        sizes = {"prompt": rendered([default_size(FRAMES)], literal_tokens=50)}
    knobs = {name: choices[0] for name, choices in executor.knobs}
    for _, amount in executor.work:
        low, high = (f.evaluate(sizes, knobs) for f in (amount.p50, amount.p90))
        assert 0 < low <= high
    size = default_size(result)
    for path, amount in executor.result:
        value = amount.p50.evaluate(sizes, knobs)
        assert 0 < value <= amount.p90.evaluate(sizes, knobs)
        size = size.with_fact(path, value)
    assert dict(executor.work), "work decides what a call costs"
    assert executor.quality.source
    if executor.runner == "vllm":
        assert executor.model in load_catalog().models
        assert executor.model is not None
        kind = load_catalog().models[executor.model].kind
        asks = kind == "llm" and executor.interface != "generate"
        assert (executor.prompt is not None) == asks
        for name in params if asks else ():
            assert f"{{{name}}}" in (executor.prompt or "")
    for knob, factors in executor.quality.factors:
        assert tuple(setting for setting, _ in factors) == dict(executor.knobs)[knob]
        assert max(factor for _, factor in factors) == 1.0


def test_image_models_say_so() -> None:
    images = {e.name for e in SHIPPED if e.interface == "generate" and "image" in e.modalities}
    assert {"qwen3-vl-8b", "gemma-3-27b"} <= images
    assert "llama-3.1-8b" not in images


def test_only_language_models_have_a_context() -> None:
    known = {e.name: e.context_tokens for e in SHIPPED}
    assert known["llama-3.1-8b"] == 131072
    assert known["whisper-base"] is known["gte-large-search"] is known["rapidocr"] is None


def test_best_quality_comes_first() -> None:
    names = [e.name for e in load_library().implementing("transcribe")]
    assert names[0] == "whisper-large-v3"
    assert names[-1] == "pocketsphinx"


def test_reading_twice_gives_the_same() -> None:
    assert load_library() == load_library()
    assert len({e.digest for e in SHIPPED if e.interface == "caption"}) == 3


MINE = """\
[[executor]]
name = "mine"
implements = "caption"
description = "Our own"
runner = "python"
file = "tools.py"
entry = "describe"
knobs = { style = ["short", "long"] }
quality = { value = 0.5, metric = "ours", source = "us" }
[executor.work]
items = "pixels(image) / 1000"
"""


def own(folder: Path, text: str = MINE, name: str = "lib.toml") -> Path:
    (folder / "tools.py").write_text("def describe(image, *, style): return style\n")
    path = folder / name
    path.write_text(text)
    return path


def test_a_users_file(tmp_path: Path) -> None:
    library = load_library([own(tmp_path)])
    executor = library.get("mine")
    assert executor is not None
    assert (executor.file, executor.entry, executor.devices) == ("tools.py", "describe", ("cpu",))
    assert executor.knobs == (("style", ("short", "long")),)
    assert str(executor.loc) == f"{tmp_path / 'lib.toml'}:2:8"
    assert availability(executor) is None
    assert library.notes == ()
    assert load_library([own(tmp_path)], shipped=False).executors == (executor,)


def test_digests_follow_what_decides_a_result(tmp_path: Path) -> None:
    def digests(text: str = MINE) -> tuple[str, str]:
        library = load_library([own(tmp_path, text)])
        executor = library.get("mine")
        assert executor is not None
        return executor.digest, library.digest

    first = digests()
    assert digests() == first
    better = digests(MINE.replace("value = 0.5", "value = 0.6"))
    assert better[0] == first[0]
    assert better[1] != first[1]
    other = digests(MINE.replace('"short", ', ""))
    assert other[0] != first[0]
    path = own(tmp_path)
    (tmp_path / "tools.py").write_text("def describe(image, *, style): return 'other'\n")
    changed = load_library([path])
    mine = changed.get("mine")
    assert mine is not None
    assert mine.digest != first[0]
    assert changed.digest != first[1]


def test_a_user_replaces_a_shipped_executor(tmp_path: Path) -> None:
    library = load_library([own(tmp_path, MINE.replace('"mine"', '"pocketsphinx"'))])
    (note,) = library.notes
    assert note.severity == "note"
    assert note.message == "`pocketsphinx` replaces the shipped executor of that name"
    replaced = library.get("pocketsphinx")
    assert replaced is not None
    assert replaced.interface == "caption"
    assert len(library.executors) == len(SHIPPED)


def test_the_shipped_files_are_read_for_the_names_that_the_users_lack(tmp_path: Path) -> None:
    paths = [own(tmp_path)]
    alone = load_named(["mine"], paths)
    assert alone == load_library(paths, shipped=False)
    assert [e.name for e in alone.executors] == ["mine"]
    assert load_named(["mine", "pocketsphinx"], paths) == load_library(paths)
    assert load_named(["nowhere"], paths) == load_library(paths)
    assert load_named(["pocketsphinx"]) == load_library()


def test_two_files_may_not_share_a_name(tmp_path: Path) -> None:
    paths = [own(tmp_path), own(tmp_path, name="two.toml")]
    with pytest.raises(InputError) as caught:
        load_library(paths)
    (finding,) = caught.value.diagnostics
    assert finding.message == "an executor named `mine` is already in another library"
    assert str(finding.span) == f"{paths[1]}:2:8"
    assert str(finding.labels[0].span) == f"{paths[0]}:2:8"


@pytest.mark.parametrize(
    ("old", "new", "where", "message", "hint"),
    [
        ("implements", "implement", "3:1", "unknown key `implement` in `executor`", "implements"),
        ('"python"', '"pyton"', "5:10", "`pyton` is not a value of `executor.runner`", "python"),
        ('"tools.py"', '"../tools.py"', "6:8", "outside the library's folder", "inside its folder"),
        ('"tools.py"', '"/etc/tools.py"', "6:8", "outside the library's folder", "relative"),
        ('"tools.py"', '"none.py"', "6:8", "`none.py` is no Python file", None),
        ('entry = "describe"\n', "", "1:1", "runner `python` has no `entry`", None),
        ('"describe"', '"os.system"', "7:9", "not the name of an entry point", None),
        ('"short", "long"', '"short", "short"', "8:19", "the same choice twice", None),
        ("value = 0.5", "value = 1.5", "9:21", "not a score above 0 and at most 1", None),
        ("value = 0.5", "value = nan", "9:21", "not a finite number", None),
        ("pixels(image) / 1000", "pixels(image) / ", "11:26", "found the end", None),
        ("pixels(image)", "pixel(image)", "11:10", "did you mean `pixels`?", None),
        ("items", "item", "11:1", "unknown key `item` in `executor.work`", "items"),
        ('runner = "python"', 'runner = "mcp"', "5:10", "the runner `mcp` is not supported", None),
        (
            'runner = "python"',
            'runner = "python"\ndevices = ["gpu"]',
            "6:12",
            "cannot use the device `gpu`",
            "it uses `cpu`",
        ),
        (
            'source = "us" }',
            'source = "us", factors = { styl = [["short", 1.0]] } }',
            "9:70",
            "an unknown knob `styl`",
            "style",
        ),
        (
            'source = "us" }',
            'source = "us", factors = { style = [["short", 1.0]] } }',
            "9:78",
            "no quality factor for `long`",
            None,
        ),
        (
            'source = "us" }',
            'source = "us", together = 0.9 }',
            "9:58",
            "`together` belongs to models of `generate`, this one is of `caption`",
            None,
        ),
        (
            "[executor.work]",
            '[executor.result]\n"item.size" = 3\n[executor.work]',
            "11:1",
            "`item.size` does not end in a fact",
            "facts are",
        ),
        ('runner = "python"', 'runner = "vllm"', "1:1", "runner `vllm` has no `model`", None),
        ('runner = "python"', 'runner = "http"', "1:1", "no `settings.url` or", None),
        (
            'runner = "python"',
            'runner = "http"\nsettings = { url = "file:///etc/passwd" }',
            "6:20",
            "not an `http` or `https` URL",
            None,
        ),
        ("knobs", 'requires = ["a.b"]\nknobs', "8:13", "import name of a top-level module", None),
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


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    folder.mkdir()
    path = own(folder)
    (tmp_path / "outside.py").write_text("")
    (folder / "tools.py").unlink()
    (folder / "tools.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(InputError, match="outside the library's folder"):
        load_library([path])


def test_all_mistakes_of_a_file_at_once(tmp_path: Path) -> None:
    second = MINE.replace('"mine"', '"yours"').replace("tools.py", "none.py")
    path = own(tmp_path, MINE.replace("pixels(", "pixel(") + second)
    with pytest.raises(InputError) as caught:
        load_library([path])
    assert [d.id for d in caught.value.diagnostics] == ["bad-formula", "bad-file"]


def test_why_an_executor_cannot_run(tmp_path: Path) -> None:
    text = MINE.replace("knobs", 'requires = ["no_such_module"]\ninstall = "pip install it"\nknobs')
    executor = load_library([own(tmp_path, text)]).get("mine")
    assert executor is not None
    assert availability(executor) == (
        "missing module `no_such_module`; install with `pip install it`"
    )
    entry = MINE.replace('file = "tools.py"\n', "").replace("describe", "no_such_entry")
    executor = load_library([own(tmp_path, entry)]).get("mine")
    assert executor is not None
    assert "no installed package has the entry point `no_such_entry`" in str(availability(executor))
