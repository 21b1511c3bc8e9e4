"""The GPU benchmark runs anywhere in its small mode, and says what it measured."""

from __future__ import annotations

import pytest
import torch

from benchmarks.gpu import head_dropout, lines, main


def test_rows_are_ratios_to_the_first_way():
    with torch.no_grad():
        head, *rows = lines(head_dropout(torch.device("cpu"), rows=2, draws=2), rounds=1)
    assert "dropout in the head of a CNN, 2 draws of 2" in head
    assert [row.split()[0] for row in rows][:2] == ["by", "duda"]
    assert rows[0].split()[-1] == "1.00"
    assert all(float(row.split()[-2]) > 0 for row in rows)


@pytest.mark.nightly
def test_all_of_it_runs(capsys):
    grad = torch.is_grad_enabled()
    try:
        main(small=True)
    finally:
        torch.set_grad_enabled(grad)
    printed = capsys.readouterr().out
    assert "cannot be captured" not in printed
    assert printed.count("duda, prepared") == 5
    assert "left out" not in printed
