"""Recalibrations and conformal predictors: kept in files, cloned, and as dicts of version 0.1."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

from duda.decisions import (
    APS,
    RAPS,
    BetaCalibration,
    ConformalClassifier,
    ConformalRegressor,
    Gate,
    HistogramBinning,
    Isotonic,
    MatrixScaling,
    PredictionSets,
    QuantileRecalibration,
    StdScale,
    Temperature,
    VectorScaling,
)
from duda.decisions.recalibration import NumberRecalibration, Recalibration
from duda.storage import Format

OLD = json.loads((Path(__file__).parent / "states_of_0.1.json").read_text())
RANDOM = np.random.default_rng(0)
PROBS = RANDOM.dirichlet(np.ones(3), 60)
LABELS = (PROBS.cumsum(1) < RANDOM.random((60, 1))).sum(1)
MEAN, STD = RANDOM.normal(size=(60, 2)), RANDOM.uniform(0.5, 2, size=(60, 2))
TARGETS = MEAN + 2 * STD * RANDOM.normal(size=(60, 2))

THINGS: dict[str, Any] = {
    "beta": BetaCalibration(),
    "histogram": HistogramBinning(bins=np.int64(40)),  # some of which stay empty
    "quantile histogram": HistogramBinning(binning="quantile"),
    "isotonic": Isotonic(),
    "matrix": MatrixScaling(np.float32(0.1)),
    "temperature": Temperature(),
    "vector": VectorScaling(1),
    "std": StdScale(),
    "quantiles": QuantileRecalibration(np.float32([0.1, 0.5, 0.9])),
    "regressor": ConformalRegressor(np.float32(0.2)),
    "regressor of too few": ConformalRegressor(0.001),
    "lac": ConformalClassifier(),
    "aps": ConformalClassifier(0.2, APS(), seed=np.int64(7)),
    "raps by class": ConformalClassifier(0.2, RAPS(0.1, np.int64(2), False), per_class=True),
}
every = pytest.mark.parametrize("name", THINGS)


def fitted(name: str) -> Any:
    thing = clone(THINGS[name])
    if isinstance(thing, (ConformalRegressor, NumberRecalibration)):
        return thing.fit(MEAN, TARGETS, std=STD)
    return thing.fit(PROBS, LABELS)


def knots(places: list[float], heights: list[float], maps: int = 3) -> torch.Tensor:
    """Return the same map several times."""
    one = torch.tensor([places, heights], dtype=torch.float64)
    return torch.cat([torch.stack([torch.full_like(one[0], i), *one], 1) for i in range(maps)])


def zigzag(count: int) -> torch.Tensor:
    """Return edges from 0 to 1 of which one is out of order."""
    edges = torch.linspace(0, 1, count, dtype=torch.float64)
    edges[[3, 4]] = edges[[4, 3]]
    return edges.expand(3, -1).clone()


def applied(thing: Any) -> torch.Tensor:
    if isinstance(thing, ConformalRegressor):
        return thing(MEAN, std=STD).lower
    if isinstance(thing, NumberRecalibration):
        return thing(MEAN, std=STD).score
    found = thing(PROBS)
    return found.sets if isinstance(thing, ConformalClassifier) else found


@every
def test_files_give_back_what_was_fitted(name: str, tmp_path: Path) -> None:
    thing = fitted(name)
    back = type(thing).load(thing.save(tmp_path / "file"))
    assert type(back) is type(thing)
    assert back.get_params() == thing.get_params()
    assert torch.equal(applied(back), applied(thing))


@every
def test_parameters_by_the_rules_of_scikit_learn(name: str) -> None:
    thing = fitted(name)
    copy = clone(thing)
    assert copy.get_params() == thing.get_params()
    assert not copy.is_fitted
    if copy.get_params():
        assert thing.set_params(**copy.get_params()) is thing
        assert not thing.is_fitted


def test_numbers_of_numpy_become_those_they_are_written_as() -> None:
    assert THINGS["quantiles"].levels == (0.1, 0.5, 0.9)
    assert THINGS["regressor"].alpha == 0.2
    assert THINGS["matrix"].penalty == 0.1


def test_a_class_of_several_reads_each(tmp_path: Path) -> None:
    path = fitted("isotonic").save(tmp_path / "file")
    assert isinstance(Recalibration.load(path), Isotonic)
    with pytest.raises(ValueError, match="the kind 'Isotonic', expected Temperature"):
        Temperature.load(path)
    with pytest.raises(ValueError, match="the kind 'Isotonic', expected StdScale, Quantile"):
        NumberRecalibration.load(path)
    with pytest.raises(ValueError, match=r"a 'duda.recalibration', expected a 'duda.conformal-pr"):
        ConformalRegressor.load(path)
    with pytest.raises(FileNotFoundError, match="no recalibration at"):
        Temperature.load(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "learned", "message"),
    [
        ("temperature", {"temperature": 0.0}, "its `temperature` is 0.0, expected it above 0"),
        ("temperature", {"temperature": math.inf}, "`temperature` has 0 NaN and 1 infinite"),
        ("temperature", {"temperature": "1"}, "its `temperature` is '1', expected float"),
        ("temperature", {"classes": 1}, "its `classes` is 1, expected at least 2"),
        ("vector", {"weight": torch.ones(3, 3).double()}, r"`weight` has shape \(3, 3\)"),
        ("matrix", {"weight": torch.ones(3).double()}, r"`weight` has shape \(3,\)"),
        ("matrix", {"bias": torch.ones(4).double()}, r"`bias` has shape \(4,\)"),
        ("beta", {"parameters": torch.ones(1, 3).double()}, "`parameters` are of 1 classes, exp"),
        ("beta", {"parameters": torch.ones(3, 2).double()}, "its `parameters` is a tensor of sh"),
        ("isotonic", {"knots": torch.ones(2, 3).double()}, "its `knots` are of 1 classes"),
        ("isotonic", {"knots": math.nan * torch.ones(3, 3)}, "`knots` has 9 NaN"),
        ("histogram", {"edges": torch.ones(3, 40).double()}, r"`edges` has shape \(3, 40\)"),
        ("std", {"scale": torch.tensor([1.0, -1.0])}, "its `scale` is -1, expected it above 0"),
        ("std", {"outputs": 3}, "its `scale` is of 2 outputs, expected 3"),
        ("quantiles", {"outputs": 3}, "its `knots` is of 2 outputs, expected 3"),
        ("regressor", {"thresholds": torch.tensor([0.0, math.nan])}, "`thresholds` has NaN"),
        ("regressor", {"calibration": torch.ones(2)}, r"its `calibration` is a .* torch\.float32"),
        ("regressor", {"calibration": torch.ones(3).long()}, r"its `calibration` .* shape \(3,\)"),
        ("lac", {"thresholds": torch.ones(3), "calibration": torch.ones(3).long()}, "3 thresholds"),
        ("lac", {"more": 1}, "it lacks some of"),
        ("temperature", {"temperature": -1.0}, "its `temperature` is -1.0, expected it above 0"),
        ("temperature", {"temperature": 10**400}, "its `temperature` is 1000.*0000, expected fl"),
        ("beta", {"parameters": -torch.ones(3, 3).double()}, "hold an a or b below 0"),
        ("histogram", {"frequencies": torch.full((3, 40), 1.5).double()}, "not all between 0 and"),
        ("histogram", {"frequencies": torch.full((3, 40), math.inf).double()}, "not all between"),
        ("histogram", {"edges": torch.ones(3, 41).double()}, "`edges` do not go from 0 to 1"),
        ("histogram", {"edges": zigzag(41)}, "its `edges` descend"),
        ("isotonic", {"knots": knots([0, 0.5, 0.1], [0, 0.1, 0.2])}, "its `knots` descend"),
        ("isotonic", {"knots": knots([0, 0.1, 0.2], [0.1, 0.1, 0.0])}, "its `knots` descend"),
        ("isotonic", {"knots": knots([0, 0.1, 148], [0, 0.1, 0.2])}, "`knots` are not all betw"),
        ("isotonic", {"knots": knots([0.0], [0.0]) + torch.tensor([1, 0, 0])}, "not of maps 0, 1"),
        ("quantiles", {"knots": knots([0, 0.5, 0.1], [0, 0.1, 0.2], 2)}, "its `knots` descend"),
        ("quantiles", {"knots": knots([-1, 0.5], [0, 0.1], 2)}, "not all between 0 and 1"),
        ("regressor", {"thresholds": torch.full((2,), -1.0)}, "`thresholds` are .-1.0, -1.0., of"),
        ("regressor", {"thresholds": torch.full((2,), -math.inf)}, "`thresholds` are .-inf"),
        ("regressor", {"calibration": torch.tensor([60, -1])}, "`calibration` holds -1 examples"),
        ("regressor", {"calibration": torch.tensor([60, 3])}, r"of \[60, 3\] scores"),
        ("regressor of too few", {"thresholds": torch.ones(2)}, "`thresholds` are .1.0, 1.0."),
        ("lac", {"thresholds": torch.tensor([-0.5])}, "`thresholds` are .-0.5."),
        ("raps by class", {"calibration": torch.tensor([0, 60, 60])}, r"of \[0, 60, 60\] scores"),
    ],
)
def test_each_field_is_checked(
    name: str, learned: dict[str, Any], message: str, tmp_path: Path
) -> None:
    thing = fitted(name)
    kind, state = thing.format.read(thing.save(tmp_path / "file"))
    changed = state | {"learned": state["learned"] | learned}
    path = thing.format.write(tmp_path / "file", kind, changed)
    with pytest.raises(ValueError, match=f"no valid {kind}: .*{message}"):
        type(thing).load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": {"name": "own"}}, "its score is 'own', expected lac, aps, raps"),
        ({"score": {"name": "raps", "penalty": -1}}, "`penalty` is -1, expected a finite"),
        ({"score": {"name": "lac", "more": 1}}, "unexpected keyword argument"),
        ({"score": 3}, "its score is 3"),
        ({"alpha": 2.0}, "`alpha` is 2.0"),
        ({"per_class": None}, "`per_class` is None, expected True or False"),
        ({"score": {"name": "aps", "randomized": 2}}, "`randomized` is 2, expected True or False"),
        ({"other": 1}, "unexpected keyword argument 'other'"),
    ],
)
def test_each_option_is_checked(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    kind, state = ConformalClassifier.format.read(fitted("lac").save(tmp_path / "file"))
    changed = state | {"options": state["options"] | options}
    path = ConformalClassifier.format.write(tmp_path / "file", kind, changed)
    with pytest.raises(ValueError, match=f"no valid ConformalClassifier: .*{message}"):
        ConformalClassifier.load(path)


def test_a_state_that_is_none_is_told(tmp_path: Path) -> None:
    path = Format("conformal predictor").write(tmp_path / "file", "ConformalClassifier", {})
    with pytest.raises(ValueError, match="no valid ConformalClassifier: its score is None"):
        ConformalClassifier.load(path)


@pytest.mark.parametrize("name", OLD)
def test_dicts_of_version_0_1(name: str) -> None:
    kind = {type(thing).__name__: type(thing) for thing in THINGS.values()}[name]
    with pytest.warns(DeprecationWarning, match=r"`from_dict` goes .*: call `load\(path\)`"):
        thing = kind.from_dict(OLD[name])
    with pytest.warns(DeprecationWarning, match=r"`to_dict` goes .*: call `save\(path\)`"):
        assert json.loads(json.dumps(thing.to_dict(), allow_nan=False)) == OLD[name]


@pytest.mark.filterwarnings("ignore:`from_dict`")
def test_dicts_of_something_else() -> None:
    with pytest.raises(ValueError, match=r"kind 'Temperature', expected .* for 'Isotonic'"):
        Isotonic.from_dict(OLD["Temperature"])
    with pytest.raises(ValueError, match="take what its `to_dict` returned"):
        Temperature.from_dict({"kind": "Temperature"})
    with pytest.raises(ValueError, match="its `temperature` is 'warm', expected float"):
        Temperature.from_dict(OLD["Temperature"] | {"temperature": "warm"})
    with pytest.raises(ValueError, match="its score is 'own', expected lac, aps, raps"):
        ConformalClassifier.from_dict(OLD["ConformalClassifier"] | {"score": {"name": "own"}})


RESULTS: dict[str, Any] = {
    "sets": lambda: fitted("lac")(PROBS),
    "intervals": lambda: fitted("regressor")(MEAN, std=STD),
    "intervals of one output": lambda: ConformalRegressor().fit(
        MEAN[:, 0], STD[:, 0], std=STD[:, 1]
    )(MEAN[:, 0], std=STD[:, 1]),
    "decisions": lambda: Gate.keep(0.9).fit(PROBS[:, 0])(PROBS[:, 1]),
    "decisions by p-values": lambda: Gate.false_alarm(0.1).fit(PROBS[:, 0])(PROBS[:, 1]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_kept_too(name: str, tmp_path: Path) -> None:
    found = RESULTS[name]()
    back = type(found).load(found.save(tmp_path / "file"))
    assert type(back) is type(found)
    for field, value in found.state().items():
        other = getattr(back, field)
        assert torch.equal(other, value) if isinstance(value, torch.Tensor) else other == value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sets": torch.ones(60, 3)}, r"its `sets` is a .* torch\.float32, expected Bool"),
        ({"alpha": None}, "its `alpha` is None, expected float"),
        ({"more": 1}, "it lacks some of .* or has others"),
    ],
)
def test_each_field_of_a_result_is_checked(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    found = fitted("lac")(PROBS)
    path = found.format.write(tmp_path / "file", "PredictionSets", found.state() | changes)
    with pytest.raises(ValueError, match=f"no valid PredictionSets: {message}"):
        PredictionSets.load(path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sets", {"alpha": -1.0}, "`alpha` is -1.0"),
        (
            "sets",
            {"calibration": torch.ones(2).long()},
            r"`calibration` is tensor.* one for each of 3",
        ),
        ("sets", {"calibration": -torch.ones(1).long()}, "`calibration` is tensor"),
        ("intervals", {"alpha": math.nan}, "`alpha` is nan"),
        ("intervals", {"lower": torch.full((60, 2), math.nan)}, "`lower` has 120 NaN"),
        ("intervals", {"upper": torch.ones(60, 3)}, "its `upper` is a tensor of shape"),
        ("intervals", {"calibration": torch.ones(3).long()}, "`calibration` is tensor"),
        (
            "intervals of one output",
            {"calibration": torch.ones(2).long()},
            "`calibration` is tensor",
        ),
        ("decisions", {"decisions": torch.tensor([0, 3])}, "`decisions` hold others than 0, 1"),
        ("decisions by p-values", {"p_values": torch.full((60,), 148.0)}, r"not all in \[0, 1\]"),
    ],
)
def test_values_of_results_are_checked(
    name: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    found = RESULTS[name]()
    kind = type(found).__name__
    path = found.format.write(tmp_path / "file", kind, found.state() | changes)
    with pytest.raises(ValueError, match=f"no valid {kind}: .*{message}"):
        type(found).load(path)
