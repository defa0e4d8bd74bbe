"""What servers died of, from the ends of logs of vLLM 0.32."""

from __future__ import annotations

import pytest

from murakkab.runtime.serving.diagnosis import diagnose

# Near the beginning of every log, where the limit of open files is low: no cause of anything.
TRAP = (
    "(APIServer pid=8870) WARNING 11-22 20:30:18 [system_utils.py:255] Found ulimit of 20000 and "
    "failed to automatically increase with error current limit exceeds maximum limit. This can "
    "cause fd limit errors like `OSError: [Errno 24] Too many open files`. Consider increasing "
    "with ulimit -n\n"
)
_LAST = (
    "(APIServer pid=9) RuntimeError: Engine core initialization failed. See root cause above. "
    "Failed core proc(s): {}\n"
)


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (
            "usage: api_server.py [-h] [--headless]\n  --port PORT\n"
            "api_server.py: error: unrecognized arguments: --no-such-flag\n",
            "this version of vLLM does not know `--no-such-flag`",
        ),
        (
            "api_server.py: error: argument --max-num-seqs: invalid int value: 'x'\n",
            "vLLM refuses `--max-num-seqs`: invalid int value: 'x'",
        ),
        (
            "(APIServer pid=9) OSError: [Errno 98] Address already in use\n",
            "its port was taken by another program",
        ),
        (
            "(APIServer pid=9)   Value error, User-specified max_model_len (100000) is greater "
            "than the derived max_model_len (max_position_embeddings=4096.0 or "
            "model_max_length=None in model's config.json). To allow overriding\n"
            "    For further information visit https://errors.pydantic.dev/2.12/v/value_error\n",
            "the context of 100000 tokens that it was told is longer than the model's own",
        ),
        (
            "(EngineCore pid=9) RuntimeError: Worker failed with error 'Available memory on node 0 "
            "(5.33/8.96 GiB) on kv cache allocation is less than requested memory for kv (1000.0 "
            "GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory "
            "used by other processes.', please check the stack trace above\n" + _LAST,
            "the machine has too little memory for it",
        ),
        (
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
            "'namespace/repo_name': '/models/nope'. Use `repo_type` argument if needed.\n",
            "its model was not found",
        ),
        (
            "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached "
            "snapshot folder for the specified revision on the local disk\n",
            "its model is not on this machine, and the hub cannot be reached",
        ),
        (
            "  Value error, invalid literal for int() with base 10: '0.0001'\n"
            "    For further information visit https://errors.pydantic.dev/2.12/v/value_error\n",
            "Value error, invalid literal for int() with base 10: '0.0001'",
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n" + _LAST,
            "the GPU ran out of memory",
        ),
        (
            "ValueError: Free memory on device cuda:0 (10.1/79.1 GiB) on startup is less than "
            "desired GPU memory utilization (0.9, 71.2 GiB).\n" + _LAST,
            "too little GPU memory is free",
        ),
        (
            "/usr/bin/python: Error while finding module specification for "
            "'vllm.entrypoints.openai.api_server' (ModuleNotFoundError: No module named 'vllm')\n",
            "vLLM is not installed",
        ),
        ("Traceback\nKeyError: 'x'\n" + _LAST, "KeyError: 'x'"),
        (_LAST, _LAST.strip()),
        ("INFO all is well\n\n", "INFO all is well"),
        ("", "it said nothing"),
    ],
)
def test_the_cause_is_told_whatever_is_warned_of_before(log: str, cause: str) -> None:
    for text in (log, TRAP + log):
        expected = cause if log else ("it said nothing" if not text else text.strip()[:240] + "…")
        found = diagnose(text)
        assert found.cause == expected
        assert found.advice
        assert found.port_taken == ("Errno 98" in log)


def test_one_that_was_killed_could_not_tell_why_but_may_have_told_before() -> None:
    assert diagnose(TRAP + "INFO running\n", killed=True).cause == (
        "it was killed, as the kernel does where memory runs out"
    )
    told = diagnose("torch.OutOfMemoryError: CUDA out of memory.\n", killed=True)
    assert told.cause == "the GPU ran out of memory"


def test_a_long_cause_is_cut_short_and_stays_on_one_line() -> None:
    found = diagnose("ValueError: " + "long " * 1000 + "\n")
    assert len(found.cause) == 241 and found.cause.endswith("…")
    assert "\n" not in found.cause
