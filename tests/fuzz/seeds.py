"""Inputs that readers accept, for mutations to start from: this repository's own files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from murakkab import api
from murakkab.compiler.frontend import check_file
from murakkab.ir.diagnostics import CompileError
from murakkab.ir.printer import print_module
from murakkab.ir.reader import read_module
from murakkab.ir.verifier import verify
from murakkab.runtime.evaluation.journal import SCHEMA as PROGRESS
from murakkab.targets.calibration import Setting, cascade_toml
from murakkab.targets.lock_file import Lock, LockedModel
from murakkab.targets.plan import Plan
from murakkab.targets.service_plan import (
    Explained,
    FleetEpoch,
    InstanceType,
    Limiting,
    NextBest,
    PlannedRoute,
    RouteStep,
    ServedClass,
    ServicePlan,
    Unmet,
)

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "benchmarks" / "osdi26" / "data" / "study.toml"
_CLUSTERS = ROOT / "examples" / "clusters"
_COMPOSED = "compositions"
_MOST = 2500  # bytes of a seed: small ones are read more often in the same time

MANY_KINDS = """
type Part = { name: Text, at: Float?, tags: ["a" | "b"], raw: Json, seen: Bool, n: Int }
task pick(parts: [Part], vector: Embedding, image: Image?) -> Text "Pick." prompt "{parts}{image}"
workflow all(parts: [Part], vector: Embedding, image: Image?, text: Text, n: Int) -> Text {
    picked = pick(parts, vector, image)
    return picked + text
}
"""
_ASK = """import "std/text"
task reply(question: Text, about: [Text]) -> Text "Answer." prompt "{about} {question}"
workflow ask(question: Text, passages: [Text]) -> Text
    require p95 latency <= 60 s
    expect len(found) = 3
{
    found = search(question, passages)
    parts = for passage in found { yield optional summarize(passage) ?? passage }
    return if len(parts) > 1 { yield reply(question, parts) } else { yield "nothing" }
}
"""
_LOOK = """import "std/media"
workflow look(video: Video) -> [[Text]] expect video.duration = 22 s {
    scenes = split_scenes(video)
    seen = for scene in scenes { yield optional detect_objects(sample_frames(scene)) ?? [] }
    return seen
}
"""
_TASK = """task reply(question: Text) -> Text "Answer." prompt "{question}"
workflow ask(question: Text) -> Text { return reply(question) }
"""


# ---- programs


@cache
def programs() -> Sequence[bytes]:
    """Return workflows: examples, the standard library, and what the golden tests check."""
    folders = ("examples", "compiler/std", "tests/golden/check", "tests/golden/fmt")
    files = [file for name in folders for file in sorted((ROOT / name).rglob("*.mkb"))]
    texts = [file.read_bytes().split(b"\n//|")[0] for file in files]
    return (MANY_KINDS.encode(), _ASK.encode(), *(t for t in texts if len(t) <= _MOST))


@cache
def modules() -> Sequence[bytes]:
    """Return IR that is valid, at every level: of the golden tests, examples and plans."""
    files = sorted((ROOT / "tests/golden/passes").rglob("*.mkir"))
    texts = [file.read_text("utf-8").split("\n//|")[0] for file in files]
    written = sorted((ROOT / "examples").rglob("*.mkb"))
    texts += [print_module(check_file(file).module) for file in written]
    texts += [text for plan in _plans() for text in (plan.ir, plan.flow or "")]
    return tuple(text.encode() for text in texts if len(text) <= 2 * _MOST and _is_valid(text))


def _is_valid(text: str) -> bool:
    try:
        verify(read_module(text))
    except CompileError:
        return False
    return True


# ---- what commands write


@cache
def _plans() -> tuple[Plan, ...]:
    node, laptop = (_CLUSTERS / f"{name}.toml" for name in ("one-a100-node", "laptop-cpu"))
    return (
        api.compile(_TASK, target="sim", cluster=node),
        api.compile(_ASK, target="sim", cluster=node, level=0),
        api.compile(_LOOK, target="sim", cluster=laptop),
    )


@cache
def plans() -> Sequence[bytes]:
    """Return plans of small workflows."""
    return tuple(plan.to_json().encode() for plan in _plans())


@cache
def _runs() -> tuple[tuple[bytes, bytes], ...]:
    given = {"question": "who?", "passages": ["a b", "c"]}
    found = []
    for plan in _plans()[:2]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.json"
            wanted = {p.name: given[p.name] for p in plan.module().sole().params}
            api.run(plan, wanted, record=path)
            calls = path.with_name("run.json.values") / "calls.jsonl"
            # or the inputs would differ from day to day
            record = json.loads(path.read_bytes()) | {"started_at": "2026-01-01T00:00:00+00:00"}
            found.append((json.dumps(record).encode(), calls.read_bytes()))
    return tuple(reversed(found))


def records() -> Sequence[bytes]:
    """Return records of runs."""
    return tuple(record for record, _ in _runs())


def calls() -> Sequence[bytes]:
    """Return the calls that belong to `records`."""
    return tuple(lines for _, lines in _runs())


@cache
def service_plans() -> Sequence[bytes]:
    """Return plans of a service, of a few minutes."""
    steps = (
        RouteStep("ask", "big{k = 1}", 0, 8.0, 0.5, 1.5, 0.9, "measured", 0.1),
        RouteStep("find", "small", 1, 4.0, 0.25, None, 1.0, "analytic", 0.3),
        RouteStep("check", "left out", None, 0.0, 0.0, 0.0, 0.97, "", 0.0),
    )
    busy = ((0, 0.5), (1, 0.25))
    route = PlannedRoute(0, 1.0, "big, small", busy, None, 0.87, 3.0, 0.01, steps)
    big = InstanceType("big on a100 x2", 0, "A100", 2, 0.01, 100.0, 30.0)
    small = InstanceType("small on cpu", 0, None, 0, 0.001, 10.0, 0.0)
    kind = ServedClass("w/c", 0.8, None, 60.0, 0.05, (10.0, 20.0, 0.0, 5.0), 0.3)
    epochs = (
        FleetEpoch(0.0, 120.0, (2, 1), (route,), 2.4, 900.0, 2.4, 2.3),
        FleetEpoch(120.0, 120.0, (1, 1), (route,), 1.4, 500.0, 1.4, 1.4),
    )
    unserved = (Unmet("w/d", "too fast", ("latency <= 1 s",), (("latency <= 1 s", 2.5),)),)
    rivals, limits = (NextBest("ask", "big", "small", 0.5),), (Limiting("accuracy", 0.25),)
    told = (Explained(0, 1, rivals, limits),)
    day = ("s", "joint", "cost", 60.0, (big, small), (kind,), epochs)
    return tuple(
        ServicePlan(*day, *rest).to_json().encode() for rest in ((unserved, told), ((), ()))
    )


def progress() -> Sequence[bytes]:
    """Return what an evaluation keeps of its progress."""
    header = {"schema": PROGRESS, "workflow": "ask", "digests": {"dataset": "d"}}
    outcomes = [
        {"configuration": "a{k = 1}", "line": 1, "score": 0.5, "tokens": [10, 20]},
        {"configuration": "a{k = 1}", "line": 2, "score": 1, "error": "the server is gone"},
    ]
    return ("".join(json.dumps(line) + "\n" for line in (header, *outcomes)).encode(),)


def locks() -> Sequence[bytes]:
    """Return locks of models on a hub and in a folder."""
    files = {"model.safetensors": "a" * 64}
    of_hub = LockedModel("org/model", None, "b" * 40, files)
    return (Lock("c" * 64, (of_hub, LockedModel("./m", None, None, files))).to_json().encode(),)


# ---- values


def inputs() -> Sequence[bytes]:
    """Return inputs of `MANY_KINDS`."""
    part = {"name": "é", "at": 1.5, "tags": ["a", "b"], "raw": {"x": [1, None]}, "seen": True}
    whole = {"parts": [part | {"n": 3}], "vector": [0.5, 1], "image": None, "text": "t", "n": 7}
    bare = {"parts": [], "vector": [], "text": "", "n": -1}
    return (json.dumps(whole).encode(), json.dumps(bare).encode())


def datasets() -> Sequence[bytes]:
    """Return datasets of `MANY_KINDS`."""
    items = [json.loads(text) | {"expected": ["x", 1]} for text in inputs()]
    return ("\n".join(map(json.dumps, items)).encode(),)


def answers() -> Sequence[bytes]:
    """Return what language models answer."""
    good = ({"result": ["a", "b"]}, {"a": 1, "b": [{"c": None}]}, "yes", 1.0, [0.5, 1], {"a": 2.5})
    return tuple(json.dumps(answer).encode() for answer in good)


def events() -> Sequence[bytes]:
    """Return events of a streamed completion."""
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    piece = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    used = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    failed = {"error": {"message": "overloaded", "code": 503}}
    return tuple(
        "\n".join(map(json.dumps, lines)).encode()
        for lines in ([role, piece, piece, last, used], [role, failed])
    )


@cache
def model_configs() -> Sequence[bytes]:
    """Return configurations of models, as the hub has them: dense, of experts, quantised."""
    dense = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1000,
        "max_position_embeddings": 4096,
        "sliding_window": 512,
        "layer_types": ["sliding_attention", "full_attention"],
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    }
    quantised = dense | {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    experts = dense | {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }
    seeing = {"architectures": ["LlavaForConditionalGeneration"], "text_config": dense}
    return tuple(json.dumps(each).encode() for each in (dense, quantised, experts, seeing))


def tensors() -> Sequence[bytes]:
    """Return headers of safetensors files."""
    header = {
        "__metadata__": {"format": "pt"},
        "model.layers.0.mlp.weight": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]},
        "model.layers.0.qweight": {"dtype": "I32", "shape": [4], "data_offsets": [64, 80]},
    }
    return (json.dumps(header).encode(),)


# ---- TOML and CSV


def _tables(file: Path, most: int = 3) -> list[bytes]:
    """Return a file's tables, several at a time."""
    text = file.read_text("utf-8")
    _, *tables = ("\n" + text).split("\n[[")
    pieces = [
        "\n".join(f"[[{t}" for t in tables[i : i + most]) for i in range(0, len(tables), most)
    ]
    return [piece.encode() for piece in pieces if len(piece) <= _MOST]


