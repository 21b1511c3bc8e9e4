"""Class weights, label smoothing and focal loss: golden values, what is predicted, and fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

import duda
from duda import Bernoulli, Categorical
from duda.likelihoods.class_costs import unfocused

N, CLASSES = 12, 4
WEIGHT = (0.5, 1.0, 2.0, 7.0)


def data(*positions: int, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(N, classes, *positions, generator=generator).double()
    return logits, torch.randint(classes, (N, *positions), generator=generator)


@pytest.mark.parametrize("positions", [(), (5,), (2, 3)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignored", [None, 2])
def test_loss_is_that_of_torch(
    positions: tuple[int, ...], smoothing: float, ignored: int | None
) -> None:
    logits, y = data(*positions)
    options = {"weight": torch.tensor(WEIGHT).double(), "label_smoothing": smoothing}
    expected = F.cross_entropy(
        logits, y, ignore_index=-9 if ignored is None else ignored, **options
    )
    likelihood = Categorical(ignored, weight=WEIGHT, label_smoothing=smoothing)
    torch.testing.assert_close(likelihood.loss(logits, y), expected)
    last = Categorical(ignored, weight=WEIGHT, label_smoothing=smoothing, class_dim=-1)
    torch.testing.assert_close(last.loss(logits.movedim(1, -1), y), expected)
    known = y != ignored if ignored is not None else y > -1
    assert float(likelihood.loss_weight(y)) == float(options["weight"][y[known]].sum())


def test_soft_labels_weigh_as_their_shares() -> None:
    logits, y = data(3)
    shares = torch.rand(N, CLASSES, 3).double()
    shares /= shares.sum(1, keepdim=True)
    weight = torch.tensor(WEIGHT).double()
    for smoothing in (0.0, 0.2):
        likelihood = Categorical(weight=WEIGHT, label_smoothing=smoothing)
        # Torch divides by the number of soft labels, and by the sum of weights of hard ones.
        terms = F.cross_entropy(logits, shares, weight, label_smoothing=smoothing, reduction="none")
        total = (shares * weight[:, None]).sum()
        torch.testing.assert_close(likelihood.loss(logits, shares), terms.sum() / total)
        torch.testing.assert_close(likelihood.loss_weight(shares), total)
        hard = F.one_hot(y, CLASSES).movedim(-1, 1).double()
        torch.testing.assert_close(likelihood.loss(logits, hard), likelihood.loss(logits, y))


def sigmoid_focal_loss(inputs: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Return the loss as `torchvision.ops.sigmoid_focal_loss` has it."""
    p = torch.sigmoid(inputs)
    ce = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    return (alpha * targets + (1 - alpha) * (1 - targets)) * ce * (1 - p_t) ** gamma


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_focal_loss_is_that_of_torchvision(gamma: float) -> None:
    logits, y = data(classes=2)
    found = Categorical(weight=(0.75, 0.25), focal=gamma)
    each = sigmoid_focal_loss(logits[:, 1] - logits[:, 0], y.double(), 0.25, gamma)
    torch.testing.assert_close(found.loss(logits, y) * found.loss_weight(y), each.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_focal_loss_of_sure_networks_is_finite_and_has_a_gradient(dtype: torch.dtype) -> None:
    logits = torch.tensor([[900.0, -900.0, 0.0], [40.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).to(dtype)
    logits.requires_grad_()
    for gamma in (0.5, 2.0):
        likelihood = Categorical(focal=gamma)
        for y in (torch.tensor([0, 0, 0]), torch.tensor([1, 2, 0])):
            loss = likelihood.loss(logits, y)
            (slope,) = torch.autograd.grad(loss, logits)
            assert bool(loss.isfinite())
            assert bool(slope.isfinite().all())
    assert bool(Categorical(focal=2.0).reduce(logits.detach()[None]).log_probs.isfinite().all())


def least(likelihood: Categorical, p: Tensor) -> Tensor:
    """Return the logits at which the loss of targets with these probabilities is least."""
    logits = torch.zeros_like(p).requires_grad_()
    options = {"tolerance_grad": 1e-12, "tolerance_change": 0.0, "max_iter": 300}
    optimizer = torch.optim.LBFGS([logits], line_search_fn="strong_wolfe", **options)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = likelihood.loss(logits, p)
        loss.backward()
        return loss

    optimizer.step(step)
    return logits.detach()


@pytest.mark.parametrize(
    "arguments", [{"weight": WEIGHT}, {"focal": 3.0}, {"weight": WEIGHT, "focal": 1.5}], ids=str
)
def test_what_the_loss_learns_is_undone_in_predictions(arguments: dict[str, object]) -> None:
    p = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.2, 0.06, 0.04]]).double()
    for row in p:
        learned = least(Categorical(**arguments), row[None])
        answer = Categorical(**arguments).reduce(learned[None])
        torch.testing.assert_close(answer.probs, row[None], atol=1e-5, rtol=1e-4)
        kept = Categorical(**arguments, undo_weight=False, undo_focal=False).reduce(learned[None])
        torch.testing.assert_close(kept.probs, learned.softmax(1))


