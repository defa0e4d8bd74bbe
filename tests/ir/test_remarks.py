"""Remarks: said once, in order; what was done after all is not called refused."""

from murakkab.ir.diagnostics import Span
from murakkab.ir.ops import Op
from murakkab.ir.remarks import Remark, Remarks, Reporter, counted

HERE = Op("list", locs=(Span("a.mkb", 3, 5, 3, 9), Span("a.mkb", 4, 1, 4, 2)))
THERE = Op("list", locs=(Span("a.mkb", 4, 1, 4, 2),))


def test_places_of_all_operations_are_kept_once() -> None:
    remarks = Remarks()
    Reporter("fuse", remarks).did("maps", "one walk", HERE, THERE)
    (found,) = remarks.all()
    assert found == Remark("fuse", "maps", True, "one walk", ("a.mkb:3:5", "a.mkb:4:1"))


def test_what_is_said_again_counts_once_and_order_stays() -> None:
    remarks = Remarks()
    report = Reporter("hoist", remarks)
    report.refused("calls", "sampled", HERE)
    report.did("calls", "once", THERE)
    report.refused("calls", "sampled", HERE)
    assert [remark.applied for remark in remarks.all()] == [False, True]
    assert counted(remarks.all()) == {("hoist", "calls"): (1, 1)}


def test_what_was_done_later_was_not_refused() -> None:
    remarks = Remarks()
    report = Reporter("fuse", remarks)
    report.refused("maps", "something stands between", HERE)
    report.did("maps", "one walk", HERE)
    assert [remark.applied for remark in remarks.all()] == [True]


def test_nobody_need_listen() -> None:
    Reporter("fuse").did("maps", "one walk", HERE)