def libraries() -> Sequence[bytes]:
    """Return libraries of executors: the shipped ones and the examples', in pieces."""
    shipped = [f for f in sorted((ROOT / "targets/library").glob("*.toml")) if f.stem != _COMPOSED]
    pieces = [piece for file in shipped for piece in _tables(file)]
    return tuple(piece for piece in pieces if b"[[executor]]" in piece)


def compositions() -> Sequence[bytes]:
    """Return compositions, shipped and calibrated."""
    settings = tuple(Setting(t, 1.0 - t, 0.8, 0.9 + t / 20, 0.01) for t in (0.5, 0.9))
    calibrated = cascade_toml("mine", ("qwen3-30b", "qwen3-30b"), settings, "measured")
    shipped = _tables(ROOT / "targets/library" / f"{_COMPOSED}.toml", 2)
    return (*shipped, calibrated.encode())


def clusters() -> Sequence[bytes]:
    """Return clusters, one with everything in it."""
    whole = """name = "all"
region = "FR"
[[pool]]
name = "a"
nodes = 2
gpu = { type = "A100-SXM4-80GB", count = 8 }
cpu = { type = "EPYC-7V12", cores = 96 }
memory = "900 GB"
price = "$27.20 / h"
spot = true
[[endpoint]]
name = "gpt"
url = "https://api.example.com/v1"
key_env = "KEY"
model = "m"
concurrency = 4
requests_per_min = 100
tokens_per_min = 1000
max_usd = 5.0
price = { usd_per_mtok_prompt = 0.5, usd_per_mtok_output = 1.5 }
"""
    return (whole.encode(), *(f.read_bytes() for f in sorted(_CLUSTERS.glob("*.toml"))))


