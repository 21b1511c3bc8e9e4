import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from duda.decisions import Gate

GATES = {
    "keep": lambda: Gate.keep(0.9),
    "keeps all": lambda: Gate.keep(0.999999),
    "risk": lambda: Gate.risk(0.2, 0.9),
    "false alarm": lambda: Gate.false_alarm(0.1),
    "batch": lambda: Gate.false_alarm(0.1, batch=True),
    "cost": lambda: Gate.cost(error=3, refusal=1.25),
    "three outcomes": lambda: Gate.cost(error=3, refusal=2, asking=1 / 3, refused_error=0),
}


def fitted(name):
    random = np.random.default_rng(0)
    score = np.r_[random.random(199), math.inf]
    return GATES[name]().fit(score, is_bad=random.random(200) < 0.1)


@pytest.mark.parametrize("name", GATES)
def test_round_trip_is_exact(name, tmp_path):
    gate = fitted(name)
    back = Gate.load(gate.save(tmp_path / "gate.json"))
    one, other = (dataclasses.asdict(each.promise) for each in (gate, back))
    calibration = one.pop("calibration", None)
    if calibration is not None:
        assert torch.equal(calibration, other.pop("calibration"))
    assert one == other
    assert back.summary() == gate.summary()
    new = np.random.default_rng(1).random(50)
    assert torch.equal(back(new).decisions, gate(new).decisions)


def test_the_file_is_plain_json(tmp_path):
    path = fitted("keeps all").save(tmp_path / "gate.json")
    content = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["format"] == "duda.gate"
    assert content["version"] == 1
    assert content["values"]["threshold"] == "inf"


def test_what_is_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        Gate.keep(0.9).save(tmp_path / "gate.json")
    assert not list(tmp_path.iterdir())


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no gate at"):
        Gate.load(tmp_path / "gate.json")


def changed(**values):
    def change(content):
        return content | {"values": content["values"] | values}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: [], "no gate that this version"),
        (lambda content: content | {"version": 2}, "no gate that this version"),
        (lambda content: content | {"promise": "hope"}, "the promise 'hope', expected one of keep"),
        (lambda content: content | {"values": {}}, "lacks values of the promise 'keep'"),
        (changed(other=1), "or has others"),
        (changed(share=2), "`share` is 2"),
        (changed(threshold=None), "None where a number is expected"),
        (changed(threshold="much"), "'much' where a number is expected"),
        (changed(threshold=math.nan), "nan where a number is expected"),
        (changed(threshold=True), "True where a number is expected"),
        (changed(examples=1.5), "1.5 where a count is expected"),
        (changed(examples=0), "not fitted"),
    ],
)
def test_damaged_files(change, message, tmp_path):
    path = fitted("keep").save(tmp_path / "gate.json")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=message):
        Gate.load(path)


def test_half_a_file(tmp_path):
    path = fitted("keep").save(tmp_path / "gate.json")
    path.write_text(path.read_text()[:40])
    with pytest.raises(ValueError, match="no whole JSON file"):
        Gate.load(path)
