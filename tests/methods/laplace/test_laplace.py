"""Laplace against explicit Jacobians, Bayesian linear regression and brute force."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct
from torch import Tensor, nn
from torch.distributions import Categorical, Normal, kl_divergence
from torch.func import functional_call, jacrev
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda.methods.laplace.evidence import best_precision
from duda.methods.laplace.gaussian_outputs import OutputCovariance, probit_prediction
from duda.methods.laplace.information import output_information

LIKELIHOODS = {
    "categorical": duda.Categorical(),
    "gaussian": duda.Gaussian(floor=0.01),
    "fixed-gaussian": duda.FixedGaussian(noise_std=0.7),
    "beta-gaussian": duda.BetaGaussian(floor=0.01),
}
STRUCTURES = ("kron", "full")


def network(outputs: int = 4, bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, outputs, bias)).double()


def data(likelihood: duda.likelihoods.Likelihood, n: int = 30) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 2, dtype=torch.float64)
    if isinstance(likelihood, duda.Categorical):
        return x, torch.arange(n) % 4
    return x, torch.randn(n, 4 if isinstance(likelihood, duda.FixedGaussian) else 2).double()


def laplace(likelihood: Any = None, n: int = 30, bias: bool = True, **arguments: Any) -> Any:
    likelihood = likelihood or duda.Categorical()
    model = duda.Laplace(network(bias=bias), likelihood, **arguments)
    model.fit_posterior(data(likelihood, n))
    return model


def information(likelihood: Any, outputs: Tensor) -> Tensor:
    """Return the Fisher information of one example's outputs: the curvature of a KL divergence."""

    def distribution(raw: Tensor) -> Any:
        if isinstance(likelihood, duda.Categorical):
            return Categorical(logits=raw, validate_args=False)
        mean, variance = likelihood.moments(raw[None])
        return Normal(mean[0], variance[0].sqrt(), validate_args=False)

    def divergence(raw: Tensor) -> Tensor:
        return kl_divergence(distribution(outputs), distribution(raw)).sum()

    return jacrev(jacrev(divergence))(outputs)


def jacobians(model: Any, x: Tensor) -> Tensor:
    """Return the derivatives (N, C, P) of the outputs by the last layer's weights, then biases."""
    weights = {n: w.detach() for n, w in model.network.named_parameters() if n.startswith("2.")}
    found = jacrev(lambda w: functional_call(model.network, w, (x,)))(weights)
    return torch.cat([found[name].detach().flatten(2) for name in weights], dim=2)


