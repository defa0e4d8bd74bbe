"""Search, ranking, classification, summaries, answers and fields by shared words."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from murakkab.runtime.executors.answering import NOT_FOUND, answer
from murakkab.runtime.executors.errors import ExecutorError
from murakkab.runtime.executors.extraction import extract
from murakkab.runtime.executors.passages import sentences, words
from murakkab.runtime.executors.similarity import classify, embed, rank, search
from murakkab.runtime.executors.summary import summarize

ROOT = Path(__file__).parents[3]
PASSAGES = [
    "The ferry to Tunis sails on Friday.",
    "Bread is baked every morning.",
    "The night train leaves from platform 4.",
    "A train needs rails, a ferry needs water.",
]


def test_words_keep_times_whole_and_meet_across_number() -> None:
    assert words("Trains leave at 14:35, don't they?") == [
        "train",
        "leave",
        "at",
        "14:35",
        "don't",
        "they",
    ]
    assert words("bus class gas") == ["bus", "class", "gas"]


def test_sentences_end_at_stops_and_a_sign_stays_one() -> None:
    text = (
        "TRAIN TO LYON\nPlatform 7\nIt leaves soon. Hurry up! All passengers please board at once"
    )
    assert sentences(text) == [
        "TRAIN TO LYON, Platform 7",
        "It leaves soon.",
        "Hurry up!",
        "All passengers please board at once",
    ]
    assert sentences("\n".join("abcdefg")) == ["a, b, c, d, e, f", "g"]
    assert sentences(" \n ") == []


def test_search_returns_what_matches_best_first() -> None:
    assert search("When does the ferry to Tunis sail?", PASSAGES, k=2) == [PASSAGES[0], PASSAGES[3]]
    assert search("quantum physics", PASSAGES) == []
    assert search("anything", []) == []
    assert search("!", ["?", "..."]) == []


def test_rank_keeps_every_passage() -> None:
    ranked = rank("night train", PASSAGES)
    assert ranked[0] == PASSAGES[2]
    assert sorted(ranked) == sorted(PASSAGES)
    assert rank("zebra", PASSAGES) == PASSAGES


def test_embeddings_are_unit_vectors_near_for_related_words() -> None:
    one, other, far = embed("booking a ticket"), embed("ticket bookings"), embed("rain at sea")
    assert len(one) == 512
    assert math.isclose(sum(x * x for x in one), 1.0)

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert cosine(one, other) > 2 * abs(cosine(one, far))
    assert embed("", dimensions=8) == [0.0] * 8


def test_classify_takes_the_label_that_the_text_names() -> None:
    labels = ["payment problem", "late delivery", "praise"]
    assert classify("My delivery came two days late.", labels) == "late delivery"
    assert classify("hm", labels) == "payment problem"
    with pytest.raises(ExecutorError, match="at least one"):
        classify("hm", [])


def test_summary_keeps_central_sentences_in_order() -> None:
    text = (
        "The tram line to the harbour was closed on Monday. My neighbour likes tea. "
        "Buses replace the tram to the harbour. The harbour tram opens again on Friday."
    )
    chosen = summarize(text, sentences=2).splitlines()
    assert len(chosen) == 2
    assert all("tram" in line for line in chosen)
    assert [text.index(line) for line in chosen] == sorted(text.index(line) for line in chosen)
    assert summarize("One. Two.") == "One.\nTwo."
    assert summarize("") == ""


def test_the_answer_is_the_sentence_that_matches_best() -> None:
    assert answer("Which platform has the night train?", PASSAGES) == PASSAGES[2]
    assert answer("When does the ferry sail?", PASSAGES, k=2).splitlines() == [
        PASSAGES[0],
        PASSAGES[3],
    ]


def test_a_sentence_is_helped_by_the_passage_it_stands_in() -> None:
    context = [
        "News of the harbour today. The lift is open.",
        "News of the museum today. The lift is open.",
    ]
    boosted = answer(
        "Is the museum lift open?", [context[0].replace("lift", "cafe"), context[1]], k=1
    )
    assert boosted == "The lift is open."


@pytest.mark.parametrize("context", [[], [""], ["Nothing of the kind."]])
def test_without_a_common_word_there_is_no_answer(context: list[str]) -> None:
    assert answer("Who won the regatta?", context) == NOT_FOUND


def test_fields_are_read_where_they_are_named() -> None:
    text = "Invoice\n- Due date: 3 May\n**Total** = 12.50 EUR\ntotal: 99\nnote:\n"
    assert extract(text, ["total", "due_date", "note", "vat (20%)"]) == {
        "total": "12.50 EUR",
        "due_date": "3 May",
        "note": None,
        "vat (20%)": None,
    }


@pytest.mark.parametrize(
    "call",
    [
        "similarity.search('late train', ['the train is late', 'it rains'])",
        "similarity.classify('late train', ['train', 'rain'])",
        "similarity.embed('late train')",
        "summary.summarize('It rains. It pours. The old man snores.', sentences=1)",
        "answering.answer('late train?', ['the train is late', 'it rains'])",
    ],
)
def test_first_call_loads_nothing_once_its_module_is_ready(call: str) -> None:
    module = call.partition(".")[0]
    code = (
        f"import sys; from murakkab.runtime.executors import {module}; {module}.prepare();"
        f"before = set(sys.modules); {call}; print(sorted(set(sys.modules) - before))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "typings")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    )
    assert done.stdout == "[]\n"
