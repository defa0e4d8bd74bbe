"""Profile files: load points, curves through them, and what is wrong with a row."""

from pathlib import Path

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.targets.catalog import load_catalog
from murakkab.targets.library import load_library
from murakkab.targets.profiles import (
    ITEM_COLUMNS,
    TOKEN_COLUMNS,
    Curve,
    load_profiles,
    token_curve,
)

HEADER = "model,device,tp,load_tokens_per_s,tpot_p50_ms,tpot_p90_ms,power_w,source"
ROWS = ["m,T4,1,100,10,12,60,ours", "m,T4,1,200,20,24,,ours"]


def write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "p.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_load_points(tmp_path: Path) -> None:
    profiles = load_profiles([write(tmp_path, *ROWS)], shipped=False)
    first, second = profiles.tokens["m", "T4", 1]
    assert first.tpot_s == (0.010, 0.012, None, None)
    assert (first.concurrency, second.concurrency) == (1.0, 4.0)
    assert (first.power_w, second.power_w) == (60, None)
    assert profiles.origins["m", "T4", 1] == "measured"


def test_curves_skip_what_was_not_measured(tmp_path: Path) -> None:
    points = load_profiles([write(tmp_path, *ROWS)], shipped=False).tokens["m", "T4", 1]
    time = token_curve(points, lambda p: p.tpot_s[0])
    assert time is not None
    assert [time.at(x) for x in (0.1, 1, 2.5, 4, 99)] == pytest.approx(
        [0.01, 0.01, 0.015, 0.02, 0.02]
    )
    assert token_curve(points, lambda p: p.power_w) == Curve((1.0,), (60.0,))
    assert token_curve(points, lambda p: p.ttft_s[0] if p.ttft_s else None) is None


def test_a_users_rows_come_before_shipped_ones(tmp_path: Path) -> None:
    row = "meta-llama/Llama-3.1-8B-Instruct,H100-SXM5-80GB,1,100,10,12,600,ours"
    profiles = load_profiles([write(tmp_path, row)])
    key = ("meta-llama/Llama-3.1-8B-Instruct", "H100-SXM5-80GB", 1)
    assert [p.source for p in profiles.tokens[key]] == ["ours"]
    assert profiles.origins[key] == "measured"
    assert profiles.origins["Qwen/Qwen3-8B", "H100-SXM5-80GB", 1] == "shipped"


def test_items(tmp_path: Path) -> None:
    header = "model,device,tp,load_items_per_s,latency_p50_s,latency_p90_s,source"
    path = write(tmp_path, "tool,cpu,0,2,0.5,0.6,ours", header=header)
    (point,) = load_profiles([path], shipped=False).items["tool", "cpu", 0]
    assert point.latency_s[:2] == (0.5, 0.6)


@pytest.mark.parametrize(
    ("row", "where", "message"),
    [
        ("m,T4,1,0,10,12,60,ours", "2:8", "`load_tokens_per_s` is 0; it must be above 0"),
        ("m,T4,1,100,nan,12,60,ours", "2:12", "`tpot_p50_ms` is nan; it must be above 0"),
        ("m,T4,1,100,10,inf,60,ours", "2:15", "`tpot_p90_ms` is inf"),
        ("m,T4,1,100,10,12,-5,ours", "2:18", "`power_w` is -5"),
        ("m,T4,1,100,fast,12,60,ours", "2:12", "`fast` is not a number"),
        ("m,T4,1,100,10,9,60,ours", "2:15", "`tpot_p90_ms` is below `tpot_p50_ms`"),
        ("m,T4,1,100,,,60,ours", "2:12", "`tpot_p50_ms` is empty"),
        ("m,T4,1,100,10,12,60,", "2:21", "`source` is empty"),
        ("m,T4,1.5,100,10,12,60,ours", "2:6", "`tp` is 1.5, not a whole number"),
        ("m,T4,1,100,10", "2:1", "the row has 5 cells, the header 8"),
    ],
)
def test_bad_cells(tmp_path: Path, row: str, where: str, message: str) -> None:
    path = write(tmp_path, row)
    with pytest.raises(InputError) as caught:
        load_profiles([path])
    (finding,) = caught.value.diagnostics
    assert message in finding.message
    assert str(finding.span) == f"{path}:{where}"


@pytest.mark.parametrize(
    ("row", "where", "message"),
    [
        ("m,T4,1,100,20,24,,ours", "3:8", "`load_tokens_per_s` is not above that of line 2"),
        ("m,T4,1,200,5,6,,ours", "3:12", "falls below that of line 2 although the load rises"),
    ],
)
def test_rows_that_are_not_monotone(tmp_path: Path, row: str, where: str, message: str) -> None:
    path = write(tmp_path, ROWS[0], row)
    with pytest.raises(InputError) as caught:
        load_profiles([path])
    (finding,) = caught.value.diagnostics
    assert message in finding.message
    assert str(finding.span) == f"{path}:{where}"


