"""Studies: what is read of them, and what is wrong with those that cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.passes.fleet.problem import fleet_problem
from murakkab.targets.study import load_study

DATA = Path(__file__).parents[2] / "benchmarks" / "osdi26" / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file in DATA.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path


def changed(folder: Path, file: str, old: str, new: str) -> Path:
    """Put something else into a file of the study; return the study's path."""
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    return folder / "study.toml"


def test_the_published_study() -> None:
    study = load_study(DATA / "study.toml")
    assert [w.name for w in study.workflows] == ["video_qa", "code_generation"]
    video, code = study.workflows
    assert len(video.arrivals.requests) == len(code.arrivals.requests) == 1440
    assert (video.arrivals.period_s, video.arrivals.filled) == (60.0, 124)
    assert [(k.name, k.share, k.wait_s) for k in code.classes] == [
        ("accurate", 0.7, 60.0),
        ("fast", 0.3, 0.0),
    ]
    assert (study.epoch_s, study.percentile, study.sizing) == (3600.0, "p50", "p90")
    assert code.static is not None and code.static.tp == 4
    assert dict(code.static.choices)["write"].knobs == (("debaters", "4"), ("rounds", "4"))


def test_variants_follow_the_formulas() -> None:
    """Phi-4 on two A100s at 399 tokens/s: four rounds, two debaters side by side."""
    problem = fleet_problem(load_study(DATA / "study.toml")).problem
    kind = next(k for k in problem.classes if k.name == "code_generation/fast")
    label = "Phi-4{debaters = 2, rounds = 4} on Phi-4 on a100 x2 at 399.3 tokens/s"
    found = [v for v in kind.stages[0].variants if v.label == label]
    (variant,) = found
    assert variant.quality == 0.7577
    assert variant.load == 399.3
    assert variant.busy_s == pytest.approx(2512.0 / 399.3)
    assert variant.latency_s == pytest.approx(4 * 0.43795 + 1753.5 / 2 * 0.02814)
    engine = problem.engines[variant.engine or 0]
    assert engine.gpus == 2
    assert engine.usd_per_s == pytest.approx(2 * 3.43 / 3600)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("study.toml", 'step = "answer"', 'step = "anser"', "have no step `anser`"),
        ("study.toml", "share = 0.7", "share = 0.6", "of `video_qa` add up to 0.9, not to 1"),
        ("study.toml", "share = 0.7", "share = -0.7", "share"),
        ("study.toml", 'name = "fast"', 'name = "accurate"', "already has a class"),
        ("study.toml", 'name = "code_generation"', 'name = "video_qa"', "is already in this file"),
        ("study.toml", 'name = "code_generation"', 'name = "code"', "row of workflow `code`"),
        ("study.toml", 'calls = "rounds"', 'calls = "round"', "has a knob `round`"),
        ("study.toml", 'calls = "rounds"', 'calls = "rounds +"', "expected a number, a name"),
        ("study.toml", '"answer.frames" = 10', '"answer.frames" = 7', "no configurations of"),
        (
            "study.toml",
            '"answer.frames" = 10',
            '"answer.frame" = 10',
            "`answer.frame` is no column",
        ),
        ("study.toml", '"answer.frames" = 10, ', "", "3 configurations of `video_qa`"),
        ("study.toml", 'epoch = "1 h"', 'epoch = "50 s"', "no whole number of 60 s"),
        ("study.toml", 'epoch = "1 h"', 'epoch = "-1 h"', "is not a time"),
        ("study.toml", 'objective = "cost"', 'objective = "speed"', "objective"),
        ("study.toml", 'wait = "60 s"', "wait = 60", "wait"),
        ("study.toml", 'latency = "0.9 s"', 'latency = "fairly"', "neither a time nor a tier"),
        ("study.toml", 'latency = "0.9 s"', 'latency = "-1 s"', "is not a time"),
        ("study.toml", 'latency = "0.9 s"', "accuracy = 1.5", "or a tier"),
        ("study.toml", 'latency = "0.9 s"', 'accuracy = "god"', "or a tier"),
        ("models.csv", "78.42,0.50316,19.16,614", "0,0.50316,19.16,614", "must be above 0"),
        ("models.csv", "78.42,0.50316,19.16,614", "78.42,nan,19.16,614", "must be above 0"),
        ("workflows.csv", "0.5030,1,337.5", "1.5030,1,337.5", "it must be from 0 to 1"),
        ("arrivals.csv", "0,3764.1,584.1", "0,-1,584.1", "must be a number of at least 0"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    folder: Path, file: str, old: str, new: str, said: str
) -> None:
    path = changed(folder, file, old, new)
    with pytest.raises(InputError) as caught:
        load_study(path)
    found = caught.value.diagnostics[0]
    assert said in found.message
    assert found.span is not None and Path(found.span.file).name == file


def test_gaps_are_an_error_unless_they_are_to_be_filled(folder: Path) -> None:
    path = changed(folder, "study.toml", 'gaps = "interpolate"', 'gaps = "refuse"')
    with pytest.raises(InputError, match="no requests for 124 of 1440 periods, the first at 900 s"):
        load_study(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('step = "answer"', 'file = "x.mkb"\nstep = "answer"', "`step` belongs to a workflow with"),
        ('step = "answer"', "", "`video_qa` has neither `file` nor `step`"),
    ],
)
def test_a_workflow_is_a_program_or_a_table(folder: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_study(changed(folder, "study.toml", old, new))


def test_the_published_policy_has_no_steps_to_choose(folder: Path) -> None:
    path = changed(folder, "study.toml", 'step = "answer"', 'file = "x.mkb"')
    lines = [line for line in path.read_text().splitlines() if not line.startswith("static =")]
    path.write_text('policies = ["osdi26"]\n' + "\n".join(lines))
    with pytest.raises(InputError, match="`osdi26` chooses measured configurations; `video_qa`"):
        load_study(path)


def test_a_policy_needs_what_it_runs(folder: Path) -> None:
    text = (folder / "study.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("static =")]
    (folder / "study.toml").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"policy `static` needs `\[workflow.static\]`"):
        load_study(folder / "study.toml")
    (folder / "study.toml").write_text('policies = ["joint"]\n' + "\n".join(lines))
    assert load_study(folder / "study.toml").policies == ("joint",)


def test_a_workflow_without_a_place_to_run_is_told(folder: Path) -> None:
    text = (folder / "cluster.toml").read_text().replace("A100-SXM4-80GB", "T4")
    (folder / "cluster.toml").write_text(text.replace("H100-SXM5-80GB", "L4"))
    study = load_study(folder / "study.toml")
    with pytest.raises(InputError, match="no configuration of `video_qa` has load points on"):
        fleet_problem(study)
