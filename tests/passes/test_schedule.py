"""The evaluator: what a choice of modes comes to, rule by rule."""

from dataclasses import replace

import pytest

from murakkab.passes.job.audit import check
from murakkab.passes.job.greedy import greedy
from murakkab.passes.job.problem import (
    EngineOption,
    Limit,
    Mode,
    Placement,
    Pool,
    Problem,
    Step,
    Times,
)
from murakkab.passes.job.schedule import Reason, broken, evaluate, is_better
from murakkab.passes.job.timeline import Timeline, lay_out

SERVER = EngineOption(
    label="server",
    pool=0,
    resident=True,
    replicas=1,
    gpus=2,
    cores=1,
    memory_bytes=1.0,
    gpu_memory_bytes=0.0,
    slots=4,
    startup_s=5.0,
    startup_j=100.0,
    startup_usd=1.0,
    idle_w=10.0,
    usd_per_s=0.5,
    group="server",
)
TOOL = replace(
    SERVER, label="tool", resident=False, gpus=0, startup_s=0.0, idle_w=0.0, group="tool"
)
NODE = Pool("a100", nodes=1, gpus=4, cores=8, memory_bytes=100.0)


def run(engine: int | None, seconds: float, slots: int = 1, **changes: object) -> Mode:
    times = (Times(seconds, seconds, seconds),)
    return replace(Mode(f"on {engine}", engine, slots, times, 1.0, 0.1, 1.0), **changes)  # type: ignore[arg-type]


def job(
    *steps: Step, engines: tuple[EngineOption, ...] = (SERVER, TOOL), pool: Pool = NODE
) -> Problem:
    return Problem(steps, engines, (pool,), ("latency",))


def placed(problem: Problem, *modes: int) -> Placement:
    found = evaluate(problem, modes or [0] * len(problem.steps))
    assert isinstance(found, Placement), found
    assert check(problem, found) == []
    return found


def test_a_step_starts_when_those_it_comes_after_have_ended() -> None:
    found = placed(job(Step("a", (run(1, 3.0),)), Step("b", (run(1, 2.0),), after=(0,))))
    assert found.starts_s == (0.0, 3.0)
    assert found.metrics.latency_s == (5.0,)


def test_a_streaming_step_overlaps_and_ends_after_its_last_input() -> None:
    slow = run(1, 10.0, times=(Times(10.0, 2.0, 1.0),))
    quick = run(1, 3.0, times=(Times(3.0, 0.5, 0.5),))
    found = placed(job(Step("a", (slow,)), Step("b", (quick,), streams=(0,))))
    assert found.starts_s == (0.0, 2.0)
    assert found.ends_s == (10.0, 10.5)


def test_steps_share_the_slots_of_an_engine_and_wait_beyond_them() -> None:
    found = placed(job(*(Step(f"s{i}", (run(0, 4.0, slots=2),)) for i in range(3))))
    assert sorted(found.starts_s) == [0.0, 0.0, 4.0]


def test_an_engine_needed_at_once_is_started_before_the_job_and_held_from_zero() -> None:
    found = placed(job(Step("a", (run(0, 4.0),))))
    (hold,) = found.holds
    assert hold.prestarted and (hold.start_s, hold.end_s) == (0.0, 4.0)
    assert found.metrics.energy_j == pytest.approx(1.0 + 100.0 + 10.0 * 4.0)
    assert found.metrics.cost_usd == pytest.approx(0.1 + 1.0 + 0.5 * 4.0)


def test_an_engine_needed_late_is_started_just_in_time() -> None:
    found = placed(job(Step("a", (run(1, 20.0),)), Step("b", (run(0, 4.0),), after=(0,))))
    (hold,) = [hold for hold in found.holds if hold.engine == 0]
    assert not hold.prestarted and (hold.start_s, hold.end_s) == (15.0, 24.0)


