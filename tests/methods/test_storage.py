"""Models on disk: what is kept, what `load` asks for, and what a wrong file or network is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import duda
from duda import ClassPrediction
from duda.methods import METHODS, UncertainModel
from duda.storage import read_safetensors

N, CLASSES = 30, 3
C = duda.Categorical()


def network(hidden: int = 8) -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(hidden, CLASSES),
    )


def x() -> Tensor:
    return torch.randn(N, 4, generator=torch.Generator().manual_seed(0))


def y() -> Tensor:
    return torch.arange(N) % CLASSES


def bits(model: UncertainModel) -> list[Tensor]:
    answer = model.predict(x(), seed=3)
    assert isinstance(answer, ClassPrediction)
    return [answer.log_probs, answer.aleatoric, answer.score]


def assert_same(one: UncertainModel, other: UncertainModel) -> None:
    assert type(one) is type(other)
    assert repr(one) == repr(other)
    assert all(map(torch.equal, bits(one), bits(other)))


def trained_head() -> duda.SubEnsemble:
    return duda.SubEnsemble(network, C, "0", members=3, trained=network())


SETTINGS: dict[str, Callable[[], UncertainModel]] = {
    "MCDropout": lambda: duda.MCDropout(network(), duda.Categorical(ignore_index=-1), samples=7),
    "MCDropConnect": lambda: duda.MCDropConnect(network(), C, 0.4, 1, 7, layers=["0", "4"]),
    "Laplace, full": lambda: duda.Laplace(network(), C, "full", 9, prior_precision=2.0),
    "Laplace, closed form": lambda: duda.Laplace(network(), C, approximation="closed-form"),
    "SWAG": lambda: duda.SWAG(network(), C, 4, start=0.2, rank=3, scale=1.0, bn_examples=20),
    "Variational": lambda: duda.Variational(network(), C, duda.ScaleMixturePrior(0.3), "flipout"),
    "a list of networks": lambda: duda.DeepEnsemble([network(), network()], C),
    "a trained trunk": trained_head,
    "an ensemble in versions": lambda: duda.TestTimeAugmentation(duda.DeepEnsemble(network, C, 2)),
    "float64": lambda: duda.DeepEnsemble(network, C, 2).double(),
    "float16": lambda: duda.MCDropout(network(), C, 3).half(),
    "vectors": lambda: duda.BatchEnsemble(network(), duda.Dirichlet(), 3, layers="4"),
    "gradients": lambda: duda.GradientConfidence(network(), C, layers="4"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_trained_model_is_what_it_was(case: str, tmp_path: Path) -> None:
    model = SETTINGS[case]()
    if case != "float16":
        duda.fit(model, (x(), y()), epochs=4, seed=0)
    path = duda.save(model, tmp_path / "model.duda")
    state = torch.get_rng_state()
    loaded = duda.load(path, network)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(model, loaded)
    assert model.arguments().keys() == loaded.arguments().keys()
    dtypes = [[t.dtype for t in each.state_dict().values()] for each in (model, loaded)]
    assert dtypes[0] == dtypes[1]


def test_a_module_will_do_and_stays_as_it_is(tmp_path: Path) -> None:
    model = duda.DeepEnsemble(network, C, members=2)
    like = network()
    before = [weight.clone() for weight in like.parameters()]
    assert_same(model, duda.load(duda.save(model, tmp_path / "m"), like))
    assert all(map(torch.equal, before, like.parameters()))


def test_what_members_share_is_kept_once_and_shared_again(tmp_path: Path) -> None:
    model = duda.SubEnsemble(network, C, "0", members=4)
    path = duda.save(model, tmp_path / "m")
    names = read_safetensors(path)[1]
    assert sum(name.endswith(".0.weight") for name in names) == 1
    loaded = duda.load(path, network)
    assert isinstance(loaded, duda.SubEnsemble)
    assert loaded.members[3][0] is loaded.members[0][0]
    assert_same(model, loaded)


def test_named_inputs_of_swag_are_kept(tmp_path: Path) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, a: Tensor, b: Tensor) -> Any:
            return self.inner(a + b)

    model = duda.SWAG(Named(), C, samples=3)
    both = {"a": x(), "b": x()}
    duda.fit(model, (both, y()), epochs=4, seed=0)
    loaded = duda.load(duda.save(model, tmp_path / "m"), Named)
    one, other = (each.predict(both, seed=0) for each in (model, loaded))
    assert torch.equal(one.probs, other.probs)


def test_functions_are_asked_for(tmp_path: Path) -> None:
    def last(name: str, module: nn.Module) -> bool:
        return name == "4"

    inner = duda.MCDropConnect(network(), C, layers=last, samples=2)
    flips = [lambda x: x, lambda x: -x]
    model = duda.TestTimeAugmentation(inner, transforms=flips)
    path = duda.save(model, tmp_path / "m")
    with pytest.raises(
        TypeError, match=r"`.*m` does not hold `transforms` .*TestTimeAugment.*tran"
    ):
        duda.load(path, network)
    with pytest.raises(
        TypeError, match=r"does not hold `layers` of the MCDropConnect.*layers=\.\.\."
    ):
        duda.load(path, network, transforms=flips)
    assert_same(model, duda.load(path, network, transforms=flips, layers=last))
    with pytest.raises(TypeError, match=r"unknown argument 'layer': did you mean 'layers'"):
        duda.load(path, network, transforms=flips, layers=last, layer=last)


def test_arguments_may_be_others(tmp_path: Path) -> None:
    path = duda.save(duda.MCDropout(network(), C, samples=7), tmp_path / "m")
    assert duda.load(path, network, samples=9).samples == 9


class OwnLikelihood(duda.Categorical):
    """A likelihood that duda does not know."""


def test_a_likelihood_of_ones_own_is_asked_for(tmp_path: Path) -> None:
    path = duda.save(duda.Deterministic(network(), OwnLikelihood()), tmp_path / "m")
    with pytest.raises(TypeError, match="does not hold `likelihood` of the Deterministic"):
        duda.load(path, network)
    loaded = duda.load(path, network, likelihood=OwnLikelihood())
    assert isinstance(loaded.likelihood, OwnLikelihood)


def test_arguments_that_are_not_kept_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(duda.MCDropout):
        def __init__(
            self, net: nn.Module, likelihood: duda.likelihoods.Likelihood, strength: float = 1.0
        ) -> None:
            super().__init__(net, likelihood)

    monkeypatch.setitem(duda.METHODS, "forgetful", Forgetful)
    with pytest.raises(
        TypeError, match=r"has no attribute 'strength'.*`self\.strength = strength`"
    ):
        duda.save(Forgetful(network(), C), tmp_path / "m")


class OwnMethod(duda.MCDropout):
    """A method that duda does not know."""


def test_a_method_of_ones_own_is_to_be_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = OwnMethod(network(), C, samples=3), tmp_path / "m"
    with pytest.raises(TypeError, match=r"`model` is a OwnMethod, which is not in `duda\.METHODS`"):
        duda.save(model, path)
    monkeypatch.setitem(METHODS, "own", OwnMethod)
    duda.save(model, path)
    assert_same(model, duda.load(path, network))
    monkeypatch.delitem(METHODS, "own")
    with pytest.raises(ValueError, match=r"`.*m` holds an unknown method 'own'"):
        duda.load(path, network)


def test_networks_that_do_not_fit_are_told(tmp_path: Path) -> None:
    path = duda.save(duda.Deterministic(network(), C), tmp_path / "m")
    with pytest.raises(ValueError, match=r"`network` does not fit .*size mismatch for network\.0"):
        duda.load(path, lambda: network(9))
    with pytest.raises(
        ValueError, match=r"`network` does not fit .*[Mm]issing .*network\.5\.weight"
    ):
        duda.load(path, lambda: nn.Sequential(*network(), nn.Linear(3, 3)))
    with pytest.raises(ValueError, match=r"`network` does not fit .*[Uu]nexpected .*network\.4"):
        duda.load(path, lambda: network()[:4])
    with pytest.raises(TypeError, match=r"`network` is a dict, expected a torch\.nn\.Module"):
        duda.load(path, {})  # type: ignore[arg-type]


def test_files_that_are_no_models_are_told(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with pytest.raises(FileNotFoundError, match=r"no model at `.*m`: save one with `duda\.save"):
        duda.load(path, network)
    duda.save(duda.Deterministic(network(), C), path)
    whole = path.read_bytes()
    place = len(whole) - 20
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(ValueError, match="is damaged, its checksum is wrong"):
        duda.load(path, network)
    path.write_bytes(whole[:-3])
    with pytest.raises(ValueError, match="no whole safetensors file"):
        duda.load(path, network)
    ClassPrediction.from_probs(torch.full((2, 2), 0.5)).save(path)
    with pytest.raises(ValueError, match=r"expected a 'duda\.model'"):
        duda.load(path, network)
    with pytest.raises(TypeError, match="`model` is a Sequential, expected one of duda's"):
        duda.save(network(), path)  # type: ignore[arg-type]


def test_a_file_says_what_it_is_and_holds_no_code(tmp_path: Path) -> None:
    path = duda.save(duda.MCDropout(network(), C), tmp_path / "m")
    metadata, tensors = read_safetensors(path)
    assert metadata["kind"] == "mc-dropout"
    assert metadata["duda"] == duda.__version__
    assert "Categorical" in json.dumps(metadata["content"])
    assert "weights.network.0.weight" in tensors
    assert b"pickle" not in path.read_bytes()


def test_a_model_goes_where_it_is_asked_to(tmp_path: Path) -> None:
    path = duda.save(duda.MCDropout(network(), C), tmp_path / "model.duda")
    model = duda.load(path, network, device="meta")
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
