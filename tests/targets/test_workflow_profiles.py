"""Workflow profiles: what is read back, and what is refused where."""

from pathlib import Path

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.targets.profiles import load_profiles
from murakkab.targets.workflow_profiles import (
    Choice,
    MeasuredConfiguration,
    load_workflow_profiles,
    workflow_profile_csv,
)

HEADER = "workflow,a.executor,a.k,b.executor,accuracy,n,tokens_prompt_p50,source\n"


def write(folder: Path, text: str, name: str = "p.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    rows = (
        MeasuredConfiguration(
            "w",
            (("a", Choice.of("x", [("k", 5), ("t", 0.5)])), ("b", Choice(None))),
            0.25,
            40,
            (10.0, 20.0, None, None),
            'a "test", with a comma',
        ),
        MeasuredConfiguration(
            "w",
            (("a", Choice.of("y", [("on", True)])), ("b", Choice("z"))),
            1.0,
            4,
            source="a test",
        ),
    )
    path = write(tmp_path, workflow_profile_csv(rows))
    assert load_workflow_profiles([path]).rows == rows
    assert load_workflow_profiles([path]).of("v") == ()
    # a profile of workflows is none of models
    assert load_profiles([path]).digest == load_profiles().digest


def test_a_file_of_models_is_none_of_workflows(tmp_path: Path) -> None:
    text = "model,precision,device,tp,load_items_per_s,latency_p50_s,source\nx,,cpu,0,1,1,s\n"
    assert load_workflow_profiles([write(tmp_path, text)]).rows == ()


def test_settings_have_one_form(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "w,x,5.0,left out,0.5,4,,s\n")
    (row,) = load_workflow_profiles([path]).rows
    assert row.choices == (("a", Choice.of("x", [("k", 5)])), ("b", Choice(None)))


def test_workflows_may_share_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "w,x,5,,0.5,4,,s\nv,,,z,0.5,4,,s\n")
    profiles = load_workflow_profiles([path])
    assert [dict(r.choices).keys() for r in profiles.rows] == [{"a"}, {"b"}]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (HEADER + "w,x,5,z,1.5,4,,s\n", "2:9", "`accuracy` is 1.5; it must be from 0 to 1"),
        (HEADER + "w,x,5,z,nan,4,,s\n", "2:9", "`accuracy` is nan"),
        (HEADER + "w,x,5,z,,4,,s\n", "2:9", "`accuracy` is empty"),
        (HEADER + "w,x,5,z,good,4,,s\n", "2:9", "`accuracy` is good"),
        (HEADER + "w,x,5,z,0.5,0,,s\n", "2:13", "`n` is 0; it must be a whole number"),
        (HEADER + "w,x,5,z,0.5,2.5,,s\n", "2:13", "`n` is 2.5"),
        (HEADER + "w,x,5,z,0.5,4,-1,s\n", "2:15", "`tokens_prompt_p50` is -1"),
        (HEADER + "w,x,5,z,0.5,4,inf,s\n", "2:15", "`tokens_prompt_p50` is inf"),
        (HEADER + "w,x,5,z,0.5,4,,\n", "2:16", "`source` is empty"),
        (HEADER + ",x,5,z,0.5,4,,s\n", "2:1", "`workflow` is empty"),
        (HEADER + "w,x,5,z,0.5,4,,s\n\nw,x,5,,0.4,4,,s\n", "4:7", "`b.executor` is empty"),
        (HEADER + "w,left out,5,z,0.5,4,,s\n", "2:12", "`a` has no executor"),
        (HEADER + "w,x,5,z,0.5,4,,s\nw,x,5.0,z,0.4,9,,s\n", "3:1", "stands there twice"),
        (HEADER + "w,x,5,z,0.5\n", "2:1", "the row has 5 cells, the header 8"),
        (HEADER.replace("a.executor", "a.exec") + "w", "1:10", "without a column `a.executor`"),
        (HEADER.replace("accuracy", "acuracy") + "w", "1:1", "no column `accuracy`"),
        (HEADER.replace("a.k", "b.executor") + "w", "1:1", "`b.executor` stands there twice"),
    ],
)
def test_impossible_profiles_are_refused(
    tmp_path: Path, text: str, place: str, message: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as refused:
        load_workflow_profiles([path])
    told = {str(d.span): d.message for d in refused.value.diagnostics}
    assert message in told[f"{path}:{place}"]
    assert all(d.id == "bad-profile" for d in refused.value.diagnostics)


def test_a_configuration_may_not_stand_in_two_files(tmp_path: Path) -> None:
    text = HEADER + "w,x,5,z,0.5,4,,s\n"
    paths = [write(tmp_path, text, name) for name in ("p.csv", "q.csv")]
    with pytest.raises(InputError) as refused:
        load_workflow_profiles(paths)
    (found,) = refused.value.diagnostics
    assert str(found.span) == f"{paths[1]}:2:1"
    assert str(found.labels[0].span) == f"{paths[0]}:2:1"
