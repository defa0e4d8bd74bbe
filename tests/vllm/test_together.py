"""Several prompts over the same texts in one call, on a real server: fewer calls and tokens."""

from __future__ import annotations

from pathlib import Path

from .models import write_library
from .workflows import mkb

# longer than what the tasks need to be told apart, in a tokenizer of bytes
TEXTS = [f"Day {n} was like day {n - 1}: it rained, and it went on. " * 12 for n in range(8)]
PRICE = "price = { usd_per_mtok_prompt = 0.1, usd_per_mtok_output = 0.4 }"
READ = '''
task place(text: Text) -> { city: "Prague" | "Vienna", abroad: Bool } "Where it is." prompt """
    Text: {text}

    Say which city it is about, and whether that is abroad.
    """
task tone(said: Text) -> [{ mood: "good" | "bad", sure: Bool }] "How it sounds." prompt """
    Say how it sounds, sentence by sentence, and whether you are sure.

    Text: {said}
    """

workflow read(questions: [Text])
    -> [{ city: "Prague" | "Vienna", tones: [{ mood: "good" | "bad", sure: Bool }] }]
    expect len(questions) = 8
    expect questions.tokens = 1600
{
    read = for text in questions {
        found = place(text)
        tones = tone(text)
        city = found.city
        yield { city, tones }
    }
    return read
}
'''


def test_one_call_gives_what_several_gave(server_small: str, models: Path, tmp_path: Path) -> None:
    """With a price of tokens, the optimiser asks both tasks at once by itself."""
    # drawn at random, lists end after a while
    library = write_library(models / "together.toml", ["small"], max_tokens=256, temperature=1.0)
    library.write_text(library.read_text().replace("cores = 1", f"cores = 1\n{PRICE}"))

    def run(*flags: str) -> tuple[int, int, int]:
        endpoint = f"small={server_small}"
        done, document = mkb(tmp_path, READ, TEXTS, library, endpoint, *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(document["result"]) == len(TEXTS)
        for found in document["result"]:
            assert found["city"] in ("Prague", "Vienna")
            assert all(tone["mood"] in ("good", "bad") for tone in found["tones"])
        steps = document["run"]["steps"]
        used = [step["usage"] for step in steps]
        requests, prompts = (sum(u[key] for u in used) for key in ("requests", "prompt_tokens"))
        return sum(step["calls"] for step in steps), requests, prompts

    alone, together = run("-O0"), run("-O2")
    assert (alone[0], together[0]) == (2 * len(TEXTS), len(TEXTS))
    # an answer that is cut off is asked for once more
    assert all(calls <= requests <= 2 * calls for calls, requests, _ in (alone, together))
    assert together[2] < alone[2]