def test_weights_are_those_that_bernoulli_undoes() -> None:
    logits, _ = data(classes=2)
    expected = Bernoulli(5.0).reduce((logits[:, 1:] - logits[:, :1])[None])
    found = Categorical(weight=(1.0, 5.0)).reduce(logits[None])
    torch.testing.assert_close(found.log_probs, expected.log_probs)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-30, 30), min_size=2, max_size=6),
    st.floats(0.1, 6),
)
def test_undoing_the_focus_keeps_the_order(values: list[float], gamma: float) -> None:
    logits = torch.tensor([values]).double()
    found = unfocused(logits, gamma)
    order = logits.argsort(1)
    assert bool((found.gather(1, order).diff(dim=1) >= -1e-9).all())
    assert bool(found.isfinite().all())
    q = logits.softmax(1)
    phi = (1 - q) ** gamma - gamma * (1 - q) ** (gamma - 1) * q * q.log()
    if float(q.max()) < 0.999:  # beyond, this formula has no digits
        torch.testing.assert_close(found.softmax(1), F.normalize(q / phi, p=1, dim=1))


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("soft", [False, True])
def test_unknown_targets_add_nothing(soft: bool, gamma: float) -> None:
    logits, y = data(5)
    logits.requires_grad_()
    likelihood = Categorical(-1, weight=WEIGHT, focal=gamma, label_smoothing=0.1)
    y[::2, 1:3] = -1
    known = y != -1
    targets = y
    if soft:
        targets = F.one_hot(y.clamp(min=0), CLASSES).movedim(-1, 1) * known.unsqueeze(1).double()
    loss = likelihood.loss(logits, targets)
    flat = logits.movedim(1, -1)[known]
    torch.testing.assert_close(loss, likelihood.loss(flat, y[known]))
    (slope,) = torch.autograd.grad(loss, logits)
    assert bool((slope.movedim(1, -1)[~known] == 0).all())
    assert int(likelihood.terms(targets)) == int(known.sum())
    none = torch.zeros_like(targets) if soft else torch.full_like(targets, -1)
    (slope,) = torch.autograd.grad(likelihood.loss(logits, none), logits)
    assert float(likelihood.loss(logits, none).detach()) == 0
    assert bool((slope == 0).all())


def test_nobody_voted_is_told_without_an_index() -> None:
    shares = torch.tensor([[0.5, 0.5], [0.0, 0.0]])
    with pytest.raises(ValueError, match="zeros, where nobody voted, are left out by"):
        Categorical().loss(torch.zeros(2, 2), shares)
    for likelihood in (Categorical(-1), duda.Dirichlet(-1)):
        outputs = torch.randn(2, likelihood.width(2))
        found = likelihood.loss(outputs, shares)
        torch.testing.assert_close(found, likelihood.loss(outputs[:1], shares[:1]))
        assert int(likelihood.terms(shares)) == 1
    sure = torch.tensor([[3.0, 1.0, -90.0, -90.0], [0.0, 0.0, 0.0, 0.0]])  # without noise
    likelihood = duda.SampledSoftmax(ignore_index=-1)
    found = likelihood.loss(sure, shares)
    torch.testing.assert_close(found, likelihood.loss(sure[:1], shares[:1]))


