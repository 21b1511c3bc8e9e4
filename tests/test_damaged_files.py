"""Every kind of file that duda writes: damaged, it is told in a sentence, or changes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import duda
from duda.decisions import ConformalClassifier, ConformalRegressor, Isotonic, StdScale, Temperature
from duda.decisions.conformal import PredictionIntervals, PredictionSets
from duda.decisions.outcomes import Decisions
from duda.detectors import DETECTORS, OnNetwork
from duda.storage import Format, read_safetensors
from tests.predictions.test_base import MAKERS

Thing = Any
Kind = tuple[Callable[[Path], Any], Callable[[Path], Thing]]  # writes a file, reads one

RANDOM = np.random.default_rng(0)
PROBS = torch.from_numpy(RANDOM.dirichlet(np.ones(3), 60))
LABELS = torch.arange(60) % 3
X, Y = torch.from_numpy(RANDOM.normal(size=(60, 4))).float(), RANDOM.normal(size=(60, 2))
STD = np.ones((60, 2))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Dropout(), nn.Linear(3, 3))


NETWORK = network()


def saved(thing: Thing) -> Kind:
    return thing.save, type(thing).load


def of_model(model: duda.UncertainModel) -> Kind:
    return lambda path: duda.save(model, path), lambda path: duda.load(path, network)


def trained(path: Path) -> duda.UncertainModel:
    """Train for two epochs, or go on from what is there."""
    model = duda.Deterministic(network(), duda.Categorical())
    duda.fit(model, (X, LABELS), epochs=2, seed=0, checkpoint=path)
    return model


def dynamics() -> duda.TrainingDynamics:
    found = duda.TrainingDynamics(60)
    found.update(torch.arange(60), PROBS.log(), LABELS)
    found.end_epoch()
    return found


BOXES = duda.BoxPrediction([[0, 0, 4, 4]], [[0.9]], [[1.0, 2, 3, 4]])
GATE = duda.Gate.keep(0.9).fit(PROBS[:, 0])
CONFORMAL = ConformalClassifier().fit(PROBS, LABELS)
INTERVALS = ConformalRegressor().fit(Y, Y + 1, std=STD)
KINDS: dict[str, Kind] = {
    **{f"prediction, {n}": (make().save, duda.load_prediction) for n, make in MAKERS.items()},
    **{f"detector, {n}": saved(kind().fit(X, LABELS)) for n, kind in DETECTORS.items()},
    "boxes": (BOXES.save, duda.load_prediction),
    "gate": saved(GATE),
    "gate by risk": saved(duda.Gate.risk(0.3).fit(PROBS[:, 0], is_bad=PROBS[:, 0] > 0.9)),
    "gate by false alarms": saved(duda.Gate.false_alarm(0.1).fit(PROBS[:, 0])),
    "gate by cost": saved(
        duda.Gate.cost(error=3, refusal=1).fit(PROBS[:, 0], is_bad=PROBS[:, 0] > 0.9)
    ),
    "decisions": (GATE(PROBS[:, 1]).save, Decisions.load),
    "temperature": saved(Temperature().fit(PROBS, LABELS)),
    "isotonic": saved(Isotonic().fit(PROBS, LABELS)),
    "std scale": saved(StdScale().fit(Y, Y + 1, std=STD)),
    "conformal classes": saved(CONFORMAL),
    "conformal numbers": saved(INTERVALS),
    "sets": (CONFORMAL(PROBS).save, PredictionSets.load),
    "intervals": (INTERVALS(Y, std=STD).save, PredictionIntervals.load),
    "detector on a network": (
        OnNetwork(NETWORK, DETECTORS["mahalanobis"](), layer="0").fit((X, LABELS)).save,
        lambda path: OnNetwork.load(path, NETWORK),
    ),
    "model": of_model(duda.MCDropout(network(), duda.Categorical())),
    "ensemble": of_model(duda.DeepEnsemble(network, duda.Categorical(), members=2)),
    "dynamics": saved(dynamics()),
    "checkpoint": (trained, trained),
}


def content_of(thing: Thing, path: Path) -> str:
    """Return in words what a thing holds, as NaN are unlike themselves."""
    if isinstance(thing, duda.UncertainModel):
        return str([(name, value.tolist()) for name, value in thing.state_dict().items()])
    thing.save(path)
    metadata, tensors = read_safetensors(path)
    values = [(name, each.dtype, each.tolist()) for name, each in sorted(tensors.items())]
    return str([*sorted(metadata.items()), *values])


def damaged(whole: bytes, randomly: random.Random) -> bytes:
    """Return it with a bit flipped, some bytes replaced, too short or too long."""
    changed, way = bytearray(whole), randomly.randrange(6)
    if way == 4:
        return whole[: randomly.randrange(len(whole))]
    if way == 5:
        return whole + randomly.randbytes(randomly.randrange(1, 20))
    for _ in range(1 if way < 3 else 4):
        place = randomly.randrange(8 * len(whole))
        changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_told_or_changes_nothing(name: str, tmp_path: Path) -> None:
    write, read = KINDS[name]
    path, randomly = tmp_path / "file", random.Random(name)
    write(path)
    whole = path.read_bytes()
    expected = content_of(read(path), tmp_path / "again")
    told = 0
    for _ in range(60):
        path.write_bytes(damaged(whole, randomly))
        try:
            found = read(path)
        except ValueError as error:
            told += str(path) in str(error)
        else:
            assert content_of(found, tmp_path / "again") == expected
            told += 1
    assert told == 60


ODD = [-1.5, 10**400, "x", None, [[]], {"kind": {}}, True, torch.full((2, 2), torch.nan)]


@pytest.mark.parametrize("name", [name for name in KINDS if name != "checkpoint"])
def test_anything_in_place_of_anything_is_told(name: str, tmp_path: Path) -> None:
    """Files whose checksum is right, as only who means harm can write them."""
    write, read = KINDS[name]
    path, randomly = tmp_path / "file", random.Random(name)
    write(path)
    metadata = read_safetensors(path)[0]
    noun = metadata["format"].removeprefix("duda.").replace("-", " ")
    form = Format(noun, int(metadata["version"]))
    kind, state = form.read(path)
    told = 0
    for place in places(state):
        for odd in randomly.sample(ODD, 2):
            form.write(path, kind, replaced(state, place, odd))
            try:
                read(path)
            except ValueError:
                told += 1
    assert told > len(places(state)) / 2  # what may stand there is read


def places(state: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where something stands, as the keys that lead there."""
    found = [above] if above else []
    if isinstance(state, dict):
        for key, value in state.items():
            found += places(value, (*above, key))
    return found


def replaced(state: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    return state | {place[0]: replaced(state[place[0]], place[1:], value)}
