"""Hostile code in the sandbox: each test is one way out, tried for real."""

import os
from pathlib import Path

import pytest

from murakkab.runtime.executors.sandbox import run_tests, unavailable

pytestmark = pytest.mark.skipif(
    unavailable() is not None, reason=f"no isolation on this machine: {unavailable()}"
)


def test_right_code_passes_by_assertions_functions_and_cases() -> None:
    code = "def double(x):\n    return 2 * x\n"
    assert run_tests(code, "assert double(2) == 4")["passed"]
    tests = (
        "from solution import double\nimport unittest\n"
        "def test_zero(): assert double(0) == 0\n"
        "class Doubles(unittest.TestCase):\n"
        "    def test_one(self): self.assertEqual(double(1), 2)\n"
    )
    assert run_tests(code, tests) == {"passed": True, "report": "2 tests passed"}


def test_wrong_code_fails_with_the_line_that_says_so() -> None:
    result = run_tests("def double(x):\n    return x\n", "print('hello')\nassert double(2) == 4")
    assert not result["passed"]
    assert result["report"].startswith("hello\n")
    assert 'File "tests.py", line 2' in result["report"]
    case = (
        "import unittest\nclass T(unittest.TestCase):\n    def test_x(self): self.fail('no luck')"
    )
    assert "no luck" in run_tests("", case)["report"]


@pytest.mark.parametrize("code", ["def f(:", "x = '\ud800'", "import numpy", "raise SystemExit(0)"])
def test_code_that_does_not_run_fails(code: str) -> None:
    assert not run_tests(code, "")["passed"]


def test_an_endless_loop_is_stopped() -> None:
    assert run_tests("while True: pass", "", timeout_s=1) == {
        "passed": False,
        "report": "stopped after 1 s",
    }


def test_a_pass_before_an_endless_thread_ends_in_time() -> None:
    code = "import threading, time\nthreading.Thread(target=lambda: time.sleep(60)).start()"
    assert run_tests(code, "assert True")["passed"]


def test_leaving_early_is_no_pass() -> None:
    assert not run_tests("import os\nos._exit(0)", "assert False")["passed"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("x = bytearray(10**9)", "MemoryError"),
        ("import os\nos.fork()", "PermissionError"),
        ("import subprocess\nsubprocess.run(['/bin/ls'])", "PermissionError"),
        ("import multiprocessing as m\nm.Process(target=print).start()", "PermissionError"),
        ("import socket\nsocket.create_connection(('192.0.2.1', 80), 2)", "PermissionError"),
        ("import socket\nsocket.socket(socket.AF_VSOCK)", "PermissionError"),
        ("import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "PermissionError"),
        ("for n in range(99_999): open(str(n), 'w').close()", "No space left"),
        ("open('/usr/lib/x', 'w')", "Read-only file system"),
        ("open('/etc/passwd').read()", "No such file"),
        ("while True: print('x' * 10000)", "File too large"),
        ("for n in range(99): open(str(n), 'wb').write(bytes(1 << 20))", "No space left"),
        ("l = [open('/dev/null') for _ in range(999)]", "Too many open files"),
        ("import os\nos.setsid()", "PermissionError"),
        ("import os\nos.kill(2, 9)", "ProcessLookupError"),
    ],
)
def test_what_is_out_of_reach(code: str, told: str) -> None:
    result = run_tests(code, "")
    assert not result["passed"]
    assert told in result["report"]
    assert len(result["report"]) < 8000


def test_it_sees_neither_environment_nor_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("x")
    monkeypatch.setenv("API_KEY", "hunter2")
    code = (
        "import os\nassert 'API_KEY' not in os.environ\n"
        f"assert not os.path.exists({str(tmp_path)!r})"
    )
    assert run_tests(code, "") == {"passed": True, "report": "all assertions passed"}


def test_what_it_writes_is_gone() -> None:
    before = set(os.listdir("/tmp"))
    result = run_tests(
        "open('mine', 'w').write('x')\nimport os\nos.mkdir('/tmp')", "assert open('mine').read()"
    )
    assert result["passed"]
    assert not [
        name for name in set(os.listdir("/tmp")) - before if name.startswith("murakkab-jail")
    ]


def test_a_message_with_half_a_character_is_shown() -> None:
    result = run_tests("def f(): raise ValueError('\\ud83d')", "f()")
    assert not result["passed"] and "ValueError: \\ud83d" in result["report"]


def test_an_event_loop_works() -> None:
    code = "import asyncio\nasync def f(): return 2\nassert asyncio.run(f()) == 2"
    assert run_tests(code, "")["passed"]
