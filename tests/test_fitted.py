"""Options and what was learned: parameters by scikit-learn's rules, and files that are checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float
from sklearn.base import clone
from torch import Tensor

from duda.fitted import Fitted
from duda.params import Params
from duda.storage import Format


@dataclass(eq=False)
class Line(Fitted):
    """Scales each column by its largest entry."""

    format = Format("line")
    power: float = 1.0
    name: str = "line"
    top: Float[Tensor, "D"] = field(init=False, repr=False)
    square: Float[Tensor, "D D"] = field(init=False, repr=False)
    count: int = field(init=False, repr=False)
    shape: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise ValueError(f"`power` is {self.power}, expected more than 0.")

    def fit(self, x: Tensor) -> Line:
        self.top, self.square = x.amax(0), x.T @ x
        self.count, self.shape = len(x), tuple(x.shape)
        return self

    def check_learned(self) -> None:
        super().check_learned()
        if self.count < 1:
            raise ValueError("its `count` is 0.")


class Pair(Params):
    """A holder of another object with parameters."""

    def __init__(self, line: Line, *, weight: float = 1.0) -> None:
        self.line, self.weight = line, weight


@pytest.fixture
def line() -> Line:
    return Line(power=0.3).fit(torch.randn(5, 3))


def test_a_file_gives_back_what_was_fitted(line: Line, tmp_path: Path) -> None:
    back = Line.load(line.save(tmp_path / "line"))
    assert type(back) is Line
    assert back.get_params() == {"power": 0.3, "name": "line"}
    assert torch.equal(back.top, line.top)
    assert torch.equal(back.square, line.square)
    assert (back.count, back.shape) == (5, (5, 3))


def test_what_is_not_fitted_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="this Line is not fitted: call its `fit` first"):
        Line().save(tmp_path / "line")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("options", {"power": -1.0}, "no valid Line: `power` is -1.0, expected more than 0"),
        ("options", {"other": 1}, "no valid Line: .*unexpected keyword"),
        ("learned", {"top": torch.zeros(2)}, r"its `square` is a tensor of shape \(3, 3\)"),
        ("learned", {"square": torch.zeros(3, 2)}, r"shape \(3, 2\) .* expected Float.*'D D'"),
        ("learned", {"top": torch.zeros(3, dtype=torch.int64)}, r"its `top` .* torch\.int64"),
        ("learned", {"top": torch.tensor([0.0, 1.0, math.nan])}, "its `top` has NaN"),
        ("learned", {"count": 2.5}, "its `count` is 2.5, expected int"),
        ("learned", {"count": True}, "its `count` is True, expected int"),
        ("learned", {"count": 0}, "its `count` is 0"),
        ("learned", {"shape": [1]}, r"its `shape` is \[1\], expected tuple"),
        ("learned", {"more": 1}, "it lacks some of .* or has others"),
    ],
)
def test_each_field_is_checked(
    line: Line, tmp_path: Path, part: str, changes: dict[str, Any], message: str
) -> None:
    kind, state = Line.format.read(line.save(tmp_path / "line"))
    path = Line.format.write(tmp_path / "line", kind, state | {part: state[part] | changes})
    with pytest.raises(ValueError, match=message):
        Line.load(path)


def test_another_kind_is_named(line: Line, tmp_path: Path) -> None:
    _, state = Line.format.read(line.save(tmp_path / "line"))
    path = Line.format.write(tmp_path / "line", "Circle", state)
    with pytest.raises(ValueError, match="a line of the kind 'Circle', expected Line"):
        Line.load(path)


def test_parameters(line: Line) -> None:
    pair = Pair(line, weight=2.0)
    assert pair.get_params(deep=False) == {"line": line, "weight": 2.0}
    assert pair.get_params() == {
        "line": line,
        "weight": 2.0,
        "line__power": 0.3,
        "line__name": "line",
    }
    assert pair.set_params(weight=3.0, line__power=0.5) is pair
    assert (pair.weight, line.power) == (3.0, 0.5)


def test_set_parameters_forget_what_was_fitted(line: Line) -> None:
    line.set_params(power=2.0)
    with pytest.raises(ValueError, match="not fitted"):
        line.check_fitted()


def test_refused_parameters_change_nothing(line: Line) -> None:
    with pytest.raises(ValueError, match="`power` is 0"):
        line.set_params(power=0)
    with pytest.raises(ValueError, match="unknown parameter 'powr': did you mean 'power'"):
        line.set_params(powr=1.0)
    assert line.power == 0.3
    line.check_fitted()


def test_scikit_learn_can_clone_it(line: Line) -> None:
    copy = clone(Pair(line))
    assert copy.line is not line
    assert copy.line.power == 0.3
    with pytest.raises(ValueError, match="not fitted"):
        copy.line.check_fitted()
