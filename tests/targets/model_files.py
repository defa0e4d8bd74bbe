"""Model folders for tests: small files in the formats that real models have, and who names them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from murakkab.targets.catalog import Model
from murakkab.targets.library import load_library
from murakkab.targets.model_folder import folder_model

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
ASK = """task reply(question: Text) -> Text "Answer a question." prompt "{question}"

workflow ask(question: Text) -> Text {
    said = reply(question) with { executor: "tiny" }
    return said
}
"""
CLUSTER = """name = "one"
[[pool]]
name = "node"
nodes = 1
gpu = { type = "A100-SXM4-80GB", count = 1 }
cpu = { type = "EPYC-7V12", cores = 96 }
memory = "900 GB"
price = "$3.40 / h"
"""


def safetensors(tensors: Mapping[str, tuple[str, list[int], int]]) -> bytes:
    """Return a file of zeros that holds tensors: by name their type, shape, and bytes a number."""
    header: dict[str, object] = {}
    end = 0
    for name, (kind, shape, width) in tensors.items():
        count = width
        for extent in shape:
            count *= extent
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + count]}
        end += count
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


def write_model(
    folder: Path,
    config: Mapping[str, object] = LLAMA,
    tensors: Mapping[str, tuple[str, list[int], int]] | None = None,
) -> Path:
    """Write a model: its configuration, one file of weights, a tokenizer; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    weights = {"w": ("BF16", [64, 64], 2)} if tensors is None else tensors
    (folder / "model.safetensors").write_bytes(safetensors(weights))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def entry(model: str, *, device: str = "cpu", revision: str | None = None) -> str:
    """Return the TOML of an executor of `generate`, `tiny`, that a vLLM server carries out."""
    version = "" if revision is None else f'revision = "{revision}"'
    return f"""[[executor]]
name = "tiny"
implements = "generate"
description = "A language model"
runner = "vllm"
model = "{model}"
{version}
devices = ["{device}"]
cores = 1
context = 4096
quality = {{ value = 1.0, metric = "m", source = "s" }}
work = {{ prompt_tokens = "tokens(prompt)", output_tokens = 16 }}
result = {{ tokens = 16 }}
"""


def write_project(folder: Path, library: str) -> tuple[str, ...]:
    """Write a workflow, a cluster and a library; return the flags that compile with them."""
    (folder / "ask.mkb").write_text(ASK)
    (folder / "cluster.toml").write_text(CLUSTER)
    (folder / "library.toml").write_text(library)
    return ("--target", "sim", "--cluster", "cluster.toml", "--library", "library.toml")


def model_at(folder: Path, model: str = "./model", revision: str | None = None) -> Model:
    """Read the model that a library in a folder names."""
    library = folder / "library.toml"
    library.write_text(entry(model, revision=revision))
    executor = load_library([library], shipped=False).get("tiny")
    assert executor is not None
    return folder_model(executor)
