"""A draw of a test-time augmentation is the output for one version of the inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.sampling import preserved
from tests.training.models import noisy, regression, same, values

ROWS = 6


def identity(x: Tensor) -> Tensor:
    return x


def double(x: Tensor) -> Tensor:
    return 2 * x


def negative(x: Tensor) -> Tensor:
    return -x


def flip(x: Tensor) -> Tensor:
    return x.flip(-1)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


def spread(answer: Any) -> Tensor:
    """Return what versions differ in: the mutual information of label and draw."""
    own = -(answer.draws * answer.draws.log()).sum(2).mean(0)
    return answer.entropy - own


def augmented(transforms: Any, net: nn.Module | None = None) -> duda.TestTimeAugmentation:
    return duda.TestTimeAugmentation(net or network(), duda.Categorical(), transforms)


def test_a_draw_is_the_output_for_one_transform() -> None:
    net, x = network(), torch.randn(ROWS, 3)
    answer = augmented([identity, double, negative], net).predict(x, keep_draws=True)
    with torch.no_grad():
        expected = torch.stack([net(x), net(2 * x), net(-x)]).softmax(2)
    torch.testing.assert_close(answer.draws, expected)
    torch.testing.assert_close(answer.probs, expected.mean(0))


def test_the_inputs_as_they_are_give_the_plain_answer() -> None:
    net, x = network(), torch.randn(ROWS, 3)
    plain = duda.Deterministic(net, duda.Categorical()).predict(x).numpy()
    one = augmented([identity], net).predict(x).numpy()
    assert all((one[name] == plain[name]).all() for name in plain)


@pytest.mark.parametrize(
    ("samples", "shares"), [(1, (1, 0, 0)), (3, (1, 1, 1)), (5, (2, 2, 1)), (9, (3, 3, 3))]
)
def test_each_transform_gets_its_share(samples: int, shares: tuple[int, ...]) -> None:
    calls = []

    def noted(number: int) -> Callable[[Tensor], Tensor]:
        def change(x: Tensor) -> Tensor:
            calls.append(number)
            return x + number

        return change

    model = augmented([noted(number) for number in range(3)])
    answer = model.predict(torch.randn(ROWS, 3), samples=samples, keep_draws=True)
    assert tuple(calls.count(number) for number in range(3)) == shares
    assert len(answer.draws) == samples


def test_the_members_of_an_ensemble_each_see_each_version() -> None:
    ensemble, x = duda.DeepEnsemble(network, duda.Categorical(), 3), torch.randn(ROWS, 3)
    model = duda.TestTimeAugmentation(ensemble, transforms=[identity, double])
    assert model.samples == 6
    with torch.no_grad():
        each = [net(factor * x).softmax(1) for factor in (1, 2) for net in ensemble.members]
    expected = torch.stack(each)
    torch.testing.assert_close(model.predict(x, keep_draws=True).draws, expected)
    # Of 10 draws 5 for each: all 3 members, then the first 2 once more.
    order = [0, 1, 2, 0, 1, 3, 4, 5, 3, 4]
    draws = model.predict(x, samples=10, keep_draws=True).draws
    torch.testing.assert_close(draws, expected[order])
    draws = model.predict(x, samples=3, keep_draws=True).draws
    torch.testing.assert_close(draws, expected[[0, 1, 3]])


METHODS = {
    "mc-dropout": lambda: duda.MCDropout(noisy(), duda.Categorical(), samples=7),
    "variational": lambda: duda.Variational(network(), duda.Categorical(), samples=7),
    "swag": lambda: duda.SWAG(network(), duda.Categorical(), samples=7),
    "laplace": lambda: duda.Laplace(network(), duda.Categorical(), samples=7),
    "sub-ensemble": lambda: duda.SubEnsemble(network, duda.Categorical(), members=7),
    "augmented": lambda: augmented([identity, double] * 3 + [negative]),
}


@pytest.mark.parametrize("method", METHODS)
def test_it_goes_around_other_methods(method: str) -> None:
    """Training, what is done after it, and what is done before a prediction, are theirs."""
    inner, other = METHODS[method](), METHODS[method]()
    other.load_state_dict(inner.state_dict())
    model = duda.TestTimeAugmentation(inner, transforms=[identity, double])
    x, y = regression(40)[0], torch.arange(40) % 2
    for each in (model, other):
        history = duda.fit(each, (x, y), epochs=4, seed=0, batch_size=20)
        assert history.losses.isfinite().all()
    assert same(values(inner), values(other))
    for samples in (14, 9, 1):
        answer = model.predict(x[:ROWS], samples=samples, seed=0, keep_draws=True)
        assert answer.draws.shape == (samples, ROWS, 2)
        again = model.predict(x[:ROWS], samples=samples, seed=0)
        assert torch.equal(again.probs, answer.probs)
    # The first half of the draws is what the method says of the inputs as they are.
    plain = other.predict(x[:ROWS], seed=0, keep_draws=True)
    answer = model.predict(x[:ROWS], seed=0, keep_draws=True)
    torch.testing.assert_close(answer.draws[:7], plain.draws)


def test_what_is_undone_on_the_outputs_agrees_with_the_inputs_as_they_are() -> None:
    """A convolution with a symmetric kernel does not care whether a picture is flipped."""
    net = nn.Conv2d(1, 3, 3, padding=1)
    with torch.no_grad():
        net.weight.copy_(net.weight + net.weight.flip(-1))
    x = torch.randn(ROWS, 1, 5, 8)
    plain = duda.Deterministic(net, duda.Categorical()).predict(x)
    model = augmented([identity, (flip, flip)], net)
    torch.testing.assert_close(model.predict(x).probs, plain.probs)
    apart = augmented([identity, flip], net).predict(x, keep_draws=True)
    assert spread(apart).max() > 100 * spread(model.predict(x, keep_draws=True)).max()


def test_versions_may_have_another_size() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = augmented([identity, lambda x: x[..., 1:-1, 1:-1]], net)
    assert model.predict(torch.randn(ROWS, 1, 8, 8)).probs.shape == (ROWS, 3)


def test_noise_has_the_size_that_the_docstring_says() -> None:
    seen: list[Tensor] = []
    net = nn.Identity()
    net.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model = duda.TestTimeAugmentation(net, duda.FixedGaussian())
    x = torch.randn(200, 50, generator=torch.Generator().manual_seed(0))
    model.predict(x, seed=3)
    noise = torch.stack(seen) - x
    assert len(noise) == model.samples == 10
    assert abs(noise.mean()) <= 5 * 0.1 / math.sqrt(noise.numel())
    # The standard error of an estimated standard deviation is σ / √(2 n).
    assert abs(noise.std() - 0.1) <= 5 * 0.1 / math.sqrt(2 * noise.numel())


def test_inputs_stay_as_they_are_when_a_transform_writes_to_them() -> None:
    x = torch.randn(ROWS, 3)
    before = x.clone()
    answer = augmented([lambda x: x.mul_(2), double, identity]).predict(x, keep_draws=True)
    assert torch.equal(x, before)
    assert torch.equal(answer.draws[0], answer.draws[1])


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(5, 3), nn.Linear(3, 2)

    def forward(self, words: Tensor, offset: Tensor) -> Tensor:
        return self.layer(self.embedding(words).mean(1) + offset)


def test_transforms_of_named_inputs_get_them_by_name() -> None:
    x = {"words": torch.randint(5, (ROWS, 4)), "offset": torch.randn(ROWS, 3)}

    def reverse(x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**x, "words": x["words"].flip(1)}

    net = Named()
    plain = duda.Deterministic(net, duda.Categorical()).predict(x)
    torch.testing.assert_close(augmented([reverse], net).predict(x).probs, plain.probs)
    noisy_answer = augmented(None, net).predict(x, seed=0, keep_draws=True)
    assert (spread(noisy_answer) > 0).all()


BAD = {
    "empty": ([], ValueError, r"`transforms` is \[\], expected a list of at least one"),
    "one function": (identity, ValueError, "`transforms` is <function identity.*expected a list"),
    "a number": ([identity, 3], ValueError, r"`transforms\[1\]` is 3, expected a function"),
    "three": ([(flip, flip, flip)], ValueError, r"`transforms\[0\]` is \(.*or a pair"),
    "fewer": (
        [identity, lambda x: x[:-1]],
        ValueError,
        r"`transforms\[1\]` returned shape \(5, 3\) for 6 examples, expected as many",
    ),
    "no tensor": ([lambda x: x.numpy()], TypeError, r"`transforms\[0\]` returned a ndarray"),
    "NaN": ([lambda x: x.log()], ValueError, r"`transforms\[0\]\(x\)` has \d+ NaN"),
    "bad undoing": (
        [(identity, lambda outputs: outputs[0])],
        ValueError,
        r"`transforms\[0\]\[1\]` returned shape \(2,\) for 6 examples",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_transform_is_told(case: str) -> None:
    transforms, error, message = BAD[case]
    with pytest.raises(error, match=message):
        augmented(transforms).predict(torch.randn(ROWS, 3) - 1)


def test_bad_models() -> None:
    ensemble = duda.DeepEnsemble(network, duda.Categorical())
    with pytest.raises(ValueError, match=r"`model` has Categorical.*: leave it out"):
        duda.TestTimeAugmentation(ensemble, duda.Gaussian(), [identity])
    with pytest.raises(TypeError, match="`likelihood` is a NoneType"):
        duda.TestTimeAugmentation(network(), transforms=[identity])
    with pytest.raises(ValueError, match="no input is floating-point: give `transforms`"):
        augmented(None, nn.Embedding(5, 3)).predict(torch.tensor([1, 2]))


def scaled_at_random(x: Tensor) -> Tensor:
    return x * (1 + torch.rand(len(x), 1))


@pytest.mark.parametrize("transforms", [None, [identity, scaled_at_random]])
def test_joint_draws_change_each_input_in_the_same_way(transforms: Any) -> None:
    model, x = augmented(transforms), torch.randn(ROWS, 3)
    twice = torch.cat([x, x])
    answer = model.predict(twice, seed=0, keep_draws=True, joint=True, batch_size=5)
    assert answer.joint
    torch.testing.assert_close(answer.draws[:, :ROWS], answer.draws[:, ROWS:])
    plain = model.predict(twice, seed=0, keep_draws=True)
    assert not plain.joint
    assert not torch.allclose(plain.draws[:, :ROWS], plain.draws[:, ROWS:])


def test_joint_draws_of_named_inputs_change_in_the_same_way() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.inner(a + b)

    x = {"a": torch.randn(2, 3), "b": torch.randn(2, 3)}
    twice = {name: torch.cat([each, each]) for name, each in x.items()}
    answer = augmented(None, Named()).predict(twice, seed=0, keep_draws=True, joint=True)
    torch.testing.assert_close(answer.draws[:, :2], answer.draws[:, 2:])


def test_transforms_that_are_not_random_see_whole_batches() -> None:
    sizes = []

    def noted(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return x

    augmented([noted]).predict(torch.randn(ROWS, 3), joint=True)
    assert sizes == [2, ROWS]  # an input and its copy, then all of them


def test_each_portion_of_draws_has_randomness_of_its_own() -> None:
    inner = duda.MCDropout(noisy(), duda.Categorical(), samples=1)
    model = duda.TestTimeAugmentation(inner, transforms=[identity] * 20)
    draws = model.predict(torch.randn(ROWS, 3), seed=0, keep_draws=True, joint=True).draws
    assert len(draws.unique(dim=0)) > 10


@pytest.mark.parametrize("samples", [3, 40, 41])
@pytest.mark.parametrize("kind", ["mc-dropout", "variational", "swag", "laplace"])
def test_a_method_draws_anew_for_each_draw(kind: str, samples: int) -> None:
    inner = METHODS[kind]()
    if kind == "mc-dropout":  # with more masks than draws
        wide = nn.Sequential(nn.Linear(3, 64), nn.Dropout(0.5), nn.Linear(64, 2))
        inner = duda.MCDropout(wide, duda.Categorical(), samples=7)
    x, y = regression(40)[0], torch.arange(40) % 2
    duda.fit(inner, (x, y), epochs=4, seed=0, batch_size=20)
    model = duda.TestTimeAugmentation(inner, transforms=[identity])
    for joint in (False, True):
        answer = model.predict(
            x[:ROWS], samples=samples, seed=0, keep_draws=True, joint=joint, batch_size=4
        )
        assert len(answer.draws.unique(dim=0)) == samples


LIKELIHOODS_AND_WIDTHS = [
    (duda.Categorical(), 2),
    (duda.Gaussian(), 2),
    (duda.Laplacian(), 2),
    (duda.FixedGaussian(0.1), 2),
    (duda.Quantiles(), 7),
]


@pytest.mark.parametrize(("likelihood", "width"), LIKELIHOODS_AND_WIDTHS)
@pytest.mark.parametrize("transforms", [None, [identity, double, negative]])
@pytest.mark.parametrize("keep", [True, False])
def test_the_spread_of_versions_is_aleatoric(
    likelihood: Any, width: int, transforms: Any, keep: bool
) -> None:
    """As the source calls it: a network that is given has nothing else to doubt."""
    net, x = nn.Linear(3, width), torch.randn(ROWS, 3)
    model = duda.TestTimeAugmentation(net, likelihood, transforms)
    answer = model.predict(x, seed=0, keep_draws=keep)
    assert (answer.epistemic == 0).all()
    with preserved(model, seed=0):
        draws = list(model.sampler(model.samples)(x))
    torch.testing.assert_close(answer.score, likelihood.reduce(torch.cat(draws), keep).score)
    assert (answer.score > duda.Deterministic(net, likelihood).predict(x).score).any()


def test_evidence_of_a_network_stays_epistemic() -> None:
    net, x = nn.Linear(3, 2), torch.randn(ROWS, 3)
    one = [duda.Deterministic(net, duda.Dirichlet()).predict(f * x).epistemic for f in (1, -1)]
    model = duda.TestTimeAugmentation(net, duda.Dirichlet(), [identity, negative])
    torch.testing.assert_close(model.predict(x).epistemic, torch.stack(one).mean(0))


@pytest.mark.parametrize(("likelihood", "width"), LIKELIHOODS_AND_WIDTHS)
def test_epistemic_is_what_members_differ_in_on_one_version(likelihood: Any, width: int) -> None:
    ensemble = duda.DeepEnsemble(lambda: nn.Linear(3, width), likelihood, members=4)
    x = torch.randn(ROWS, 3)
    model = duda.TestTimeAugmentation(ensemble, transforms=[identity, negative])
    each = torch.stack([ensemble.predict(factor * x).epistemic for factor in (1, -1)])
    answer = model.predict(x, batch_size=4)
    torch.testing.assert_close(answer.epistemic, each.mean(0))
    around = duda.TestTimeAugmentation(model, transforms=[identity])
    torch.testing.assert_close(around.predict(x).epistemic, answer.epistemic)
    # Of 5 draws 3 are of the first version, and so weigh more.
    first = ensemble.predict(x, samples=3).epistemic
    second = ensemble.predict(-x, samples=2).epistemic
    uneven = model.predict(x, samples=5).epistemic
    torch.testing.assert_close(uneven, 0.6 * first + 0.4 * second)
    if hasattr(answer, "aleatoric"):
        assert (answer.aleatoric >= 0).all()


def test_parts_of_a_segmentation_and_of_a_report() -> None:
    net = nn.Conv2d(1, 3, 3, padding=1)
    model = augmented([identity, (flip, flip)], net)
    answer = model.predict(torch.randn(ROWS, 1, 5, 8))
    parts = answer.parts()
    assert parts is not None
    assert parts.epistemic.shape == (ROWS, 5, 8)
    assert not parts.epistemic.any()
    torch.testing.assert_close(parts.aleatoric, answer.entropy)
