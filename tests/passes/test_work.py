"""Work analysis: how often, on how much, after what; case by case where that is undecided."""

from dataclasses import replace
from typing import TypeVar

from murakkab.ir.reader import read_module
from murakkab.ir.verifier import verify
from murakkab.ir.workflow import scored_result
from murakkab.passes.bind import Bind
from murakkab.passes.configurations import configurations, result_size, work_of
from murakkab.passes.varying import MAX_CASES, Varying, combine, depend, fixed, merge, widen
from murakkab.passes.work import Count, StepWork, analyse
from murakkab.targets.sizes import FIELD_TOKENS, Size

from .worlds import A100, flow, world


def steps(text: str) -> dict[str, StepWork]:
    context = world(A100)
    module = Bind().run(flow(text), context)
    configured = {op.out().name: configurations(op, context) for op in module.sole().calls()}
    return {step.op.out().name: step for step in analyse(module, configured)}


T = TypeVar("T")


def the(values: Varying[T]) -> T:
    (value,) = values.values()
    return value


VIDEO = """
workflow w(query: Text, video: Video) -> Text
    expect video.duration = 80 s
    expect len(scenes) = 8
    expect tokens(answer) = 50
{
    scenes = split_scenes(video)
    notes = for scene in scenes {
        frames = sample_frames(scene)
        speech = optional transcribe(scene)
        seen = read_text(frames)
        yield seen + (speech ?? "")
    }
    return answer(query, notes)
}
"""


def test_expectations_size_the_work() -> None:
    found = steps(VIDEO)
    assert {c.calls for c in found["frames"].counts.values()} == {8.0}
    assert {c.calls for c in found["answer"].counts.values()} == {1.0}
    assert the(found["scenes"].sizes)["video"].duration == 80.0
    assert found["answer"].expected == (50.0,)


def test_a_size_depends_on_the_knob_that_decides_it() -> None:
    found = steps(VIDEO)
    knobs = [dict(c.knobs)["frames"] for c in found["frames"].configurations]
    images = {case: sizes["frames"].total("images") for case, sizes in found["seen"].sizes.items()}
    assert sorted(images.values()) == sorted(float(str(k)) for k in knobs)
    for case, count in images.items():
        ((step, output),) = case
        assert step == "frames"
        assert float(str(knobs[found["frames"].classes.index(output)])) == count


def test_an_answer_without_text_is_as_long_as_its_type() -> None:
    found = steps("""
task fits(q: Text) -> Bool
    prompt "{q}"
task rate(q: Text) -> {score: Int, mood: "good" | "bad"}
    prompt "{q}"
task tell(q: Text) -> Text
    prompt "{q}"
workflow w(q: Text) -> {a: Bool, b: {score: Int, mood: "good" | "bad"}, c: Text} {
    return {a: fits(q), b: rate(q), c: tell(q)}
}
""")
    tokens = {
        step.task.name: work_of(step.task, step.configurations[0], the(step.sizes)).output_tokens[0]
        for step in found.values()
    }
    assert tokens == {"fits": 1.0, "rate": 2 * 2.0 + 2 * FIELD_TOKENS, "tell": 200.0}


BOTH = """
module logical
task @both(%q: Text) -> {said: Text, told: Text, fits: Bool} {answers = ["say", "tell", "fit"],
    binding = ["q"], interface = "generate", prompt = "{q}"}
workflow @w(%q: Text) -> {said: Text, told: Text, fits: Bool}
    expect "tokens(say)" = 50.0
{
  %all = call @both(%q) {candidates = [@llama-3.1-8b]} : {said: Text, told: Text, fits: Bool}
  return(%all)
}
"""


def test_several_answers_are_as_long_as_each_of_them() -> None:
    context, module = world(A100), read_module(BOTH)
    verify(module)
    (call,) = module.sole().calls()
    (step,) = analyse(module, {"all": configurations(call, context)})
    (config,) = step.configurations
    output = work_of(step.task, config, the(step.sizes), step.expected).output_tokens
    assert output == (50.0 + 200.0 + 1.0 + 3 * FIELD_TOKENS, 50.0 + 400.0 + 1.0 + 3 * FIELD_TOKENS)
    (size,) = the(step.outputs)
    tokens = {"said": 50.0, "told": 200.0, "fits": 1.0}
    assert {name: part.tokens for name, part in size.fields} == tokens
    scored = replace(step.task, scored=True, result=scored_result(step.task.result))
    size = result_size(scored, config, the(step.sizes), step.expected).field("value") or Size()
    assert {name: part.tokens for name, part in size.fields} == tokens


