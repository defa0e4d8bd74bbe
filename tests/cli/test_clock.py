"""A clock that is set back in the middle of a run: its spans are those of one that never is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .process import ran
from .test_full_disk import ITEMS, LIBRARY, TOOLS, WORKFLOW

# Stands between a process and its clock: once the first item was worked on, the time of day is ten
# years back.
SET_BACK = """#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME && access("log", F_OK) == 0) now->tv_sec -= 10L * 365 * 86400;
    return result;
}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is how Linux does it")
def test_a_run_whose_clock_is_set_back_measures_and_goes_on(tmp_path: Path) -> None:
    library = tmp_path / "set_back.so"
    (tmp_path / "set_back.c").write_text(SET_BACK)
    source = tmp_path / "set_back.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    for name, text in (("w.mkb", WORKFLOW), ("library.toml", LIBRARY), ("tools.py", TOOLS)):
        (tmp_path / name).write_text(text)
    (tmp_path / "inputs.json").write_text(json.dumps({"items": ITEMS}))

    begin = "run w.mkb --library library.toml --inputs inputs.json --journal j.db --record r.json"
    _, out, err = ran(tmp_path, *begin.split(), LD_PRELOAD=str(library))
    assert json.loads(out) == [item * 5000 for item in ITEMS], err
    record = json.loads((tmp_path / "r.json").read_text())
    assert 0 < record["totals"]["measured"]["latency_s"] < 600
    calls = (tmp_path / "r.json.values" / "calls.jsonl").read_text().splitlines()
    spans = [(call["start_s"], call["end_s"]) for call in map(json.loads, calls)]
    assert len(spans) == len(ITEMS)
    assert all(0 <= start <= end < 600 for start, end in spans)

    _, again, err = ran(tmp_path, "run", "--resume", "j.db", LD_PRELOAD=str(library))
    assert again == out, err
    code, _, err = ran(tmp_path, "runs", "--json")
    assert code == 0, err
