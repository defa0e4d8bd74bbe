"""Reference runs: what a module means does not depend on the order in which its steps complete."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from murakkab.ir.reader import read_module
from murakkab.ir.types import INT, TEXT, Base, ListOf, Record, Type, enum, option
from murakkab.runtime.reference import run_reference
from murakkab.runtime.synthetic import plain_value, random_value
from murakkab.runtime.values import check_value

SOURCE = """module flow
task @items(%x: Text) -> [Text]
task @score(%x: Text) -> Int
task @note(%x: Text, %n: Int) -> {text: Text, images: [Image]}
task @post(%x: Text) -> Bool {effect}
workflow @w(%x: Text) -> {notes: [{text: Text, images: [Image]}], n: Int, last: Text}
{
  %xs = call @items(%x) : [Text]
  %kept = filter(%xs) { ^(%k: Text)
    %size = call @score(%k) : Int
    %zero = const() {value = 3} : Int
    %big = gt(%size, %zero) : Bool
    yield(%big)
  } : [Text]
  %notes = map(%kept) { ^(%t: Text)
    %n = call @score(%t) : Int
    %five = const() {value = 9} : Int
    %high = gt(%n, %five) : Bool
    %told = if(%high) {
      %sent = call @post(%t) : Bool
      yield(%sent)
    } {
      yield(%high)
    } : Bool
    %note = call @note(%t, %n) : {text: Text, images: [Image]}
    yield(%note)
  } : [{text: Text, images: [Image]}]
  %count = len(%notes) : Int
  %last = loop(%x) { ^(%carried: Text)
    %done = call @post(%carried) : Bool
    %next = add(%carried, %carried) : Text
    yield(%next, %done, %next)
  } {limit = 4} : Text
  %out = record(%notes, %count, %last) {fields = ["notes", "n", "last"]} \
: {notes: [{text: Text, images: [Image]}], n: Int, last: Text}
  return(%out)
}
"""
MODULE = read_module(SOURCE, "test.mkir")


@settings(max_examples=60)
@given(st.text(max_size=3), st.randoms(use_true_random=False))
def test_result_and_effects_do_not_depend_on_the_order_of_completion(
    text: str, order: Random
) -> None:
    plain = run_reference(MODULE, {"x": text})
    assert run_reference(MODULE, {"x": text}, order) == plain
    assert check_value(MODULE.sole().result, plain.value) is None


def test_effects_are_told_in_their_order_with_their_arguments() -> None:
    told = run_reference(MODULE, {"x": "a"}).effects
    assert {name for name, _ in told} == {"post"}
    looped = [args[0] for _, args in told if set(args[0]) == {"a"}]
    assert looped == ["a" * 2**i for i in range(len(looped))]


def test_another_argument_or_task_gives_another_value() -> None:
    values = {str(run_reference(MODULE, {"x": x}).value) for x in "abcdef"}
    assert len(values) > 1


@given(st.randoms(use_true_random=False), st.integers(0, 5))
def test_made_up_values_are_of_their_type(chance: Random, length: int) -> None:
    bases = ("Float", "Bool", "Image", "Audio", "Video", "File", "Json", "Embedding", "Index")
    fields: dict[str, Type] = {name.lower(): Base(name) for name in bases}
    fields |= {"rank": enum(("b", "a")), "texts": ListOf(TEXT), "maybe": option(INT)}
    kind = Record(tuple(fields.items()))
    assert check_value(kind, random_value(kind, chance)) is None
    assert check_value(kind, plain_value(kind, length)) is None
    assert len(plain_value(ListOf(kind), length)) == length


def test_binding_a_task_to_other_names_does_not_change_what_it_means() -> None:
    call = "workflow @w(%x: Text) -> Text\n{{\n  %y = call @f(%x){} : Text\n  return(%y)\n}}\n"
    flow = "module flow\ntask @f(%doc: Text) -> Text\n" + call.format("")
    logical = (
        "module logical\n"
        'task @f(%doc: Text) -> Text {binding = ["text"], interface = "summarize"}\n'
        + call.format(" {candidates = [@textrank]}")
    )
    values = [run_reference(read_module(text), {"x": "a"}).value for text in (flow, logical)]
    assert values[0] == values[1]
