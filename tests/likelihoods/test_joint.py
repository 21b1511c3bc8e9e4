"""The joint likelihood: a weighted sum of its parts' losses, and a prediction of each part."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import duda
from duda import Joint, TargetScale
from duda.likelihoods import LIKELIHOODS, Likelihood
from tests.pairs import as_targets, takes_labels

N, D = 6, 3
NAMES = [name for name in LIKELIHOODS if name not in ("sampled-softmax", "fixed-gaussian")]


def outputs_of(part: Likelihood, *shape: int) -> Tensor:
    return torch.randn(*shape, part.width(D), dtype=torch.float64).movedim(-1, 2 - (len(shape) < 2))


def targets_of(part: Likelihood) -> Tensor:
    if takes_labels(part):
        return torch.randint(D, (N,))
    return as_targets(part, torch.randn(N, D, dtype=torch.float64))


def two(one: str, other: str, weights: Any = None) -> Joint:
    return Joint({"one": LIKELIHOODS[one](), "other": LIKELIHOODS[other]()}, weights)


@given(one=st.sampled_from(NAMES), other=st.sampled_from(NAMES), weight=st.floats(0.1, 10))
@settings(max_examples=40, deadline=None)
def test_loss_is_the_weighted_sum_of_any_two(one: str, other: str, weight: float) -> None:
    both = two(one, other, {"one": 1.0, "other": weight})
    outputs = {name: outputs_of(part, N) for name, part in both.parts.items()}
    y = {name: targets_of(part) for name, part in both.parts.items()}
    each = {name: part.loss(outputs[name], y[name]) for name, part in both.parts.items()}
    expected = each["one"] + weight * each["other"]
    torch.testing.assert_close(both.loss(outputs, y), expected)
    torch.testing.assert_close(both.loss(tuple(outputs.values()), tuple(y.values())), expected)


@given(one=st.sampled_from(NAMES), other=st.sampled_from(NAMES), members=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_draws_of_any_two_are_reduced_each_by_its_part(one: str, other: str, members: int) -> None:
    both = two(one, other)
    draws = {
        name: torch.randn(members, N, part.width(D), dtype=torch.float64)
        for name, part in both.parts.items()
    }
    answer = both.reduce(draws, keep_draws=True)
    assert isinstance(answer, duda.JointPrediction)
    for name, part in both.parts.items():
        alone, found = part.reduce(draws[name], keep_draws=True).numpy(), answer[name].numpy()
        assert alone.keys() == found.keys()
        for key, value in alone.items():
            torch.testing.assert_close(torch.as_tensor(found[key]), torch.as_tensor(value))
    y = {name: targets_of(part) for name, part in both.parts.items()}
    expected = sum(part.prediction_loss(answer[name], y[name]) for name, part in both.parts.items())
    torch.testing.assert_close(both.prediction_loss(answer, y), expected)


def test_parts_have_positions_masks_and_units_of_their_own() -> None:
    parts = {
        "class": duda.Categorical(ignore_index=-1),
        "depth": duda.Gaussian(output_dim=-1),
        "size": duda.LogNormal(),
    }
    both = Joint(parts)
    outputs = {
        "class": torch.randn(N, D, 4, 5),
        "depth": torch.randn(N, 4, 5, 2),
        "size": torch.randn(N, 4),
    }
    labels = torch.randint(-1, D, (N, 4, 5))
    y = {"class": labels, "depth": torch.randn(N, 4, 5, 1), "size": torch.rand(N, 2) + 0.1}
    scales = {"depth": TargetScale(3.0, 5.0), "size": TargetScale([1.0, 2.0], [3.0, 4.0])}
    scaled = both.with_target_scale(scales)
    each = [
        part.with_target_scale(scales.get(name)).loss(outputs[name], y[name])
        for name, part in parts.items()
    ]
    torch.testing.assert_close(scaled.loss(outputs, y), sum(each))
    answer = scaled.reduce({name: each[None] for name, each in outputs.items()})
    alone = parts["depth"].with_target_scale(scales["depth"]).reduce(outputs["depth"][None])
    torch.testing.assert_close(answer["depth"].mean, alone.mean)
    found = both.find_scale(lambda: iter([both.whole(y)] * 2))
    expected = parts["size"].scale_of(iter([y["size"]]))
    torch.testing.assert_close(found.part(1, 3).std, expected.std)
    with pytest.raises(ValueError, match="`target_scale` has 'size', expected one for each part"):
        both.with_target_scale({"size": scales["size"]})


def test_learned_weights_are_those_of_kendall() -> None:
    parts = {"class": duda.Categorical(), "depth": duda.FixedGaussian(), "box": duda.Laplacian()}
    both = Joint(parts, weights="learned")
    assert both.learned_weights == ("class", "depth")
    s = torch.tensor([0.4, -0.6], requires_grad=True)
    told = both.with_log_variances(s)
    torch.manual_seed(0)
    outputs = {"class": torch.randn(N, D), "depth": torch.randn(N, 2), "box": torch.randn(N, 2)}
    y = {"class": torch.randint(D, (N,)), "depth": torch.randn(N, 2), "box": torch.randn(N, 1)}
    entropy = parts["class"].loss(outputs["class"], y["class"])
    square = (outputs["depth"] - y["depth"]).square().sum(1).mean()
    expected = (-s[0]).exp() * entropy + s[0] / 2 + parts["box"].loss(outputs["box"], y["box"])
    expected = expected + (-s[1]).exp() * square / 2 + 2 * (s[1] + math.log(2 * math.pi)) / 2
    loss = told.loss(outputs, y)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, s)
    torch.testing.assert_close(gradient[0], 0.5 - (-s[0]).exp() * entropy.detach())
    assert told.loss_weights() == pytest.approx(
        {"class": math.exp(-0.4), "depth": math.exp(0.6), "box": 1.0}
    )
    answer = told.reduce({name: each[None] for name, each in outputs.items()})
    torch.testing.assert_close(answer["depth"].std, (s[1] / 2).exp().expand(N, 2))
    # What judges a training is -log p of all, whatever their losses weigh.
    judged = told.prediction_loss(answer, y)
    torch.testing.assert_close(
        judged - told.with_log_variances(s + 1).prediction_loss(answer, y), judged * 0
    )


def test_examples_have_weights() -> None:
    both = Joint({"class": duda.Categorical(ignore_index=-1), "box": duda.Gaussian()})
    outputs = {"class": torch.randn(N, D), "box": torch.randn(N, 4)}
    y = {"class": torch.tensor([-1, 0, 1, 2, -1, 0]), "box": torch.randn(N, 2)}
    weight = torch.rand(N)
    each = [part.loss(outputs[name], y[name], 1.0, weight) for name, part in both.parts.items()]
    torch.testing.assert_close(both.loss(outputs, y, weight=weight), sum(each))
    torch.testing.assert_close(both.loss(outputs, y, weight=torch.ones(N)), both.loss(outputs, y))


class Fast(duda.Dirichlet):
    annealing_epochs = 5


def test_terms_that_grow_do_so_by_their_own_epochs() -> None:
    slow, fast = duda.Dirichlet(), Fast()
    both = Joint({"slow": slow, "fast": fast})
    outputs, y = torch.randn(N, D), torch.randint(D, (N,))
    assert both.annealing_epochs == 10
    found = both.loss({"slow": outputs, "fast": outputs}, {"slow": y, "fast": y}, 0.3)
    torch.testing.assert_close(found, slow.loss(outputs, y, 0.3) + fast.loss(outputs, y, 0.6))


def test_what_is_missing_or_wrong_names_the_part() -> None:
    both = Joint({"class": duda.Categorical(), "box": duda.Gaussian()})
    outputs = {"class": torch.randn(N, D), "box": torch.randn(N, 4)}
    y = {"class": torch.zeros(N, dtype=torch.int64), "box": torch.zeros(N, 2)}
    with pytest.raises(ValueError, match=r"the network's outputs are 'class', .*'box' is missing"):
        both.loss({"class": outputs["class"]}, y)
    with pytest.raises(ValueError, match=r"the targets `y` are 'box', .*: 'class' is missing"):
        both.loss(outputs, {"box": y["box"]})
    with pytest.raises(ValueError, match=r"of 'box': `y` has shape \(6, 3\)"):
        both.loss(outputs, y | {"box": torch.zeros(N, 3)})
    with pytest.raises(ValueError, match="of 'class': `y` holds the label 7"):
        both.loss(outputs, y | {"class": y["class"] + 7})
    with pytest.raises(ValueError, match=r"of 'class': .*as after a softmax"):
        both.loss(outputs | {"class": torch.randn(99, D).softmax(1)[:N]}, y)
    with pytest.raises(ValueError, match=r"`y` have shape \(6, 77\), expected targets for 'class'"):
        both.loss(outputs, torch.zeros(N, 77))
    with pytest.raises(TypeError, match="a width for each part"):
        both.width(2)


@pytest.mark.parametrize(
    ("parts", "weights", "error", "told"),
    [
        ({}, None, ValueError, "`parts` is {}, expected likelihoods by the names"),
        ({"a": 3}, None, TypeError, "`parts` has a int as 'a'"),
        ({"a": Joint({"b": duda.Gaussian()})}, None, TypeError, "`parts` has a Joint as 'a'"),
        ({"a": duda.FixedGaussian()}, None, ValueError, "'a' whose noise is not known"),
        ({"a": duda.Categorical(weight="balanced")}, None, ValueError, "a number for each class"),
        ({"a": duda.Gaussian()}, {"b": 1.0}, ValueError, "`weights` is 'b', expected numbers for"),
        ({"a": duda.Gaussian()}, {"a": 0.0}, ValueError, r"`weights\['a'\]` is 0"),
        ({"a": duda.Gaussian()}, "learnt", ValueError, "`weights` is 'learnt', expected numbers"),
        ({"a": duda.Gaussian()}, "learned", ValueError, "nothing is left to learn"),
    ],
)
def test_bad_arguments_are_told(
    parts: Any, weights: Any, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        Joint(parts, weights)