def test_what_waits_for_what() -> None:
    found = steps(VIDEO)
    assert found["frames"].waits.after == {"scenes"}
    assert found["seen"].waits.streams == {"frames"}
    assert {"seen", "speech"} <= found["answer"].waits.after


def test_items_stream_from_one_loop_into_the_next() -> None:
    found = steps(
        "workflow w(ts: [Text]) -> [Text] {\n"
        "  a = for t in ts { yield summarize(t) }\n"
        "  b = for s in a { yield summarize(s) }\n"
        "  n = len(a)\n"
        "  return for s in b where n > 0 { yield summarize(s) }\n}"
    )
    first, second, third = found.values()
    assert second.waits.streams == {first.op.out().name}
    assert not second.waits.after
    assert second.op.out().name in third.waits.streams
    assert first.op.out().name in third.waits.after


def test_effects_wait_for_the_effect_before_and_run_one_at_a_time() -> None:
    found = steps(
        'effect task tell(what: Text) -> Bool "Tell." using webhook\n'
        "workflow w(ts: [Text]) -> [Bool] expect len(ts) = 7 {\n"
        '  tell("start")\n'
        "  return for t in ts { yield tell(t) }\n}"
    )
    first, second = found.values()
    count = the(second.counts)
    assert (count.parallel, count.sequential) == (1.0, 7.0)
    assert first.op.out().name in second.waits.after


def test_a_loop_repeats_its_body_one_round_after_the_other() -> None:
    found = steps(
        "workflow w(p: Text) -> Text {\n"
        '  return repeat up to 3 with draft = "" { draft = write_code(p, draft) yield draft }\n}'
    )
    (step,) = found.values()
    count = the(step.counts)
    assert (count.parallel, count.sequential) == (1.0, 3.0)


def analysed(body: str) -> dict[str, Count]:
    """Return the counts of the steps of a logical module's body."""
    task = 'task @summarize(%text: Text) -> Text {binding = ["text"], interface = "summarize"}'
    text = f"module logical {task} workflow @w(%t: Text, %b: Bool) -> Text {{ {body} return(%r) }}"
    module = read_module(text)
    verify(module)
    configured = {op.out().name: () for op in module.sole().calls()}
    return {step.op.out().name: the(step.counts) for step in analyse(module, configured)}


CALL = "call @summarize(%t) {candidates = [@m]} : Text"


def test_a_branch_that_is_seldom_taken_counts_by_its_share() -> None:
    """Its time counts as if it were taken: latency has to be met then, too."""
    found = analysed(
        f"%r = if(%b) {{ %x = {CALL} yield(%x) }} {{ %y = {CALL} yield(%y) }} "
        "{likely = 0.75} : Text"
    )
    assert {name: count.calls for name, count in found.items()} == {"x": 0.75, "y": 0.25}
    assert all(count.parallel * count.sequential == 1.0 for count in found.values())


def test_a_loop_that_stops_early_counts_its_mean_rounds() -> None:
    found = analysed(
        f"%r = loop(%t) {{ ^(%l: Text) %x = {CALL} yield(%x, %b, %x) }} "
        "{limit = 4, rounds = 1.5} : Text"
    )
    assert (found["x"].sequential, found["x"].calls) == (4.0, 1.5)


def test_steps_in_branches_wait_for_the_condition() -> None:
    found = steps(
        "workflow w(t: Text) -> Text {\n"
        "  c = len(summarize(t)) > 10\n"
        "  return if c { yield translate(t, t) } else { yield t }\n}"
    )
    assert "summarize" in found["translate"].waits.after


def test_cases_agree_or_contradict() -> None:
    assert merge((("a", 0),), (("b", 1),)) == (("a", 0), ("b", 1))
    assert merge((("a", 0),), (("a", 1),)) is None


def test_combining_keeps_only_cases_that_can_be_together() -> None:
    one = depend({(): (1, 2)}, "s", (0, 1), max)
    other = combine(lambda a, b: a + b, one, one, worst=max)
    assert other == {(("s", 0),): 2, (("s", 1),): 4}


def test_a_step_whose_configurations_put_out_the_same_adds_no_case() -> None:
    assert depend({(): (5, 5)}, "s", (0, 0), max) == {(): 5}


def test_too_many_cases_are_merged_to_the_worst() -> None:
    quantity = fixed(0)
    for step in "abcdefgh":
        quantity = combine(
            lambda a, b: a + b, quantity, depend({(): (0, 1)}, step, (0, 1), max), worst=max
        )
    assert len(quantity) <= MAX_CASES
    assert max(quantity.values()) == 8
    assert widen({(): 3}, max) == {(): 3}