def fisher(model: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        each = [information(model.likelihood, out) for out in model.network(x)]
    jacobian = jacobians(model, x)
    return torch.einsum("ncp,ncd,ndq->pq", jacobian, torch.stack(each), jacobian)


def covariance(model: Any, x: Tensor) -> Tensor:
    """Return the covariance of the outputs, as the model has it."""
    with torch.no_grad():
        _, features = model.with_features(x)
    values, vectors = model.output_covariance(features)
    return (vectors * values[:, None, :]) @ vectors.mT


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_information_of_outputs_is_the_curvature_of_a_divergence(name: str) -> None:
    likelihood, outputs = LIKELIHOODS[name], torch.randn(5, 4, dtype=torch.float64)
    expected = torch.stack([information(likelihood, each) for each in outputs])
    found = output_information(likelihood, outputs)
    torch.testing.assert_close(torch.stack([found.row(c) for c in range(4)], 1), expected)
    torch.testing.assert_close(found.total(), expected.sum(0))


def test_the_information_of_sure_networks_is_not_rounded_away() -> None:
    logits = torch.tensor([[40.0, 0.0, -3.0]]).double()
    found = output_information(duda.Categorical(), logits)
    expected = math.exp(-40) + math.exp(-43)
    assert float(found.total()[0, 0]) == pytest.approx(expected, rel=1e-9)
    assert float(found.row(0)[0, 0]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_full_covariance_is_that_of_explicit_jacobians(name: str, bias: bool) -> None:
    likelihood = LIKELIHOODS[name]
    model = duda.Laplace(network(bias=bias), likelihood, "full", prior_precision=0.3)
    x, y = data(likelihood)
    model.fit_posterior((x, y), batch_size=7)
    new = 2 * torch.randn(6, 2, dtype=torch.float64)
    h, jacobian = fisher(model, x), jacobians(model, new)
    posterior = torch.linalg.inv(h + 0.3 * torch.eye(len(h)).double())
    expected = torch.einsum("ncp,pq,ndq->ncd", jacobian, posterior, jacobian)
    torch.testing.assert_close(covariance(model, new), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_kron_covariance_is_that_of_the_dense_product(name: str) -> None:
    likelihood = LIKELIHOODS[name]
    model = duda.Laplace(network(), likelihood, prior_precision=0.3)
    x, y = data(likelihood)
    model.fit_posterior((x, y), batch_size=7)
    with torch.no_grad():
        outputs, features = model.with_features(x)
    inputs = torch.einsum("nf,ng->fg", features, features) / len(x)
    h = torch.kron(sum(information(likelihood, each) for each in outputs), inputs)
    posterior = torch.linalg.inv(h + 0.3 * torch.eye(len(h)).double())
    jacobian = torch.stack([torch.kron(torch.eye(4).double(), each[None]) for each in features])
    expected = torch.einsum("ncp,pq,ndq->ncd", jacobian, posterior, jacobian)
    torch.testing.assert_close(covariance(model, x), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "n"), [(name, 1) for name in LIKELIHOODS] + [("fixed-gaussian", 30)]
)
def test_kron_is_exact_for_one_example_and_for_constant_information(name: str, n: int) -> None:
    likelihood = LIKELIHOODS[name]
    kron, full = (duda.Laplace(network(), likelihood, s, prior_precision=0.5) for s in STRUCTURES)
    full.network.load_state_dict(kron.network.state_dict())
    x, y = data(likelihood, n)
    for model in (kron, full):
        model.fit_posterior((x, y))
    new = torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(covariance(kron, new), covariance(full, new), rtol=1e-8, atol=1e-10)
    assert kron.log_marginal_likelihood() == pytest.approx(full.log_marginal_likelihood())


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_evidence_is_that_of_the_determinant(name: str) -> None:
    likelihood = LIKELIHOODS[name]
    model = duda.Laplace(network(), likelihood, "full")
    x, y = data(likelihood)
    model.fit_posterior((x, y))
    with torch.no_grad():
        outputs = model.network(x)
    if name == "categorical":
        log_likelihood = Categorical(logits=outputs).log_prob(y).sum()
    else:
        mean, variance = likelihood.moments(outputs)
        log_likelihood = Normal(mean, variance.sqrt()).log_prob(y).sum()
    last = [weight.detach() for weight in model.network[2].parameters()]
    h, norm = fisher(model, x), sum(float(w.square().sum()) for w in last)
    for precision in (1e-3, 1.0, 200.0):
        sign, log_det = torch.linalg.slogdet(h / precision + torch.eye(len(h)).double())
        assert sign == 1
        expected = float(log_likelihood - 0.5 * (precision * norm + log_det))
        assert model.log_marginal_likelihood(precision) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_precision_has_the_greatest_evidence(name: str, structure: Any) -> None:
    model = laplace(LIKELIHOODS[name], structure=structure)
    found = float(model.prior_precision)
    best = minimize_scalar(
        lambda log: -model.log_marginal_likelihood(math.exp(log)),
        bounds=(math.log(found) - 3, math.log(found) + 3),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert math.log(found) == pytest.approx(best.x, abs=1e-5)  # flat there, as rounding allows
    assert model.log_marginal_likelihood() >= -best.fun - 1e-9
    assert model.log_marginal_likelihood() == model.log_marginal_likelihood(found)


@given(
    eigenvalues=st.lists(st.floats(1e-8, 1e8), min_size=1, max_size=20),
    norm=st.floats(1e-6, 1e6),
)
def test_the_precision_is_where_the_evidence_is_flat(eigenvalues: list[float], norm: float) -> None:
    values, squared = torch.tensor(eigenvalues).double(), torch.tensor(norm).double()
    found = best_precision(values, squared)
    determined = (values / (values + found)).sum()
    torch.testing.assert_close(found * squared, determined, rtol=1e-9, atol=0)


def test_a_linear_network_is_bayesian_linear_regression() -> None:
    """With the weights of greatest posterior density nothing is approximate: it is a GP."""
    noise, precision = 0.4, 0.7
    x, y = torch.randn(25, 3).double(), torch.randn(25, 2).double()
    new = torch.randn(10, 3).double()
    linear = nn.Linear(3, 2).double()
    design = torch.cat([x, torch.ones(25, 1)], dim=1)
    gram = design.T @ design + precision * noise**2 * torch.eye(4)
    with torch.no_grad():
        best = torch.linalg.solve(gram, design.T @ y)
        linear.weight.copy_(best[:3].T)
        linear.bias.copy_(best[3])
    kernel = ConstantKernel(1 / precision, "fixed") * DotProduct(1.0, "fixed")
    golden = GaussianProcessRegressor(kernel, alpha=noise**2).fit(x.numpy(), y.numpy())
    mean, std = golden.predict(new.numpy(), return_std=True)
    for structure in STRUCTURES:
        model = duda.Laplace(
            linear,
            duda.FixedGaussian(noise),
            structure,
            prior_precision=precision,
            approximation="closed-form",
        )
        model.fit_posterior((x, y))
        answer = model.predict(new)
        torch.testing.assert_close(answer.mean, torch.from_numpy(mean))
        torch.testing.assert_close(answer.epistemic.sqrt(), torch.from_numpy(std))
        torch.testing.assert_close(answer.aleatoric, torch.full((10, 2), noise**2).double())
        evidence = golden.log_marginal_likelihood_value_
        assert model.log_marginal_likelihood() == pytest.approx(evidence)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_draws_have_the_covariance(structure: Any, joint: bool) -> None:
    model, m = laplace(structure=structure), 40_000
    x = torch.randn(3, 2).double()
    with torch.no_grad():
        draws = torch.cat(list(model.sampler(m, joint)(x)))
        outputs = model.network(x)
    expected = covariance(model, x)
    variance = expected.diagonal(dim1=1, dim2=2)
    assert ((draws.mean(0) - outputs).abs() <= 5 * (variance / m).sqrt()).all()
    steps = draws - outputs
    found = torch.einsum("mnc,mnd->ncd", steps, steps) / m
    error = ((variance[:, :, None] * variance[:, None, :] + expected**2) / m).sqrt()
    assert ((found - expected).abs() <= 5 * error).all()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_joint_draws_are_those_of_weights(structure: Any) -> None:
    """All weights can be read off their outputs, and have the posterior's covariance."""
    model, m = duda.Laplace(nn.Linear(3, 2).double(), duda.FixedGaussian(0.5), structure), 40_000
    x = torch.randn(20, 3).double()
    model.fit_posterior((x, torch.randn(20, 2).double()))
    read = torch.eye(4).double()
    read[:, 3] = 1  # the bias
    with torch.no_grad():
        sampler = model.sampler(m, joint=True)
        draws = torch.cat(list(sampler(read[:, :3]))) - model.network(read[:, :3])
    weights = torch.linalg.solve(read, draws).mT.flatten(1)
    features = torch.cat([x, torch.ones(20, 1)], 1).double()
    h = torch.kron(torch.eye(2).double(), features.T @ features / 0.5**2)
    expected = torch.linalg.inv(h + model.prior_precision * torch.eye(8).double())
    found = weights.T @ weights / m
    variance = expected.diagonal()
    error = ((variance[:, None] * variance + expected**2) / m).sqrt()
    assert ((found - expected).abs() <= 5 * error).all()


@pytest.mark.parametrize("name", ["gaussian", "fixed-gaussian", "beta-gaussian"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_closed_form_is_what_draws_tend_to(name: str, structure: Any) -> None:
    model, x = laplace(LIKELIHOODS[name], structure=structure), torch.randn(5, 2).double()
    drawn = model.predict(x, seed=0, samples=20_000, keep_draws=True)
    model.approximation = "closed-form"
    exact = model.predict(x)
    assert torch.equal(exact.mean, model.network(x)[:, : exact.mean.shape[1]].detach())
    means, variances = drawn.draws.chunk(2, dim=2)
    for found, expected in (
        (means, exact.mean),
        (variances, exact.aleatoric),
        ((means - exact.mean).square(), exact.epistemic),
    ):
        error = found.std(0) / math.sqrt(len(found))
        assert ((found.mean(0) - expected).abs() <= 5 * error + 1e-12).all()


def gaussian(mean: Tensor, full: Tensor) -> tuple[Tensor, OutputCovariance, Any]:
    values, vectors = torch.linalg.eigh(full)
    return mean, OutputCovariance(values, vectors), duda.Categorical().reduce(mean[None])


def test_probit_of_two_classes_is_mackays() -> None:
    mean, root = torch.randn(20, 2).double(), torch.randn(20, 2, 2).double()
    full = root @ root.mT
    probs = probit_prediction(*gaussian(mean, full)).probs
    gap, variance = mean[:, 0] - mean[:, 1], full[:, 0, 0] + full[:, 1, 1] - 2 * full[:, 0, 1]
    expected = torch.sigmoid(gap / (1 + math.pi / 8 * variance).sqrt())
    torch.testing.assert_close(probs[:, 0], expected)


def test_probit_is_near_many_draws() -> None:
    mean, root = 1.5 * torch.randn(50, 3).double(), 0.4 * torch.randn(50, 3, 3).double()
    probs = probit_prediction(*gaussian(mean, root @ root.mT)).probs
    noise = torch.einsum("ncd,mnd->mnc", root, torch.randn(20_000, 50, 3).double())
    exact = (mean + noise).softmax(2).mean(0)
    torch.testing.assert_close(probs.sum(1), torch.ones(50).double())
    assert (probs - exact).abs().max() < 0.08
    assert (probs - exact).abs().mean() < 0.5 * (mean.softmax(1) - exact).abs().mean()


def test_probit_sees_only_differences_of_logits() -> None:
    mean, root = torch.randn(6, 3).double(), torch.randn(6, 3, 3).double()
    full = root @ root.mT
    probs = probit_prediction(*gaussian(mean, full)).probs
    moved = probit_prediction(*gaussian(mean + 5, full + 2 * torch.ones(3, 3))).probs
    torch.testing.assert_close(moved, probs)
    certain = probit_prediction(*gaussian(mean, torch.zeros(6, 3, 3).double())).probs
    torch.testing.assert_close(certain, mean.softmax(1))


def test_probit_answers_have_the_parts_of_draws() -> None:
    model, x = laplace(), torch.randn(9, 2).double()
    drawn = model.predict(x, seed=0, keep_draws=True)
    model.approximation = "closed-form"
    answer = model.predict(x, seed=0, keep_draws=True)
    assert torch.equal(answer.votes, drawn.votes)
    assert torch.equal(answer.draws, drawn.draws)
    assert (answer.aleatoric <= drawn.aleatoric).all()
    torch.testing.assert_close(answer.entropy, answer.aleatoric + answer.epistemic)
    assert (answer.probs - drawn.probs).abs().max() < 0.2


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_kinds_of_data_and_batches_agree(structure: Any) -> None:
    (x, y), found = data(duda.Categorical()), []
    net = network()
    pairs = TensorDataset(x, y)
    for given_data, size in (
        ((x, y), 256),
        ((x.numpy(), y.numpy()), 1),
        (pairs, 7),
        (DataLoader(pairs, batch_size=4, shuffle=True), 1),
    ):
        model = duda.Laplace(net, duda.Categorical(), structure)
        model.fit_posterior(given_data, size)
        assert model.examples == len(x)
        assert not any(buffer.requires_grad for buffer in model.buffers())
        found.append(covariance(model, x))
    fitted = duda.Laplace(net, duda.Categorical(), structure)
    duda.fit(fitted, (x, y), epochs=1, lr=1e-30, batch_size=4)
    for other in (*found[1:], covariance(fitted, x)):
        torch.testing.assert_close(other, found[0], rtol=1e-9, atol=1e-12)


def test_positions_to_ignore_are_no_data() -> None:
    x, y = data(duda.Categorical())
    one, other = (duda.Laplace(network(), duda.Categorical(ignore_index=-1)) for _ in range(2))
    other.network.load_state_dict(one.network.state_dict())
    one.fit_posterior((x[::2], y[::2]))
    y = y.clone()
    y[1::2] = -1
    other.fit_posterior((x, y), batch_size=1)
    assert one.examples == other.examples == 15
    torch.testing.assert_close(covariance(one, x), covariance(other, x))
    assert one.log_marginal_likelihood() == pytest.approx(other.log_marginal_likelihood())
    with pytest.raises(ValueError, match="no example with a target"):
        other.fit_posterior((x, torch.full((30,), -1)))


def test_soft_labels_weigh_the_evidence_alone() -> None:
    x, y = data(duda.Categorical())
    model = duda.Laplace(network(), duda.Categorical())
    model.fit_posterior((x, y))
    hard, evidence = covariance(model, x), model.log_marginal_likelihood()
    model.fit_posterior((x, torch.nn.functional.one_hot(y).double()))
    torch.testing.assert_close(covariance(model, x), hard)
    assert model.log_marginal_likelihood() == pytest.approx(evidence)


class Named(nn.Module):
    """Takes named inputs and puts out more than logits, as networks of Hugging Face do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, left: Tensor, right: Tensor) -> Any:
        return SimpleNamespace(logits=self.inner(torch.stack([left, right], dim=1)))


def test_named_inputs_and_logits() -> None:
    (x, y), net = data(duda.Categorical()), network()
    plain, named = (duda.Laplace(each, duda.Categorical()) for each in (net, Named(net)))
    inputs = {"left": x[:, 0], "right": x[:, 1]}
    plain.fit_posterior((x, y))
    named.fit_posterior((inputs, y))
    one, other = plain.predict(x, seed=0), named.predict(inputs, seed=0)
    assert torch.equal(one.probs, other.probs)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_new_model_takes_the_state(structure: Any) -> None:
    model, new = (
        laplace(structure=structure),
        duda.Laplace(network(), duda.Categorical(), structure),
    )
    new.load_state_dict(model.state_dict())
    x = torch.randn(5, 2).double()
    assert torch.equal(new.predict(x, seed=0).probs, model.predict(x, seed=0).probs)
    assert new.log_marginal_likelihood() == model.log_marginal_likelihood()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_posterior_stays_in_double(dtype: torch.dtype) -> None:
    model, x = laplace(), torch.randn(5, 2).double()
    before = model.predict(x, seed=0).probs
    model.to(dtype)
    assert model.network[0].weight.dtype == dtype
    assert all(b.dtype == torch.float64 for b in model.buffers() if b.is_floating_point())
    torch.testing.assert_close(model.predict(x, seed=0).probs.double(), before, rtol=0.1, atol=0.02)


def test_fitting_leaves_weights_modes_and_random_numbers() -> None:
    model, before = duda.Laplace(network(), duda.Categorical()), torch.get_rng_state()
    x, y = data(duda.Categorical())
    weights, before = state(model.network), torch.get_rng_state()
    model.fit_posterior((x, y))
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, weights[n]) for n, value in model.network.state_dict().items())
    assert not model.network[2]._forward_hooks


def test_doubt_falls_with_data_and_rises_away_from_it() -> None:
    net = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 1)).double()
    near, far = torch.linspace(-1, 1, 9).double()[:, None], torch.tensor([[4.0], [-4.0]]).double()
    epistemic = []
    for n in (20, 200):
        x = torch.linspace(-1, 1, n).double()[:, None]
        model = duda.Laplace(net, duda.FixedGaussian(0.1), approximation="closed-form")
        model.fit_posterior((x, x**2))
        assert model.predict(far).epistemic.min() > 5 * model.predict(near).epistemic.max()
        epistemic.append(model.predict(near).epistemic)
    assert (epistemic[1] < epistemic[0]).all()


def test_before_data_the_remedy_is_told() -> None:
    model = duda.Laplace(network(), duda.Categorical())
    with pytest.raises(ValueError, match=r"seen no data.*`duda\.fit.*fit_posterior"):
        model.predict(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="seen no data"):
        model.log_marginal_likelihood()


class Odd(nn.Module):
    """Networks that end in another layer than was registered last, or in none."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.end, self.other = kind, nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "twice":
            return self.other(self.other(x))
        if self.kind == "unused":
            return self.end(x)
        if self.kind == "tokens":
            return self.other(x[:, None])
        return self.other(x).exp() if self.kind == "more" else self.end(self.other(x))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("twice", "is called 2 times"),
        ("more", "does not put out what the network does"),
        ("tokens", r"puts out the shape \(5, 1, 2\)"),
    ],
)
def test_networks_that_end_otherwise_are_told_before_training(kind: str, why: str) -> None:
    message = f"`network` has 'other', Linear.* as its last layer, which {why}"
    model = duda.Laplace(Odd(kind), duda.Categorical())
    x, y = torch.randn(5, 2), torch.arange(5) % 2
    with pytest.raises(ValueError, match=message):
        model.fit_posterior((x, y))
    if kind != "tokens":
        message = message.replace(r"\(5", r"\(2")
        before = state(model)
        with pytest.raises(ValueError, match=message):
            duda.fit(model, (x, y), epochs=1)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", ["order", "unused"])
def test_the_last_layer_is_that_which_makes_the_outputs(kind: str) -> None:
    net, x = Odd(kind), torch.randn(5, 2)
    model = duda.Laplace(net, duda.Categorical(), prior_precision=1.0)
    model.fit_posterior((x, torch.arange(5) % 2))
    assert model.last_layer is net.end
    assert model.squared_norm == sum(w.double().square().sum() for w in net.end.parameters())


def pair(n: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 2), torch.arange(n) % 4


def single() -> duda.Laplace:
    return duda.Laplace(network().float(), duda.Categorical())


def broken() -> Iterator[Any]:
    yield from [pair()]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: duda.Laplace(nn.ReLU(), duda.Categorical()), ValueError, r"has no `nn\.Linear`"),
        (
            lambda: duda.Laplace(network(), duda.Categorical(), "diag"),  # type: ignore[arg-type]
            ValueError,
            "`structure` is 'diag'",
        ),
        (
            lambda: duda.Laplace(nn.Linear(1000, 11), duda.Categorical(), "full"),
            ValueError,
            "has 11,011 weights and biases, expected at most 10,000: use 'kron'",
        ),
        (
            lambda: duda.Laplace(network(), duda.Categorical(), approximation="probit"),  # type: ignore[arg-type]
            ValueError,
            "`approximation` is 'probit'",
        ),
        (
            lambda: duda.Laplace(network(), duda.Categorical(), prior_precision=0.0),
            ValueError,
            "`prior_precision` is 0.0",
        ),
        (lambda: laplace().log_marginal_likelihood(-1.0), ValueError, "`prior_precision` is -1.0"),
        (lambda: single().fit_posterior(pair(0)), ValueError, "at least one example"),
        (
            lambda: single().fit_posterior((pair()[0], pair(4)[1])),
            ValueError,
            "has 5 inputs but 4 targets",
        ),
        (lambda: single().fit_posterior((pair()[0], pair()[1] + 9)), ValueError, "holds the label"),
        (lambda: single().fit_posterior(pair(), 0), ValueError, "`batch_size` is 0"),
        (lambda: single().fit_posterior(pair()[0]), TypeError, "`data` is a Tensor"),  # type: ignore[arg-type]
        (lambda: single().fit_posterior(broken()), TypeError, "`data` is a generator"),  # type: ignore[arg-type]
        (
            lambda: single().fit_posterior(TensorDataset(pair()[0])),
            TypeError,
            "a batch of `data` is a list, expected a pair",
        ),
        (
            lambda: laplace(duda.Gaussian(), approximation="closed-form").predict(
                torch.zeros(1, 2), keep_draws=True
            ),
            ValueError,
            "`keep_draws` is True, but the closed form has no draws",
        ),
        (
            lambda: laplace(approximation="closed-form").predict(torch.zeros(1, 2), joint=True),
            ValueError,
            "`joint` is True, but the closed form has no draws",
        ),
    ],
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_weights_of_zero_have_no_best_precision() -> None:
    model = laplace()
    for weight in model.network[2].parameters():
        nn.init.zeros_(weight)
    with pytest.raises(ValueError, match=r"`prior_precision` cannot be chosen.*give one"):
        model.fit_posterior(data(duda.Categorical()))
    with pytest.raises(ValueError, match="seen no data"):
        model.predict(torch.zeros(1, 2))