@pytest.mark.parametrize(
    "likelihood",
    [Categorical(weight=WEIGHT), Categorical(-1, weight=WEIGHT, focal=2.0, label_smoothing=0.1)],
    ids=str,
)
def test_vmap_runs_the_unchecked_loss(likelihood: Categorical) -> None:
    logits, y = torch.randn(3, 6, CLASSES), torch.randint(CLASSES, (3, 6))
    found = torch.func.vmap(likelihood.negative_log_likelihood)(logits, y)
    pairs = zip(logits, y, strict=True)
    torch.testing.assert_close(found, torch.stack([likelihood.loss(*pair) for pair in pairs]))
    weights = torch.func.vmap(likelihood.loss_weight)(y)
    torch.testing.assert_close(weights, torch.stack([likelihood.loss_weight(row) for row in y]))


def test_balanced_weights_are_those_of_scikit_learn(tmp_path: Path) -> None:
    y = torch.tensor([0] * 7 + [1] * 2 + [2] * 3)
    x = torch.randn(12, 2)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y.numpy())
    model = duda.Deterministic(nn.Linear(2, 3), Categorical(weight="balanced"))
    with pytest.raises(ValueError, match="`weight` is 'balanced', but nobody has counted"):
        model.loss(x, y)
    duda.fit(model, (x, y), epochs=2, batch_size=5, seed=0)
    found = model.likelihood.costs(x).weight
    torch.testing.assert_close(found.double(), torch.tensor(expected), rtol=1e-6, atol=0)
    other = duda.load(duda.save(model, tmp_path / "model"), nn.Linear(2, 3))
    torch.testing.assert_close(other.predict(x).probs, model.predict(x).probs)
    given = duda.Deterministic(model.network, Categorical(weight=expected))
    torch.testing.assert_close(given.predict(x).probs, model.predict(x).probs)
    shares = F.one_hot(y, 3).double()
    counted = Categorical(weight="balanced").balance_of([y[:9], y[9:]])
    torch.testing.assert_close(Categorical(weight="balanced").balance_of([shares]), counted)


def test_classes_without_targets_have_no_balanced_weight() -> None:
    model = duda.Deterministic(nn.Linear(2, 3), Categorical(weight="balanced"))
    x = torch.randn(4, 2)
    with pytest.raises(ValueError, match="the class 1 has no training target"):
        duda.fit(model, (x, torch.tensor([0, 2, 2, 0])), epochs=1)
    with pytest.raises(
        ValueError, match="`weight` has 2 weights, by the training targets, expected"
    ):
        duda.fit(model, (x, torch.tensor([0, 1, 1, 0])), epochs=1)


def test_one_s_own_loop_counts_when_the_training_starts() -> None:
    x, y = torch.randn(9, 2), torch.arange(9) % 3
    model = duda.Deterministic(nn.Linear(2, 3), Categorical(weight="balanced"))
    model.on_fit_start(duda.training.FitState(batches=lambda: iter([(x, y)])))
    torch.testing.assert_close(model.loss(x, y), F.cross_entropy(model(x), y))
    assert model.predict(x).probs.shape == (9, 3)


@pytest.mark.parametrize("vectorize", [False, True])
@pytest.mark.parametrize("likelihood", [Categorical(weight=WEIGHT), Categorical(3)], ids=str)
def test_accumulated_batches_are_one(vectorize: bool, likelihood: Categorical) -> None:
    x, (_, y) = torch.randn(N, 3, dtype=torch.float64), data()
    weights = []
    for size, accumulate in ((N, 1), (5, 3)):
        torch.manual_seed(0)
        model = duda.DeepEnsemble(lambda: nn.Linear(3, CLASSES).double(), likelihood, members=2)
        training = duda.Training(accumulate=accumulate, optimizer=torch.optim.SGD, lr=0.5)
        settings = {"batch_size": size, "vectorize": vectorize, "training": training}
        duda.fit(model, (x, y), epochs=1, seed=0, **settings)
        weights.append([weight.detach().clone() for weight in model.parameters()])
    for whole, parts in zip(*weights, strict=True):
        torch.testing.assert_close(whole, parts)


