"""Files of gates: exact, checked field by field, and those of version 0.1, which were JSON."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from duda.decisions import Gate
from duda.decisions.guarantee import Guarantee

GATES = {
    "keep": lambda: Gate.keep(0.9),
    "keeps all": lambda: Gate.keep(0.999999),
    "risk": lambda: Gate.risk(0.3, 0.9),
    "false alarm": lambda: Gate.false_alarm(0.1),
    "batch": lambda: Gate.false_alarm(0.1, batch=True),
    "cost": lambda: Gate.cost(error=3, refusal=1.25),
    "three outcomes": lambda: Gate.cost(error=3, refusal=2, asking=1 / 3, refused_error=0),
}
OLD = json.loads((Path(__file__).parent / "gates_of_0.1.json").read_text())


def fitted(name):
    random = np.random.default_rng(0)
    score = np.r_[random.random(39).round(4), math.inf]
    return GATES[name]().fit(score, is_bad=random.random(40) < 0.1)


def assert_same(one, other):
    state, expected = one.guarantee.state(), other.guarantee.state()
    assert type(one.guarantee) is type(other.guarantee)
    calibration = expected["learned"].pop("calibration", None)
    if calibration is not None:
        assert torch.equal(state["learned"].pop("calibration"), calibration)
    assert state == expected
    assert one.summary() == other.summary()
    new = np.random.default_rng(1).random(50)
    assert torch.equal(one(new).decisions, other(new).decisions)


@pytest.mark.parametrize("name", GATES)
def test_round_trip_is_exact(name, tmp_path):
    gate = fitted(name)
    assert_same(Gate.load(gate.save(tmp_path / "gate")), gate)


@pytest.mark.parametrize("name", GATES)
def test_files_of_version_0_1_are_read(name, tmp_path):
    path = tmp_path / "gate.json"
    path.write_text(json.dumps(OLD[name], indent=1) + "\n")
    assert_same(Gate.load(path), fitted(name))


def test_what_is_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        Gate.keep(0.9).save(tmp_path / "gate")
    assert not list(tmp_path.iterdir())


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no gate at"):
        Gate.load(tmp_path / "gate")


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("options", {"share": 2}, "no valid Keep: `share` is 2"),
        ("options", {"level": 0.1}, "no valid Keep: .*unexpected keyword argument 'level'"),
        ("learned", {"threshold": None}, "its `threshold` is None, expected float"),
        ("learned", {"threshold": "much"}, "its `threshold` is 'much', expected float"),
        ("learned", {"threshold": math.nan}, "its `threshold` has NaN"),
        ("learned", {"threshold": True}, "its `threshold` is True, expected float"),
        ("learned", {"examples": 1.5}, "its `examples` is 1.5, expected int"),
        ("learned", {"examples": True}, "its `examples` is True, expected int"),
        ("learned", {"examples": 0}, "it was not fitted"),
        ("learned", {"more": 1}, "or has others"),
    ],
)
def test_each_field_is_checked(part, changes, message, tmp_path):
    kind, state = Guarantee.format.read(fitted("keep").save(tmp_path / "gate"))
    path = Guarantee.format.write(tmp_path / "gate", kind, state | {part: state[part] | changes})
    with pytest.raises(ValueError, match=message):
        Gate.load(path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("keep", {"threshold": -math.inf}, "its `threshold` is -inf for 40 examples"),
        ("keeps all", {"threshold": 0.5}, "its `threshold` is 0.5 for 40 examples"),
        ("keeps all", {"threshold": 10**400}, "its `threshold` is 1000.*00, expected float"),
        ("risk", {"bound": 0.99}, "its `bound` is 0.99, expected 0.2.* and at most 0.3"),
        ("risk", {"accepted_bad": 3}, "its `bound` is 0.29.*, expected 0.25"),
        ("risk", {"accepted_bad": 400}, "its `accepted_bad` is 400, of .* accepted and 4 bad"),
        ("risk", {"accepted_bad": -1}, "its `accepted_bad` is -1"),
        ("risk", {"accepted": 10**18}, "its `accepted_bad` is ., of 1000000000000000000 acc"),
        ("risk", {"bad": -1}, "its `bad` is -1 of 40 examples"),
        ("risk", {"bad": 41}, "its `bad` is 41 of 40 examples"),
        ("risk", {"tried": 0}, "its `tried` is 0 thresholds, expected"),
        ("risk", {"threshold": -math.inf}, "its `threshold` is -inf"),
        ("risk", {"examples": 2}, "."),
        ("cost", {"mean_cost": 1e308}, "`mean_cost` is 1e.308, but accepting everything costs"),
        ("cost", {"mean_cost": -math.inf}, "its `mean_cost` is -inf"),
        ("cost", {"bad": 10**400}, "its `bad` is"),
        ("cost", {"ask_threshold": 2.0}, "its `threshold` is .*, and `ask_threshold` 2.0"),
        ("three outcomes", {"ask_threshold": -1.0}, "`threshold` is 0.*, and `ask_threshold` -1.0"),
    ],
)
def test_what_was_learned_is_consistent(name, changes, message, tmp_path):
    kind, state = Guarantee.format.read(fitted(name).save(tmp_path / "gate"))
    changed = state | {"learned": state["learned"] | changes}
    path = Guarantee.format.write(tmp_path / "gate", kind, changed)
    with pytest.raises(ValueError, match=f"no valid {kind}: .*{message}"):
        Gate.load(path)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (torch.zeros(0).double(), "it was not fitted"),
        (torch.tensor([0.0, math.nan]).double(), "its `calibration` has NaN"),
        (torch.tensor([2.0, 1.0]).double(), "its `calibration` descends"),
        (torch.tensor([-math.inf, 1.0]).double(), "its `calibration` holds -inf"),
        (torch.zeros(2, 1).double(), r"its `calibration` is a tensor of shape \(2, 1\)"),
    ],
)
def test_scores_to_compare_with_are_checked(calibration, message, tmp_path):
    kind, state = Guarantee.format.read(fitted("batch").save(tmp_path / "gate"))
    state["learned"]["calibration"] = calibration
    with pytest.raises(ValueError, match=message):
        Gate.load(Guarantee.format.write(tmp_path / "gate", kind, state))


def test_another_kind_is_named(tmp_path):
    path = Guarantee.format.write(tmp_path / "gate", "Hope", {})
    with pytest.raises(ValueError, match="the kind 'Hope', expected Cost, FalseAlarm, Keep"):
        Gate.load(path)


def changed(**values):
    return lambda content: content | {"values": content["values"] | values}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: [], "no gate that this version"),
        (lambda content: content | {"version": 2}, "no gate that this version"),
        (
            lambda content: content | {"promise": "hope"},
            "the kind 'hope', expected Cost",
        ),
        (lambda content: content | {"values": {}}, "no valid Keep: it lacks some of"),
        (lambda content: content | {"values": 3}, "a gate without its values"),
        (changed(other=1), "or has others"),
        (changed(share=2), "`share` is 2"),
        (changed(threshold=None), "its `threshold` is None, expected float"),
        (changed(threshold="much"), "its `threshold` is 'much', expected float"),
        (changed(threshold=math.nan), "its `threshold` has NaN"),
        (changed(threshold=True), "its `threshold` is True, expected float"),
        (changed(examples=1.5), "its `examples` is 1.5, expected int"),
        (changed(examples=0), "not fitted"),
    ],
)
def test_damaged_files_of_version_0_1(change, message, tmp_path):
    path = tmp_path / "gate.json"
    path.write_text(json.dumps(change(OLD["keep"])))
    with pytest.raises(ValueError, match=message):
        Gate.load(path)


def test_half_a_file(tmp_path):
    path = tmp_path / "gate.json"
    path.write_text(json.dumps(OLD["keep"])[:40])
    with pytest.raises(ValueError, match="no whole JSON file"):
        Gate.load(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="no whole JSON file"):
        Gate.load(path)
    whole = fitted("keep").save(path).read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(ValueError, match="no whole safetensors file"):
        Gate.load(path)
