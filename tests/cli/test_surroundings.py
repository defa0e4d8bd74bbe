"""`mkb library`, `targets` and `new`: what there is, and a first project."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

from murakkab.targets.cluster import load_cluster
from murakkab.targets.detect import detect_host

Mkb = Callable[..., Result]
MkbJson = Callable[..., dict[str, Any]]


def test_every_interface_is_listed_with_what_carries_it_out(mkb_json: MkbJson) -> None:
    interfaces = {i["name"]: i for i in mkb_json("library")["interfaces"]}
    assert interfaces["transcribe"]["signature"].startswith("transcribe(scene: ")
    for interface in interfaces.values():
        qualities = [e["quality"] for e in interface["executors"]]
        assert qualities == sorted(qualities, reverse=True) and qualities
        assert all(e["available"] is (e["missing"] is None) for e in interface["executors"])


def test_what_is_missing_comes_with_the_command_that_installs_it(mkb: Mkb, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '[[executor]]\nname = "mine"\nimplements = "summarize"\ndescription = "Ours"\n'
        'runner = "python"\nentry = "summarize"\ndevices = ["cpu"]\n'
        'requires = ["no_such_module"]\ninstall = "pip install mine"\n'
        'quality = { value = 0.5, metric = "m", source = "s" }\n'
    )
    out = mkb("library", "summarize", "--library", "mine.toml").stdout
    assert "module `no_such_module`; install with `pip install mine`" in out
    (row,) = [line for line in out.split("\n") if " mine " in line]
    assert row.split()[0] == "missing"
    assert "translate" not in out


def test_an_unknown_interface_is_named(mkb_json: MkbJson) -> None:
    (found,) = mkb_json("library", "transcrib", exit_code=2)["diagnostics"]
    assert found["help"] == "did you mean `transcribe`?"


def test_targets_are_listed(mkb: Mkb, mkb_json: MkbJson) -> None:
    names = [target["name"] for target in mkb_json("targets")["targets"]]
    assert {"local", "sim"} <= set(names)
    assert all(name in mkb("targets").stdout for name in names)


def test_this_machine_is_written_as_a_cluster(mkb: Mkb, tmp_path: Path) -> None:
    assert mkb("targets", "detect", "-o", "host.toml").output == ""
    (written,), (found,) = load_cluster(tmp_path / "host.toml").pools, detect_host().pools
    assert (written.cpu, written.gpu, written.gpus) == (found.cpu, found.gpu, found.gpus)
    assert mkb("targets", "detect").stdout == (tmp_path / "host.toml").read_text()


def test_a_new_project_is_right_as_it_is_written(
    mkb: Mkb, tmp_path: Path, monkeypatch: Any
) -> None:
    out = mkb("new", "first").stdout
    assert out.rstrip().endswith("cd first && mkb run ask.mkb --inputs inputs.json")
    monkeypatch.chdir(tmp_path / "first")
    mkb("check", "ask.mkb")
    mkb("fmt", "--check", "ask.mkb")
    assert "22:40" in mkb("run", "ask.mkb", "--inputs", "inputs.json").stdout
    assert "one-a100-node" in mkb("compile", "ask.mkb", "--cluster", "cluster.toml").stdout


def test_a_new_project_overwrites_nothing(mkb: Mkb, mkb_json: MkbJson, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    assert mkb_json("new", "full", exit_code=2)["diagnostics"][0]["id"] == "not-empty"
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["x"]
    (tmp_path / "empty").mkdir()
    assert len(mkb_json("new", "empty")["written"]) == 4