def test_members_as_one_step_are_members_in_turn() -> None:
    x, (_, y) = torch.randn(N, 3), data()
    weights = []
    for vectorize in (False, True):
        torch.manual_seed(0)
        likelihood = Categorical(weight="balanced", label_smoothing=0.1, focal=1.0)
        model = duda.DeepEnsemble(lambda: nn.Linear(3, CLASSES), likelihood, members=2)
        duda.fit(model, (x, y), epochs=2, batch_size=5, seed=0, vectorize=vectorize)
        weights.append([weight.detach().clone() for weight in model.parameters()])
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("structure", ["kron", "full"])
def test_curvature_is_the_hessian_of_the_loss(structure: str) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(8, 2).double(), torch.arange(8) % 3
    likelihood = Categorical(weight=(1.0, 2.0, 4.0), label_smoothing=0.2)
    network = nn.Linear(2, 3).double()
    model = duda.Laplace(network, likelihood, structure=structure, prior_precision=1.0)
    rows = slice(0, 1) if structure == "kron" else slice(None)  # which is exact for one example
    model.fit_posterior((x[rows], y[rows]))

    def total(weight: Tensor) -> Tensor:
        with_bias = torch.cat([x, torch.ones(8, 1).double()], dim=1)[rows]
        loss = likelihood.loss(with_bias @ weight.view(3, 3).T, y[rows])
        return loss * likelihood.loss_weight(y[rows])

    weight = torch.cat([network.weight, network.bias[:, None]], dim=1).detach().flatten()
    hessian = torch.autograd.functional.hessian(total, weight)
    expected = torch.linalg.eigvalsh(hessian)
    found = model.curvature.eigenvalues().sort().values
    torch.testing.assert_close(found, expected.clamp(min=0), atol=1e-8, rtol=1e-6)
    assert model.log_likelihood == pytest.approx(-float(total(weight)))
    drawn = model.predict(x, samples=3000, seed=0)
    model.approximation = "closed-form"
    assert float((model.predict(x, seed=0).probs - drawn.probs).abs().max()) < 0.03


def test_validation_goes_by_the_labels_as_they_are() -> None:
    logits, y = data()
    likelihood = Categorical(weight=WEIGHT, label_smoothing=0.3, focal=2.0)
    answer = likelihood.reduce(logits[None])
    found = likelihood.prediction_loss(answer, y)
    assert float(found) == pytest.approx(duda.evaluation.nll(answer, y))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical(weight=[1.0, 0.0]), "`weight` is 0.0, expected a number above 0"),
        (lambda: Categorical(weight="even"), "`weight` is 'even', expected 'balanced', or a"),
        (lambda: Categorical(weight=2.0), "`weight` is 2.0, expected 'balanced', or a number for"),
        (lambda: Categorical(label_smoothing=1.0), "`label_smoothing` is 1.0, expected a share"),
        (lambda: Categorical(focal=-1.0), "`focal` is -1.0, expected a finite number of at least"),
        (lambda: Categorical(undo_focal=1), "`undo_focal` is 1, expected True or False"),
        (
            lambda: Categorical(weight=(1.0, 2.0)).loss(*data()),
            "`weight` has 2 weights, expected one for each of 4 classes",
        ),
        (
            lambda: duda.Laplace(nn.Linear(2, 3), Categorical(focal=1.0)),
            "`focal` is 1.0, but the curvature",
        ),
        (
            lambda: duda.DUQ(nn.Linear(2, 3), Categorical(label_smoothing=0.1)),
            "`label_smoothing` is given, but the loss of a DUQ",
        ),
    ],
)
def test_what_cannot_be_is_told(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("positions", [(), (5,)], ids=str)
@pytest.mark.parametrize("ignored", [None, 3])
def test_weights_of_examples_and_of_classes_multiply(
    positions: tuple[int, ...], ignored: int | None
) -> None:
    logits, y = data(*positions)
    likelihood = Categorical(ignored, weight=WEIGHT, focal=1.0)
    loss = likelihood.loss(logits, y)
    torch.testing.assert_close(likelihood.loss(logits, y, weight=torch.ones(N)), loss)
    twice = torch.ones(N)
    twice[2] = 2
    row = likelihood.loss(logits[2:3], y[2:3]) * likelihood.loss_weight(y[2:3])
    expected = loss + row / likelihood.loss_weight(y)
    torch.testing.assert_close(likelihood.loss(logits, y, weight=twice), expected)
