"""What the other tests take for granted of a real server, and of the proxy in front of it."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from .proxy import Fault, FaultProxy

SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Prague", "Vienna"]}, "hour": {"enum": [1, 2, 3]}},
    "required": ["city", "hour"],
    "additionalProperties": False,
}


def chat(url: str, content: str, **more: Any) -> Any:
    document = {
        "model": "small",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 16,
        "temperature": 0.0,
    }
    body = json.dumps(document | more).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{url}/v1/chat/completions", body, headers), timeout=60.0) as answer:
        return json.loads(answer.read())


def test_a_server_answers_alike_to_the_same_question(server_small: str) -> None:
    first, second = (chat(server_small, "When does the train leave?") for _ in range(2))
    assert first["usage"]["completion_tokens"] == 16
    assert first["choices"][0]["message"] == second["choices"][0]["message"]


def test_a_schema_is_enforced(server_small: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "result", "schema": SCHEMA}}
    answer = chat(server_small, "Where, and when?", response_format=form, max_tokens=64)
    found = json.loads(answer["choices"][0]["message"]["content"])
    assert found["city"] in ("Prague", "Vienna") and found["hour"] in (1, 2, 3)


def test_the_proxy_stands_in_front_of_the_server(proxy: FaultProxy, server_small: str) -> None:
    proxy.plan([Fault("status", status=429, retry_after_s=1.0)])
    with pytest.raises(HTTPError, match="429") as refused:
        chat(proxy.url, "a")
    refused.value.close()
    through, direct = chat(proxy.url, "a"), chat(server_small, "a")
    assert through["choices"][0]["message"] == direct["choices"][0]["message"]
    assert sum(proxy.arrived.values()) == 2 and sum(proxy.delivered.values()) == 1
