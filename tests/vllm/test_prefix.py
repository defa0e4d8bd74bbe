"""Prompts laid out by the compiler, measured by the server's own counters of its prefix cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from murakkab.runtime.serving.metrics import ServerMetrics, read_metrics

from .models import write_library
from .workflows import mkb

TEXTS = 12
LAID_OUT = "bind,canonicalize,hoist,fuse{prefix=true},canonicalize"
# Each run has a name of its own in all that it says first, so that none finds another's prompts.
LABEL = '''
task label(question: Text) -> Text "Label a text." prompt """
    Text of run RUN: {question}

    Put one label on the text. In run RUN the labels are: weather, for what the sky does; news, for
    what people do; and nothing, for what neither of the two is. Where you are not sure, choose
    nothing. Where both could stand, choose the one that more of the words are about.
    """

workflow labelled(questions: [Text]) -> [Text]
    expect len(questions) = 12
    expect questions.tokens = 1200
{
    labels = for question in questions { one = label(question) yield one }
    return labels
}
'''
READ = '''
task gist(question: Text) -> Text "What it is about." system "In run RUN you read texts for us."
    prompt """
    Say in a word what the text is about.

    For example: "Rain fell for days and the river rose." is about floods, and it sounds grave.

    Text: {question}
    """
task mood(question: Text) -> Text "How it sounds." system "In run RUN you read texts for us."
    prompt """
    Say in a word how the text sounds.

    For example: "Rain fell for days and the river rose." is about floods, and it sounds grave.

    Text: {question}
    """

workflow read(questions: [Text]) -> [[Text]]
    expect len(questions) = 12
    expect questions.tokens = 1200
{
    found = for question in questions {
        about = gist(question)
        sounds = mood(question)
        yield [about, sounds]
    }
    return found
}
'''


def counted(server: str) -> ServerMetrics:
    with urlopen(f"{server}/metrics", timeout=10.0) as answer:
        found = read_metrics(answer.read().decode())
    assert found is not None
    return found


@pytest.mark.parametrize("source", [LABEL, READ], ids=["label", "read"])
def test_more_of_the_prompts_is_found_in_the_servers_cache(
    source: str, server_small: str, models: Path, tmp_path: Path
) -> None:
    library = write_library(models / "prefix.toml", ["small"], max_tokens=4)
    # longer than a block of the server's cache: vLLM's on a CPU has blocks of 128 tokens
    texts = [f"Day {n} was like day {n - 1}: it rained, and it went on. " * 7 for n in range(TEXTS)]

    def run(name: str, *flags: str) -> tuple[ServerMetrics, Any]:
        before = counted(server_small)
        own = source.replace("RUN", name)
        done, document = mkb(tmp_path, own, texts, library, f"small={server_small}", *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        return counted(server_small).since(before), document

    as_written, first = run("one", "-O0")
    laid_out, second = run("two", "--passes", LAID_OUT)
    assert len(first["result"]) == len(second["result"]) == TEXTS
    # the same words, up to the white space between them
    assert laid_out.prefix_queries == pytest.approx(as_written.prefix_queries, rel=0.02)
    computed = [m.prefix_queries - m.prefix_hits for m in (as_written, laid_out)]
    assert computed[1] < 0.7 * computed[0], (as_written, laid_out)