def test_engines_take_turns_on_gpus_they_do_not_fit_on_together() -> None:
    large = replace(SERVER, gpus=4, label="large", group="large")
    other = replace(SERVER, gpus=4, label="other", group="other")
    first, second = Step("a", (run(0, 4.0),)), Step("b", (run(1, 4.0),), after=(0,))
    found = placed(job(first, second, engines=(large, other)))
    assert found.starts_s == (0.0, 9.0)  # 4 s of the first, then 5 s of start-up
    assert found.metrics.gpus == 4


def test_engines_that_are_needed_in_turns_but_do_not_fit_together_have_no_timeline() -> None:
    large = replace(SERVER, gpus=4, label="large", group="large")
    other = replace(SERVER, gpus=4, label="other", group="other")
    steps = (
        Step("a", (run(0, 1.0),)),
        Step("b", (run(1, 1.0),), after=(0,)),
        Step("c", (run(0, 1.0),), after=(1,)),
    )
    found = evaluate(job(*steps, engines=(large, other)), (0, 0, 0))
    assert isinstance(found, Reason)
    assert "other" in found.text


def test_a_transient_engine_takes_as_many_replicas_as_it_has_calls() -> None:
    wide = replace(TOOL, replicas=8, slots=8)
    found = placed(
        job(*(Step(f"s{i}", (run(0, 2.0, slots=3),)) for i in range(3)), engines=(wide,))
    )
    assert sorted(found.starts_s) == [0.0, 0.0, 2.0]  # 3 + 3 of 8 slots and cores


def test_transient_runs_wait_for_cores_held_by_a_resident_engine() -> None:
    server = replace(SERVER, cores=6, startup_s=0.0)
    tool = replace(TOOL, cores=4)
    found = placed(
        job(Step("a", (run(0, 3.0),)), Step("b", (run(1, 1.0),)), engines=(server, tool))
    )
    assert found.starts_s in ((0.0, 3.0), (1.0, 0.0))


def test_what_is_left_out_takes_nothing() -> None:
    skipped = replace(run(None, 0.0, slots=0), energy_j=0.0, usd=0.0, quality=0.9)
    found = placed(job(Step("a", (run(1, 1.0),)), Step("b", (skipped,), after=(0,))))
    assert found.metrics.latency_s == (1.0,)
    assert found.metrics.accuracy == pytest.approx(0.9)


def test_replicas_stand_on_several_nodes_and_their_peaks_add_up() -> None:
    two = Pool("a100", nodes=2, gpus=4, cores=8, memory_bytes=100.0)
    pair = replace(SERVER, gpus=3, replicas=2)
    found = placed(job(Step("a", (run(0, 4.0),)), engines=(pair,), pool=two))
    assert sorted(node for node, _ in found.holds[0].replicas) == [0, 1]
    assert found.metrics.gpus == 6


def test_modes_that_assume_another_output_of_an_earlier_step_are_refused() -> None:
    many, few = run(1, 2.0, emits=1), run(1, 1.0, emits=0)
    reader = (run(1, 2.0, when=((0, 1),)), run(1, 1.0, when=((0, 0),)))
    problem = job(Step("frames", (many, few)), Step("read", reader, after=(0,)))
    assert placed(problem, 0, 0).metrics.latency_s == (4.0,)
    found = evaluate(problem, (0, 1))
    assert isinstance(found, Reason)
    assert "`read`" in found.text and "`frames`" in found.text


def test_alternatives_of_one_group_are_not_used_together() -> None:
    twin = replace(SERVER, label="twin")
    problem = job(Step("a", (run(0, 1.0),)), Step("b", (run(1, 1.0),)), engines=(SERVER, twin))
    assert isinstance(evaluate(problem, (0, 0)), Reason)


def test_every_percentile_is_laid_out_with_its_own_times() -> None:
    mode = run(0, 2.0, times=(Times(2.0, 2.0, 2.0), Times(6.0, 6.0, 6.0)))
    steps = (Step("a", (mode,)), Step("b", (mode,), after=(0,)))
    found = placed(replace(job(*steps), percentiles=("p50", "p95")))
    assert found.metrics.latency_s == (4.0, 12.0)