def test_bad_headers(tmp_path: Path) -> None:
    path = write(tmp_path, header=HEADER.replace("power_w", "power").replace("source", "sourc"))
    with pytest.raises(InputError) as caught:
        load_profiles([path])
    found = [(d.message, d.help) for d in caught.value.diagnostics]
    assert ("unknown column `power`", "did you mean `power_w`?") in found
    assert ("no column `source`", None) in found


def test_a_cell_without_end(tmp_path: Path) -> None:
    path = write(tmp_path, "m," + "x" * 200_000)
    with pytest.raises(InputError, match="malformed CSV"):
        load_profiles([path])


def test_a_byte_order_mark_is_no_column(tmp_path: Path) -> None:
    path = write(tmp_path, *ROWS, header="\ufeff" + HEADER)
    assert list(load_profiles([path], shipped=False).tokens) == [("m", "T4", 1)]


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("")
    with pytest.raises(InputError, match="no column `model`"):
        load_profiles([path])


def test_shipped_rows_belong_to_something() -> None:
    profiles = load_profiles()
    catalog = load_catalog()
    for model, device, tp in profiles.tokens:
        assert model in catalog.models
        assert device in catalog.gpus
        assert tp >= 1
    names = {e.name for e in load_library().executors if e.runner == "python"}
    assert {name for name, _, _ in profiles.items} == names
    assert set(TOKEN_COLUMNS) & set(ITEM_COLUMNS) >= {"model", "source"}


STARTS = "model,precision,device,tp,start_s,wake_s,source\n"


def test_measured_starts_replace_the_estimate(tmp_path: Path) -> None:
    file = tmp_path / "starts.csv"
    file.write_text(STARTS + "Qwen/Qwen3-8B,bf16,H100,1,71.5,2.5,measured here\n")
    profiles = load_profiles([file])
    assert profiles.starts == {("Qwen/Qwen3-8B", "H100", 1): 71.5}
    assert profiles.tokens == load_profiles().tokens
    assert profiles.digest != load_profiles().digest


@pytest.mark.parametrize(
    ("rows", "message", "line"),
    [
        ("a,bf16,cpu,0,0,,here\n", "`start_s` is 0; it must be above 0 and finite", 2),
        ("a,bf16,cpu,0,,1,here\n", "`start_s` is empty", 2),
        ("a,,cpu,0,3,,here\na,,cpu,0,4,,here\n", "line 2 has this model, device and `tp`", 3),
    ],
)
def test_wrong_starts_are_found(tmp_path: Path, rows: str, message: str, line: int) -> None:
    file = tmp_path / "starts.csv"
    file.write_text(STARTS + rows)
    with pytest.raises(InputError) as caught:
        load_profiles([file])
    (found,) = caught.value.diagnostics
    assert found.message == message
    assert found.span is not None and found.span.line == line


MIXED = (
    "model,device,tp,osl_tok,load_tokens_per_s,in_flight,load_items_per_s,latency_p50_s,start_s"
    ",source\n"
)


def test_one_file_holds_rows_of_several_kinds(tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    file.write_text(
        MIXED + "m,cpu,0,50,100,4,,,,here\ntool,cpu,0,,,,2,0.5,,here\nm,cpu,0,,,,,,30,here\n"
    )
    profiles = load_profiles([file], shipped=False)
    (point,) = profiles.tokens["m", "cpu", 0]
    assert (point.request_s, point.concurrency) == (2.0, 4.0)
    assert profiles.items["tool", "cpu", 0][0].latency_s[0] == 0.5
    assert profiles.starts["m", "cpu", 0] == 30.0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("m,cpu,0,50,100,2,2,,,here", "a row with `load_tokens_per_s` has no `load_items_per_s`"),
        ("m,cpu,0,,100,2,,,,here", "without a time per token, `osl_tok` is needed"),
        ("m,cpu,0,50,,2,,,,here", "`load_tokens_per_s` is empty"),
    ],
)
def test_a_row_is_of_one_kind(tmp_path: Path, row: str, message: str) -> None:
    file = tmp_path / "all.csv"
    file.write_text(MIXED + row + "\n")
    with pytest.raises(InputError) as caught:
        load_profiles([file], shipped=False)
    assert message in [found.message for found in caught.value.diagnostics]


def test_requests_in_flight_follow_from_the_time_of_whole_requests(tmp_path: Path) -> None:
    header = "model,device,tp,osl_tok,load_tokens_per_s,ttft_p50_s,tpot_p50_ms,source"
    path = write(tmp_path, "m,T4,1,101,100,1,10,ours", header=header)
    (point,) = load_profiles([path], shipped=False).tokens["m", "T4", 1]
    assert point.request_s == pytest.approx(2.0)
    assert point.concurrency == pytest.approx(100 / 101 * 2.0)
