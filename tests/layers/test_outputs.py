"""One of several outputs: by place, by name, by a function, for every method."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.layers import Outputs
from duda.methods import METHODS


class Both(NamedTuple):
    scores: Tensor
    features: Tensor


class Several(nn.Module):
    """Returns scores and features, in the form that is asked for."""

    def __init__(self, form: Any = tuple) -> None:
        super().__init__()
        self.form = form
        self.first, self.drop, self.last = nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 3)
        self.aside = nn.Linear(8, 8)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Any:
        hidden = self.drop(self.first(x if scale is None else x * scale).relu())
        scores, features = self.last(hidden), self.aside(hidden)
        if self.form is dict:
            return {"scores": scores, "features": features}
        return Both(scores, features) if self.form is Both else self.form((scores, features))


X, Y = torch.randn(9, 4), torch.arange(9) % 3
WAYS: list[tuple[Any, Any]] = [
    (tuple, 0),
    (tuple, -2),
    (list, 0),
    (dict, "scores"),
    (Both, "scores"),
    (Both, 0),
    (tuple, lambda found: found[0]),
    (dict, lambda found: found["scores"]),
]


@pytest.mark.parametrize(("form", "outputs"), WAYS)
def test_an_output_is_chosen(form: Any, outputs: Any) -> None:
    network = Several(form)
    model = duda.Deterministic(Outputs(network, outputs), duda.Categorical())
    expected = network.eval().last(network.first(X).relu()).softmax(1)
    assert torch.allclose(model.predict(X).probs, expected)
    assert torch.allclose(model.predict((X, torch.ones(9, 1))).probs, expected)


@pytest.mark.parametrize(("form", "outputs"), [(tuple, 0), (dict, "scores")])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_one_of_several(
    method: str, form: Any, outputs: Any, tmp_path: Any
) -> None:
    def factory() -> nn.Module:
        network = Several(form)
        network.aside = nn.Identity()  # type: ignore[assignment] # the last layer is the scores'
        return Outputs(network, outputs)

    model = METHODS[method].from_factory(factory, duda.Categorical())
    duda.fit(model, (X, Y), epochs=4, seed=0)
    answer = model.predict(X, seed=0)
    assert answer.probs.shape == (9, 3)  # type: ignore[attr-defined]
    again = duda.load(duda.save(model, tmp_path / "model"), factory)
    assert torch.equal(again.predict(X, seed=0).score, answer.score)


@pytest.mark.parametrize(
    ("form", "outputs", "message"),
    [
        (
            tuple,
            2,
            "`outputs` is 2, but .* a tuple with no such output, expected a .*: it has 2",
        ),
        (dict, "logits", "a dict with no such output, .*: it has 'scores', 'features'"),
        (tuple, "scores", "a tuple with no such output"),
        (tuple, lambda found: found, "a tuple with a tuple there, expected a tensor"),
        (dict, 0, "a dict with no such output"),
    ],
)
def test_outputs_that_there_are_not(form: Any, outputs: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        duda.MCDropout(Outputs(Several(form), outputs), duda.Categorical()).predict(X)


@pytest.mark.parametrize(("network", "outputs"), [("net", 0), (nn.Identity(), None)])
def test_bad_arguments(network: Any, outputs: Any) -> None:
    with pytest.raises(TypeError, match=r"`(network|outputs)` is .*expected a"):
        Outputs(network, outputs)


@pytest.mark.parametrize("form", [tuple, dict])
def test_without_a_choice_the_remedy_is_told(form: Any) -> None:
    with pytest.raises(TypeError, match=r"choose from it by `duda.layers.Outputs\(network, ...\)`"):
        duda.MCDropout(Several(form), duda.Categorical()).predict(X)


def test_it_says_what_it_takes() -> None:
    assert "outputs='scores'" in repr(Outputs(Several(), "scores"))
    assert "lambda" not in repr(Outputs(Several(), lambda found: found[0]))