def test_longer_steps_never_end_the_job_earlier() -> None:
    """The anomaly of Graham 1969: nine steps on three servers take 13 s, each 1 s longer 12 s."""
    after = {4: (3,), 5: (3,), 6: (3,), 7: (3,), 8: (0,)}
    steps = []
    for index, longer in enumerate((3.0, 2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 4.0, 9.0)):
        times = tuple(Times(seconds, seconds, seconds) for seconds in (longer - 1, longer))
        steps.append(Step(f"s{index}", (run(1, 1.0, times=times),), after=after.get(index, ())))
    three = replace(TOOL, slots=3, replicas=3)
    problem = replace(job(*steps, engines=(SERVER, three)), percentiles=("p50", "p95"))
    modes, order = [step.modes[0] for step in steps], [float(n) for n in range(9)]
    alone = lay_out(problem, modes, order, 1)
    assert isinstance(alone, Timeline) and alone.makespan_s == 12.0
    found = evaluate(problem, [0] * 9, order)
    assert isinstance(found, Placement)
    assert found.metrics.latency_s[0] == 13.0
    assert found.metrics.latency_s[1] >= 13.0


def test_limits_and_objectives_compare_metrics() -> None:
    problem = job(Step("a", (run(1, 4.0, quality=0.8), run(1, 6.0))))
    fast, good = placed(problem, 0), placed(problem, 1)
    assert is_better(problem, fast.metrics, good.metrics)
    accurate = replace(problem, limits=(Limit("accuracy", ">=", 0.9, "accuracy >= 0.9"),))
    assert [limit.text for limit in broken(accurate, fast.metrics)] == ["accuracy >= 0.9"]
    assert greedy(accurate) == good


def test_the_audit_finds_what_is_wrong() -> None:
    problem = job(Step("a", (run(0, 3.0),)), Step("b", (run(0, 2.0),), after=(0,)))
    found = placed(problem)
    early = replace(found, starts_s=(0.0, 1.0))
    assert any("starts before" in fault for fault in check(problem, early))
    free = replace(found, metrics=replace(found.metrics, energy_j=0.0))
    assert any("energy" in fault for fault in check(problem, free))
    short = replace(found, holds=(replace(found.holds[0], end_s=1.0),))
    assert any("not up" in fault for fault in check(problem, short))


def test_standing_engines_are_held_side_by_side_all_the_time() -> None:
    from dataclasses import replace

    from murakkab.passes.job.audit import check
    from murakkab.passes.job.problem import EngineOption, Mode, Pool, Problem, Step, Times

    engine = EngineOption(
        "a", 0, True, 1, 4, 1, 1.0, 1.0, 8, 5.0, 0.0, 0.0, 0.0, 0.0, "a", standing=True
    )
    big = replace(engine, label="b", group="b", gpus=8)
    second = replace(engine, label="c", group="c")
    times = (Times(1.0, 1.0, 1.0),)

    def step(name: str, *engines: int, after: tuple[int, ...] = ()) -> Step:
        modes = tuple(Mode(f"on {e}", e, 1, times, 1.0 + e, 0.0, 1.0) for e in engines)
        return Step(name, modes, after=after)

    steps = (step("x", 0), step("y", 1, 2, after=(0,)))
    problem = Problem(steps, (engine, big, second), (Pool("p", 1, 8, 8, 100.0),), ("energy",))
    assert isinstance(evaluate(problem, (0, 0)), Reason)  # 4 and 8 GPUs, one after the other
    found = evaluate(problem, (0, 1))
    assert not isinstance(found, Reason)
    assert check(problem, found) == []
    assert {(h.start_s, h.end_s) for h in found.holds} == {(0.0, 2.0)}
    assert found.metrics.gpus == 8
    from murakkab.passes.job.solver import solve

    best = solve(problem, budget=5.0)
    assert best.modes == (0, 1)
    assert check(problem, best) == []
