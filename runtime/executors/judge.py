"""Runs tests on code inside the jail and tells how it went; standard library only.

The code is the module `solution`; the tests see its names and may import it. Statements of the
tests (`assert f(2) == 4`) run first, then functions `test_…` without parameters, then unittest's
`TestCase`s. Started by `jail.py` with the number of the pipe for the verdict.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
import unittest
from types import ModuleType
from typing import Any, NoReturn

_SUMMARY_CHARACTERS = 3000


def main(verdict: int) -> NoReturn:
    """Judge, write `{"passed", "summary"}` to the pipe, and leave without running anything more."""
    solution = ModuleType("solution")
    sys.modules["solution"] = solution
    try:
        _execute("solution.py", solution.__dict__)
        names = {**solution.__dict__, "__name__": "tests"}
        _execute("tests.py", names)
        passed, summary = _run_collected(
            {k: v for k, v in names.items() if _is_new(k, v, solution)}
        )
    except BaseException:  # `sys.exit()` in the code is a failure too
        kind, error, place = sys.exc_info()
        while place is not None and place.tb_frame.f_code.co_filename == __file__:
            place = place.tb_next  # the author sees his frames alone
        passed, summary = False, "".join(traceback.format_exception(kind, error, place))
    readable = summary.encode("utf-8", "backslashreplace").decode()
    answer = {"passed": passed, "summary": readable[-_SUMMARY_CHARACTERS:]}
    os.write(verdict, json.dumps(answer).encode())
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0 if passed else 1)  # no exit hooks, and no waiting for threads left behind


def _execute(name: str, names: dict[str, Any]) -> None:
    with open(name, encoding="utf-8") as file:
        exec(compile(file.read(), name, "exec"), names)


def _is_new(name: str, value: object, solution: ModuleType) -> bool:
    return solution.__dict__.get(name) is not value


def _run_collected(names: dict[str, Any]) -> tuple[bool, str]:
    functions = [f for n, f in names.items() if n.startswith("test") and inspect.isfunction(f)]
    for function in functions:
        function()
    suite = unittest.TestSuite(
        unittest.defaultTestLoader.loadTestsFromTestCase(value)
        for value in names.values()
        if isinstance(value, type) and issubclass(value, unittest.TestCase)
    )
    result = suite.run(unittest.TestResult())
    wrong = [
        text
        for _, text in [*(result.failures if result else []), *(result.errors if result else [])]
    ]
    if wrong:
        return False, "\n".join(wrong)
    count = len(functions) + suite.countTestCases()
    return True, f"{count} tests passed" if count else "all assertions passed"


if __name__ == "__main__":
    main(int(sys.argv[1]))
