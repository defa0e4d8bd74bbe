"""The pipeline on reviews in DocETL, on the same server.

    python with_docetl.py URL WORK_FOLDER

Its three maps, with the prompts of `workflows/reviews.mkb`; what DocETL says around
them is its own.
Structured output is by JSON schema. Leaves the seconds from the inputs to the result in a file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import perf_counter

import tiktoken
from corpus import INPUTS

_POINTS = """Of this review of {{ input.category }}, give the sentiment, the features named, and \
the complaints.

{{ input.text }}"""
_ISSUES = """What are these complaints about {{ input.category }} mostly about? \
{{ input.complaints }}"""
_DIGEST = """Sum up this {{ input.sentiment }} review for other customers in a sentence. It names \
{{ input.features }}.

{{ input.text }}"""


def _bytes(*_: object, **__: object) -> tiktoken.Encoding:
    """Return an encoding of bytes: those of OpenAI's models are fetched from the web."""
    ranks = {bytes([value]): value for value in range(256)}
    return tiktoken.Encoding("bytes", pat_str=r"[\s\S]", mergeable_ranks=ranks, special_tokens={})


def _map(name: str, prompt: str, **fields: str) -> dict[str, object]:
    output = {"mode": "structured_output", "schema": fields}
    return {"name": name, "type": "map", "prompt": prompt, "output": output}


def pipeline(url: str) -> dict[str, object]:
    """Return DocETL's description of the pipeline."""
    operations = [
        _map("points", _POINTS, sentiment="string", features="string", complaints="string"),
        _map("issues", _ISSUES, issue="string"),
        _map("digest", _DIGEST, told="string"),
    ]
    names = [operation["name"] for operation in operations]
    return {
        "default_model": "openai/large",
        "default_lm_api_base": url,
        "bypass_cache": True,
        "datasets": {"reviews": {"type": "file", "path": "reviews.json"}},
        "operations": operations,
        "pipeline": {
            "steps": [{"name": "all", "input": "reviews", "operations": names}],
            "output": {"type": "file", "path": "analysed.json"},
        },
    }


def main(url: str, folder: Path) -> None:
    """Run the pipeline and leave its seconds in `docetl.json`."""
    os.environ["OPENAI_API_KEY"] = "none"
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.chdir(folder)
    tiktoken.get_encoding = tiktoken.encoding_for_model = _bytes
    Path("reviews.json").write_text(json.dumps(INPUTS["reviews"]["given"]), "utf-8")
    from docetl.runner import DSLRunner

    runner = DSLRunner(pipeline(url), max_threads=32)
    began_s = perf_counter()
    runner.load_run_save()
    Path("docetl.json").write_text(json.dumps({"wall_s": perf_counter() - began_s}), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
