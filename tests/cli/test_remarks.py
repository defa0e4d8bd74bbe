"""What passes did and refused: counted by `opt`, told by `explain`, kept in plans."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from murakkab.cli.main import cli

SOURCE = """
task plan_for(q: Text) -> Text
    prompt "How would you go about {q}?"
task note(q: Text, doc: Text) -> Text
    prompt "Note what {doc} says of {q}"

workflow w(q: Text, docs: [Text]) -> [{p: Text, n: Text, s: Text}]
{
    return for doc in docs {
        yield {p: plan_for(q), n: note(q, doc), s: plan_for(q) with { temperature: 0.9 }}
    }
}
"""
A100 = Path(__file__).parents[2] / "examples/clusters/one-a100-node.toml"


def mkb(folder: Path, *arguments: str) -> Result:
    (folder / "w.mkb").write_text(SOURCE)
    given = [str(folder / a) if a.startswith("w.") else a for a in arguments]
    return CliRunner().invoke(cli, given, env={"COLUMNS": "100", "NO_COLOR": "1"})


def test_opt_counts_what_each_pass_did_and_refused(tmp_path: Path) -> None:
    done = mkb(tmp_path, "opt", "w.mkb", "--passes", "hoist", "--stats", "-o", "w.mkir")
    assert done.exit_code == 0
    header, hoist, calls = done.stderr.splitlines()
    assert header.split() == ["pass", "rewrite", "operations", "calls", "applied", "refused"]
    assert hoist.split()[0] == "hoist" and hoist.endswith("3 → 3")
    assert calls.split() == ["invariant", "calls", "1", "1"]
    assert (tmp_path / "w.mkir").read_text().startswith("module flow")


def test_opt_tells_where_and_which_guard(tmp_path: Path) -> None:
    done = mkb(tmp_path, "opt", "w.mkb", "--passes", "hoist", "--remarks", "-o", "w.mkir")
    refused, did = done.stderr.splitlines()
    assert did.endswith("w.mkb:10:19: hoist invariant calls: made once instead of for each item")
    assert refused.endswith("w.mkb:10:52: hoist invariant calls refused: each sample is another")


def test_opt_gives_both_as_json(tmp_path: Path) -> None:
    done = mkb(tmp_path, "opt", "w.mkb", "--passes", "hoist", "--stats", "--remarks", "--json")
    document = json.loads(done.stdout)
    (stats,) = document["stats"]
    assert stats["pass"] == "hoist" and stats["calls"] == [3, 3]
    assert stats["rewrites"] == {"invariant calls": {"applied": 1, "refused": 1}}
    assert [remark["applied"] for remark in document["remarks"]] == [False, True]


def test_plans_keep_them_and_explain_tells_them(tmp_path: Path) -> None:
    plan = str(tmp_path / "plan.json")
    done = mkb(tmp_path, "compile", "w.mkb", "--cluster", str(A100), "-o", plan)
    assert done.exit_code == 0, done.stderr
    told = mkb(tmp_path, "explain", plan).stdout
    rewritten, refused = told.split("not rewritten:")
    assert "hoist invariant calls: made once instead of for each item" in rewritten
    assert "hoist invariant calls: each sample is another" in refused
    assert "note: a run makes 11 calls; as it is written it would make 15" in told
    found = json.loads(mkb(tmp_path, "explain", plan, "--json").stdout)["remarks"]
    assert found == json.loads(Path(plan).read_text())["remarks"]


def test_a_plan_without_optimisation_has_none(tmp_path: Path) -> None:
    plan = str(tmp_path / "plan.json")
    mkb(tmp_path, "compile", "w.mkb", "--cluster", str(A100), "-O0", "-o", plan)
    assert json.loads(Path(plan).read_text())["remarks"] == []
    assert "rewritten" not in mkb(tmp_path, "explain", plan).stdout


def test_explain_tells_what_a_call_is_part_of(tmp_path: Path) -> None:
    text = SOURCE.replace("temperature: 0.9", 'executor: "vote", votes: 3')
    (tmp_path / "v.mkb").write_text(text)
    plan = str(tmp_path / "plan.json")
    done = mkb(tmp_path, "compile", str(tmp_path / "v.mkb"), "--cluster", str(A100), "-o", plan)
    assert done.exit_code == 0, done.output
    assert "  part of   vote{votes = 3}\n" in mkb(tmp_path, "explain", plan).stdout
