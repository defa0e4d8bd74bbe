"""Addresses of endpoints: which are accepted, and the form in which plans hold them."""

import re

import pytest

from murakkab.targets.endpoint import base_url, unusable_url
from murakkab.targets.plan import plan_schema


@pytest.mark.parametrize(
    ("url", "held"),
    [
        ("http://host:8000/v1", "http://host:8000/v1"),
        ("HTTPS://Host/v1//", "https://Host/v1"),
        ("http://[::1]:8000/v1/", "http://[::1]:8000/v1"),
        ("http://host/v1;a=b", "http://host/v1;a=b"),
    ],
)
def test_what_is_accepted_is_what_plans_can_hold(url: str, held: str) -> None:
    assert unusable_url(url) is None
    assert base_url(url) == held
    engine = plan_schema()["properties"]["engines"]["items"]
    schema = engine["properties"]["endpoint"]["anyOf"][0]["properties"]["url"]
    assert re.search(schema["pattern"], held)
    assert len(held) <= schema["maxLength"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("host:8000", "not an `http://`"),
        ("http://[::1", "not a URL"),
        ("http://host:70000", "not a URL"),
        ("http://host:0", "not an `http://`"),
        ("http://@host/v1", "user name"),
        ("http://host/v1/@x", "more than a path"),
        ("http://host/v1?", "more than a path"),
        ("http://host/v1#", "more than a path"),
        ("http://host/v1\n", "control character"),
        ("http://host/" + "a" * 2000, "over 2000 characters"),
    ],
)
def test_what_is_refused_and_why(url: str, why: str) -> None:
    assert why in (unusable_url(url) or "")
