"""Compiling for endpoints: what becomes of executors that run elsewhere already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import murakkab
from murakkab.compiler.driver import Request, compile_workflow
from murakkab.ir.diagnostics import InputError
from murakkab.targets.library import load_library
from murakkab.targets.plan import Plan, plan_from_json

NAME = "llama-3.1-8b"
URL = "http://host:8000/v1"
CANARY = "sk-canary-71c2"
MOOD = """task mood(review: Text) -> "good" | "bad" prompt "Is this review good? {review}"
workflow moods(reviews: [Text]) -> ["good" | "bad"] {
    return for review in reviews { yield mood(review) }
}
"""
CLUSTER = """name = "c"
[[pool]]
name = "p"
nodes = 1
cpu = { cores = 2 }
memory = "200 GB"
"""
PRICED = f"""[[endpoint]]
name = "{NAME}"
url = "http://filed/v1"
key_env = "CANARY_KEY"
model = "theirs"
concurrency = 2
price = {{ usd_per_mtok_prompt = 100.0, usd_per_mtok_output = 200.0 }}
"""
SERVER = """
[[executor]]
name = "{name}"
implements = "generate"
description = "a small server"
runner = "vllm"
model = "{model}"
devices = ["{device}"]
cores = 1
quality = {{ value = 0.9, metric = "relative", source = "declared for a test" }}
"""
TWO = """task a(r: Text) -> Text prompt "A {r}"
task b(r: Text) -> Text prompt "B {r}"
workflow w(r: Text) -> [Text] {
    x = a(r) with { executor: "one" }
    y = b(r) with { executor: "two" }
    return [x, y]
}
"""


def planned(source: str = MOOD, **flags: Any) -> Plan:
    plan = compile_workflow(Request(source, **flags)).plan
    assert plan_from_json(plan.to_json()) == plan
    return plan


def cluster(tmp_path: Path, more: str = "", text: str = CLUSTER) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(text + more)
    return path


def test_an_endpoint_takes_the_place_of_what_would_be_started() -> None:
    plan = planned(endpoints=((NAME, URL + "/"),))
    (engine,) = plan.engines
    assert plan.target == "vllm"
    assert (engine.executor, engine.slot, engine.places) == (NAME, "remote", ())
    assert engine.endpoint is not None and engine.endpoint.url == URL
    assert (engine.startup_s, plan.predicted.gpus, plan.predicted.startup_s) == (0.0, 0, 0.0)
    assert not engine.loads_model


def test_the_python_interface_takes_endpoints() -> None:
    assert murakkab.compile(MOOD, endpoints={NAME: URL}) == planned(endpoints=((NAME, URL),))


def test_a_cluster_says_price_limit_and_name(tmp_path: Path) -> None:
    plan = planned(cluster=cluster(tmp_path, PRICED), target="vllm")
    (engine,) = plan.engines
    assert engine.endpoint is not None
    assert (engine.endpoint.url, engine.endpoint.model) == ("http://filed/v1", "theirs")
    assert engine.concurrency <= 2
    assert plan.predicted.cost_usd > 0


def test_a_flag_comes_before_the_cluster(tmp_path: Path) -> None:
    file = cluster(tmp_path, PRICED)
    filed = planned(cluster=file, target="vllm")
    flagged = planned(cluster=file, target="vllm", endpoints=((NAME, URL),))
    assert flagged.engines[0].endpoint is not None
    assert (flagged.engines[0].endpoint.url, flagged.engines[0].endpoint.model) == (URL, "theirs")
    assert flagged.digests["cluster"] != filed.digests["cluster"]
    assert {k for k in filed.digests if filed.digests[k] != flagged.digests[k]} == {"cluster"}


def test_keys_are_in_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_KEY", CANARY)
    text = planned(cluster=cluster(tmp_path, PRICED), target="vllm").to_json()
    assert "CANARY_KEY" in text
    assert CANARY not in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "http://elsewhere/v1"),
        ("url", "http://me:key@host/v1"),
        ("key_env", "AWS_SECRET_ACCESS_KEY"),
        ("max_usd", 1e9),
    ],
)
def test_a_tampered_endpoint_is_refused(field: str, value: object) -> None:
    document = json.loads(planned(endpoints=((NAME, URL),)).to_json())
    document["engines"][0]["endpoint"][field] = value
    with pytest.raises(InputError) as caught:
        plan_from_json(json.dumps(document))
    assert [d.id for d in caught.value.diagnostics] == ["invalid-plan"]


@pytest.mark.parametrize(
    ("flags", "target"),
    [({}, "vllm"), ({"cluster": True}, "sim"), ({"target": "vllm", "cluster": True}, "vllm")],
)
def test_the_usual_target(flags: dict[str, Any], target: str, tmp_path: Path) -> None:
    if flags.pop("cluster", False):
        flags["cluster"] = cluster(tmp_path)
    assert planned(endpoints=((NAME, URL),), **flags).target == target


def test_servers_of_stated_cores_stand_side_by_side(tmp_path: Path) -> None:
    library = tmp_path / "l.toml"
    models = ("Qwen/Qwen3-8B", "meta-llama/Llama-3.1-8B-Instruct")
    library.write_text(
        "".join(
            SERVER.format(name=n, model=m, device="cpu")
            for n, m in zip(("one", "two"), models, strict=True)
        )
    )
    plan = planned(TWO, cluster=cluster(tmp_path), libraries=(library,))
    one, two = plan.engines
    assert {one.executor, two.executor} == {"one", "two"}
    for engine in plan.engines:
        assert (engine.cores, engine.replicas, engine.memory_share) == (1, 1, 0.0)
        assert round(engine.kv_cache_bytes / 2**30) >= 1
    assert one.start_s < two.end_s and two.start_s < one.end_s


def test_what_one_address_serves_is_told_apart(tmp_path: Path) -> None:
    library = tmp_path / "l.toml"
    library.write_text(
        "".join(SERVER.format(name=n, model="Qwen/Qwen3-8B", device="gpu") for n in ("one", "two"))
    )
    served = "".join(
        f'[[endpoint]]\nname = "{n}"\nurl = "{URL}"\nmodel = "served-{n}"\nkey_env = "KEY_{n}"\n'
        for n in ("one", "two")
    )
    plan = planned(TWO, cluster=cluster(tmp_path, served), libraries=(library,), target="vllm")
    reached = {engine.name: engine.endpoint for engine in plan.engines}
    for step in plan.steps:
        endpoint = reached[step.engine or ""]
        assert endpoint is not None
        assert (endpoint.model, endpoint.key_env) == (
            f"served-{step.executor}",
            f"KEY_{step.executor}",
        )


def test_a_gpu_server_takes_a_share_of_memory(tmp_path: Path) -> None:
    library = tmp_path / "l.toml"
    library.write_text(SERVER.format(name="one", model="Qwen/Qwen3-8B", device="gpu"))
    gpu = 'gpu = { type = "A100-SXM4-80GB", count = 1 }\ncpu = { cores = 8 }'
    file = cluster(tmp_path, text=CLUSTER.replace("cpu = { cores = 2 }", gpu))
    source = MOOD.replace("mood(review) }", 'mood(review) with { executor: "one" } }')
    (engine,) = planned(source, cluster=file, libraries=(library,)).engines
    assert (engine.gpu, engine.tp, engine.kv_cache_bytes) == ("A100-SXM4-80GB", 1, 0.0)
    # 16 GB of weights at least, of 80 GB
    assert 0.2 < engine.memory_share <= 1.0


def test_measured_starts_are_predicted(tmp_path: Path) -> None:
    from murakkab.runtime.profiling.records import record_rows
    from murakkab.runtime.profiling.rows import profile_csv
    from murakkab.runtime.record import RunRecord

    library, starts = tmp_path / "l.toml", tmp_path / "starts.csv"
    library.write_text(SERVER.format(name="one", model="Qwen/Qwen3-8B", device="cpu"))
    server = {"origin": "own", "start_s": 7.5, "sleep_s": None, "wake_s": None}
    engine = {"engine": "one", "model": "Qwen/Qwen3-8B", "device": "cpu", "tp": 0}
    starts.write_text(
        profile_csv(
            record_rows([RunRecord({"engines": [{**engine, "servers": [server]}], "steps": []})])
        )
    )
    flags: dict[str, Any] = {"cluster": cluster(tmp_path), "libraries": (library,)}
    source = MOOD.replace("mood(review) }", 'mood(review) with { executor: "one" } }')
    guessed = planned(source, **flags)
    measured = planned(source, profiles=(starts,), **flags)
    assert guessed.predicted.startup_s > 40
    assert measured.predicted.startup_s == 7.5
    assert measured.digests["profiles"] != guessed.digests["profiles"]


def test_shipped_servers_are_told_apart_from_tools() -> None:
    tool = next(e.name for e in load_library().executors if e.runner == "python")
    with pytest.raises(InputError) as caught:
        planned(endpoints=((tool, URL), (NAME + "x", URL)))
    found = {d.id: d.help for d in caught.value.diagnostics}
    assert found == {"unusable-endpoint": None, "unknown-executor": f"did you mean `{NAME}`?"}