def studies() -> Sequence[bytes]:
    """Return studies; `beside_study` has the files they name."""
    program = """name = "p"
cluster = "cluster.toml"
policies = ["separate", "joint"]
[[workflow]]
name = "w"
file = "w.mkb"
arrivals = "arrivals.csv"
column = "chat"
gaps = "interpolate"
[[workflow.class]]
name = "all"
share = 1.0
latency = "good"
"""
    return (STUDY.read_bytes(), program.encode())


def beside_study() -> Mapping[str, bytes]:
    """Return the files that studies name: those of the published one, the trace cut short."""
    names = ("cluster.toml", "models.csv", "workflows.csv")
    files = {name: STUDY.with_name(name).read_bytes() for name in names}
    return files | {"arrivals.csv": _rows(STUDY.with_name("arrivals.csv"), 61)}


def catalogs() -> Sequence[bytes]:
    """Return catalogues: the shipped ones, in pieces."""
    files = sorted((ROOT / "targets/catalog").glob("*.toml"))
    return tuple(piece for file in files for piece in _tables(file)[:6])


def profiles() -> Sequence[bytes]:
    """Return profiles of models and tools, of their starts too."""
    header = "model,device,tp,start_s,sleep_s,wake_s,engine,source"
    started = f"{header}\nm,cpu,0,30.5,1,0.5,vllm,here\n"
    shipped = sorted((ROOT / "targets/profiles").glob("*.csv"))
    return (
        *(_rows(file) for file in shipped),
        _rows(STUDY.with_name("models.csv")),
        started.encode(),
    )


def workflow_profiles() -> Sequence[bytes]:
    """Return measured configurations of workflows."""
    return (_rows(STUDY.with_name("workflows.csv")),)


def arrivals() -> Sequence[bytes]:
    """Return a trace of arrivals, with a gap."""
    return (b"start_s,chat,coding\n0,3.5,1\n60,,2\n120,4,3\n240,1e2,4\n",)


def outcomes() -> Sequence[bytes]:
    """Return outcomes of two models, one answer a row and in groups."""
    answers = b"confidence,cheap_right,strong_right\n0.9,1,1\n0.5,0,true\n0.2,no,yes\n"
    groups = b"n_questions,both_right,only_weak_right,only_strong_right,both_wrong\n10,5,1,3,1\n"
    return (answers, groups)


def lengths() -> Sequence[bytes]:
    """Return traces of requests, by the names that publishers give their columns."""
    return (b"isl_tok,osl_tok\n10,20\n30,0\n5,7\n", b"ContextTokens,GeneratedTokens\n10,20\n1,2\n")


def questions() -> Sequence[bytes]:
    """Return questions for `mkb predict --csv`."""
    header = "model,gpu,tp,precision,batch,isl_tok,osl_tok,note"
    rows = (
        "Llama-3.1-8B,H100-SXM5-80GB,1,fp8,16,1024,256,a\nLlama-3.1-8B,A100-SXM4-80GB,2,,1,10,20,b"
    )
    return (f"{header}\n{rows}\n".encode(),)


def _rows(file: Path, most: int = 12) -> bytes:
    return b"".join(file.read_bytes().splitlines(keepends=True)[:most])
