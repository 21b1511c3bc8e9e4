import pytest


@pytest.fixture
def found(example):
    return example("plot_06_regression_calibration", needs_data=True)


def test_no_sample_serves_twice(found):
    rows = [range(len(found["x"]))[found[part]] for part in ("train", "held_out", "test")]
    assert sum(map(len, rows)) == len(set().union(*rows)) == len(found["x"]) == 1030


def test_five_networks_are_shown_before_and_after(found):
    ways = {name: list(curves) for name, curves in found["after"].items()}
    assert ways.pop("Quantile network") == ["as trained", "levels mended"]
    assert len(ways) == 4
    assert all(each == ["as trained", "levels mended", "std scaled"] for each in ways.values())
    totals = {curve.total for curves in found["after"].values() for curve in curves.values()}
    assert totals == {300}


def test_moved_levels_hold_what_they_promise(found):
    for curves in found["after"].values():
        moved = curves["levels mended"]
        assert moved.mean_error < 3 * moved.null_mean_error


def test_moved_levels_mend_the_worst(found):
    worst = max(found["before"], key=lambda name: found["before"][name].mean_error)
    moved = found["after"][worst]["levels mended"]
    assert moved.mean_error < found["before"][worst].mean_error / 2
