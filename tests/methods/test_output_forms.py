"""Methods x forms of outputs and kinds of weights: tuples, wrong numbers of outputs, dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.methods import METHODS, UncertainModel
from tests.methods.test_network_outputs import AFTER_TRAINING, CLASSES, N, Net, made, rows
from tests.pairs import PAIRS

X, Y = rows(N), torch.arange(N) % CLASSES


class Several(NamedTuple):
    hidden: Tensor
    raw: Tensor


FORMS: dict[str, tuple[Callable[[Tensor], Any], Any]] = {
    "tuple": (lambda outputs: (outputs, outputs.relu()), 0),
    "list": (lambda outputs: [outputs.relu(), outputs], -1),
    "dict": (lambda outputs: {"out": outputs, "aux": outputs.relu()}, "out"),
    "names": (lambda outputs: Several(outputs.relu(), outputs), "raw"),
    "nested": (lambda outputs: {"heads": [outputs]}, lambda found: found["heads"][0]),
    "nothing": (lambda outputs: None, None),
}


def trained(method: str, factory: Callable[[], nn.Module], likelihood: Any = None) -> Any:
    torch.manual_seed(0)
    model = made(method, factory, likelihood)
    duda.fit(model, (X, Y), epochs=4, seed=0)
    return model.predict(X, seed=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", METHODS)
def test_of_several_outputs_one_is_chosen(method: str, form: str) -> None:
    end, choice = FORMS[form]
    message = r"the network returned a \w+, expected one tensor .*duda\.layers\.Outputs"
    with pytest.raises(TypeError, match=message):
        trained(method, lambda: Net(end))
    if method not in AFTER_TRAINING:
        with pytest.raises(TypeError, match=message):
            made(method, lambda: Net(end)).predict(X)
    if choice is None:
        return
    expected = trained(method, Net)
    found = trained(method, lambda: duda.layers.Outputs(Net(end), choice))
    torch.testing.assert_close(found.probs, expected.probs)


WRONG_WIDTHS = {"gaussian": 3, "quantiles": 4, "normal-inverse-gamma": 6, "sampled-softmax": 5}


@pytest.mark.parametrize(
    ("method", "likelihood"), [pair for pair in PAIRS if pair[1] in WRONG_WIDTHS]
)
def test_a_wrong_number_of_outputs_is_told(method: str, likelihood: str) -> None:
    meaning = duda.likelihoods.LIKELIHOODS[likelihood]()
    width = WRONG_WIDTHS[likelihood]
    y = Y if meaning.of_classes else rows(N)[:, :1]
    with pytest.raises(ValueError, match=r"outputs have shape .*expected"):
        duda.fit(made(method, lambda: Net(width=width), meaning), (X, y), epochs=4)
    if method not in AFTER_TRAINING:
        with pytest.raises(ValueError, match=r"outputs have shape .*expected"):
            made(method, lambda: Net(width=width), meaning).predict(X, seed=0)


@pytest.mark.parametrize("method", METHODS)
def test_labels_beyond_the_outputs_are_told(method: str) -> None:
    with pytest.raises(ValueError, match=f"`y` holds the label {CLASSES}, expected 0 to"):
        duda.fit(made(method, Net), (X, Y + 1), epochs=4)


class WithTable(Net):
    """Has a weight of small integers before all others, as quantized networks may."""

    def __init__(self) -> None:
        super().__init__()
        own = dict(self.named_children())
        self._modules.clear()
        self.table = nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False)
        self._modules.update(own)


@pytest.mark.parametrize("method", METHODS)
def test_inputs_keep_their_digits_whatever_comes_first(method: str) -> None:
    expected, found = trained(method, Net), trained(method, WithTable)
    torch.testing.assert_close(found.probs, expected.probs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", METHODS)
def test_weights_of_any_precision_predict(method: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model: UncertainModel = made(method, Net)
    duda.fit(model, (X, Y), epochs=4, seed=0)
    expected = model.predict(X, seed=0)
    for x in (X, X.to(dtype)):
        answer: Any = model.to(dtype).predict(x, seed=0)
        assert answer.probs.dtype in (dtype, torch.float32)
        assert bool(answer.score.isfinite().all())
        sums = answer.probs.double().sum(1)
        torch.testing.assert_close(sums, torch.ones(N).double(), rtol=0.02, atol=0)
    if method == "deterministic":
        rounding = torch.finfo(dtype).eps * 10
        assert float((answer.probs - expected.probs).abs().max()) < max(rounding, 1e-5)
