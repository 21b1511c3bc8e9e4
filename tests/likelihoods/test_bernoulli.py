"""Bernoulli likelihood: one logit, several labels, weights, and labels that nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda import Bernoulli, BernoulliPrediction, Categorical, ClassPrediction

N, LABELS = 6, 4
SHAPES = [(N, LABELS), (N, LABELS, 5), (N, LABELS, 2, 3), (N, 1), (N, 1, 5)]


def draws(*shape: int) -> Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()


def truths(*shape: int) -> Tensor:
    return torch.randint(2, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("weight", [None, 3.0, "each"])
def test_loss_is_that_of_torch(shape: tuple[int, ...], weight: float | str | None) -> None:
    given = tuple(range(1, shape[1] + 1)) if weight == "each" else weight
    logits, y = draws(*shape), truths(*shape)
    weights = None
    if given is not None:
        weights = torch.tensor(given).double().view(-1, *[1] * (len(shape) - 2))
    expected = F.binary_cross_entropy_with_logits(logits, y.double(), pos_weight=weights)
    likelihood = Bernoulli(given)
    for targets in (y, y.bool(), y.float(), y.to(torch.uint8)):
        torch.testing.assert_close(likelihood.loss(logits, targets), expected * shape[1])
    soft = torch.rand(shape).double()
    expected = F.binary_cross_entropy_with_logits(logits, soft, pos_weight=weights)
    torch.testing.assert_close(likelihood.loss(logits, soft), expected * shape[1])


@pytest.mark.parametrize("positions", [(), (5,)], ids=str)
def test_one_logit_is_two_classes(positions: tuple[int, ...]) -> None:
    logits, y = draws(3, N, 1, *positions), truths(N, 1, *positions)
    found = Bernoulli().reduce(logits, keep_draws=True)
    expected = Categorical().reduce(torch.cat([0 * logits, logits], 2), keep_draws=True)
    for name, values in expected.numpy().items():
        torch.testing.assert_close(torch.as_tensor(found.numpy()[name]), torch.as_tensor(values))
    assert type(found) is ClassPrediction
    judged = Bernoulli().prediction_loss(found, y)
    torch.testing.assert_close(judged, Categorical().prediction_loss(expected, y[:, 0]))
    if not positions:
        row = Bernoulli().reduce(logits[:, :, 0])
        assert torch.equal(row.log_probs, found.log_probs)
        assert Bernoulli().loss(logits[0, :, 0], y) == Bernoulli().loss(logits[0], y[:, 0])


@pytest.mark.parametrize("positions", [(), (5,)], ids=str)
def test_labels_are_predicted_each_for_itself(positions: tuple[int, ...]) -> None:
    logits = draws(3, N, LABELS, *positions)
    answer = Bernoulli().reduce(logits, keep_draws=True)
    assert isinstance(answer, BernoulliPrediction)
    torch.testing.assert_close(answer.probs, logits.sigmoid().mean(0))
    torch.testing.assert_close(answer.draws, logits.sigmoid())
    torch.testing.assert_close(answer.entropy, answer.aleatoric + answer.epistemic)
    each = torch.special.entr(logits.sigmoid()) + torch.special.entr((-logits).sigmoid())
    torch.testing.assert_close(answer.aleatoric, each.mean(0))
    torch.testing.assert_close(answer.score, answer.entropy.sum(1))
    y = truths(N, LABELS, *positions)
    logs = torch.stack(list(answer.log_likelihoods(y)))
    law = torch.distributions.Bernoulli(logits=logits)
    torch.testing.assert_close(logs, law.log_prob(y.double()))
    wrong = answer.labels != y
    assert torch.equal(answer.is_bad(y), wrong.any(1))
    assert torch.equal(answer.loss(y), wrong.double().sum(1))
    plain = torch.distributions.Bernoulli(probs=answer.probs).log_prob(y.double())
    torch.testing.assert_close(
        Bernoulli().prediction_loss(answer, y), -plain.sum() / answer.score.numel()
    )


def test_nothing_underflows() -> None:
    logits = torch.tensor([[[800.0, -800.0]], [[900.0, -900.0]]])
    answer = Bernoulli().reduce(logits)
    assert answer.by_label.log_probs[0, 0, 0] == pytest.approx(-800 - 0.6931, rel=1e-6)
    assert float(Bernoulli().prediction_loss(answer, torch.tensor([[0, 1]]))) > 1600


def test_weights_are_undone_in_what_is_predicted() -> None:
    p, weight = torch.tensor([0.1, 0.3, 0.8]).double(), 5.0
    learned = (weight * p / (1 - p)).log()  # where the weighted loss is least
    learned = learned.unsqueeze(1).requires_grad_()
    loss = Bernoulli(weight).loss(learned, p.unsqueeze(1))
    (slope,) = torch.autograd.grad(loss, learned)
    assert float(slope.abs().max()) < 1e-12
    found = Bernoulli(weight).reduce(learned.detach()[None]).probs[:, 1]
    torch.testing.assert_close(found, p)
    kept = Bernoulli(weight, undo_weight=False).reduce(learned.detach()[None]).probs[:, 1]
    torch.testing.assert_close(kept, weight * p / (weight * p + 1 - p))


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
@pytest.mark.parametrize("positions", [(), (5,)], ids=str)
def test_labels_that_nobody_knows_add_nothing(
    positions: tuple[int, ...], dtype: torch.dtype
) -> None:
    likelihood = Bernoulli(ignore_index=-1)
    logits, y = draws(N, LABELS, *positions).requires_grad_(), truths(N, LABELS, *positions)
    y[0], y[1:, 1] = -1, -1
    y = y.to(dtype)
    known = y != -1
    each = F.binary_cross_entropy_with_logits(logits, y.clamp(min=0).double(), reduction="none")
    terms = int(known.any(1).sum())
    assert int(likelihood.terms(y)) == terms
    loss = likelihood.loss(logits, y)
    torch.testing.assert_close(loss, each[known].sum() / terms)
    loss.backward()
    assert bool((logits.grad[~known] == 0).all())
    answer = likelihood.reduce(logits.detach()[None])
    torch.testing.assert_close(likelihood.prediction_loss(answer, y), loss.detach())
    assert float(likelihood.loss(logits, torch.full_like(y, -1)).detach()) == 0
    assert duda.evaluation.nll(answer, y.long(), ignore_index=-1) == pytest.approx(
        float(each[known].mean().detach())
    )


CASES = [
    (torch.arange(N) % LABELS, r"a class for each example, .*Categorical\(\)"),
    (torch.full((N, LABELS), 3), r"holds 3, expected 0 or 1"),
    (torch.full((N, LABELS), -1), r"holds -1, .*ignore_index"),
    (torch.full((N, LABELS), torch.nan), r"holds NaN, .*ignore_index=-1"),
    (torch.full((N, LABELS), 1.5), r"holds 1.5, expected 0 or 1, or probabilities"),
    (torch.zeros(N, LABELS + 1), "`y` has shape"),
]


@pytest.mark.parametrize(("y", "message"), CASES)
def test_targets_that_are_none_are_told(y: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bernoulli().loss(draws(N, LABELS), y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pos_weight": 0.0}, "`pos_weight` is 0.0, expected a number above 0"),
        ({"pos_weight": (1.0, -2.0)}, "`pos_weight` is -2.0"),
        ({"ignore_index": 1}, "`ignore_index` is 1, which is a label"),
        ({"undo_weight": 1}, "`undo_weight` is 1, expected True or False"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bernoulli(**arguments)


def test_weights_fit_the_labels() -> None:
    with pytest.raises(ValueError, match="`pos_weight` has 2 weights, expected one, or one for"):
        Bernoulli((1.0, 2.0)).loss(draws(N, LABELS), truths(N, LABELS))


def test_one_output_for_classes_names_the_likelihood() -> None:
    model = duda.Deterministic(nn.Linear(3, 1), Categorical())
    with pytest.raises(ValueError, match=r"Bernoulli\(\)"):
        duda.fit(model, (torch.randn(N, 3), truths(N)), epochs=1)
    with pytest.raises(ValueError, match=r"Bernoulli\(\)"):
        model.predict(torch.randn(N, 3))


def test_a_sigmoid_at_the_end_is_told() -> None:
    model = duda.Deterministic(nn.Sequential(nn.Linear(3, 1), nn.Sigmoid()), Bernoulli())
    with pytest.raises(ValueError, match="ends in a sigmoid"):
        model.predict(torch.randn(N, 3))


def test_predictions_are_kept_cut_and_joined(tmp_path: Path) -> None:
    answer = Bernoulli().reduce(draws(3, N, LABELS), keep_draws=True)
    kept = duda.load_prediction(answer.save(tmp_path / "answer"))
    joined = BernoulliPrediction.concatenate([answer[:2], answer[2:]])
    for other in (kept, joined, answer.to("cpu")):
        for name, values in answer.numpy().items():
            torch.testing.assert_close(
                torch.as_tensor(other.numpy()[name]), torch.as_tensor(values)
            )


def test_labels_at_a_threshold() -> None:
    answer = BernoulliPrediction.from_probs([[0.2, 0.5, 0.9]])
    assert answer.labels_at(0.1).tolist() == [[1, 1, 1]]
    assert answer.labels_at(torch.tensor([0.3, 0.5, 0.95])).tolist() == [[0, 1, 0]]
    with pytest.raises(ValueError, match="`threshold` is 2"):
        answer.labels_at(2)


@pytest.mark.parametrize("form", ["row", "column"])
@pytest.mark.parametrize("method", ["laplace", "duq", "gradient-confidence", "mc-dropout"])
def test_networks_with_one_logit_learn(method: str, form: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 2)
    y = (x.sum(1) > 0).float()
    network = lambda: nn.Sequential(  # noqa: E731
        nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1)
    )
    model = duda.METHODS[method].from_factory(network, Bernoulli())
    duda.fit(model, (x, y if form == "row" else y[:, None]), epochs=20, lr=0.02, seed=0)
    answer = model.predict(x, seed=0)
    assert duda.evaluation.accuracy(answer, y.long()) > 0.9
    assert answer.score.shape == (200,)


def test_closed_form_of_labels_is_near_draws() -> None:
    torch.manual_seed(0)
    x = torch.randn(60, 2)
    y = torch.stack([x[:, 0] > 0, x[:, 1] > 0], dim=1).float()
    for labels in (y, y[:, :1]):
        network = nn.Linear(2, labels.shape[1])
        model = duda.Laplace(network, Bernoulli(2.0), samples=2000, prior_precision=1.0)
        model.fit_posterior((x, labels))
        drawn = model.predict(x, seed=0)
        model.approximation = "closed-form"
        closed = model.predict(x, seed=0)
        assert type(closed) is type(drawn)
        assert float((closed.probs - drawn.probs).abs().max()) < 0.03


def test_unknown_labels_are_left_out_where_scores_are_judged() -> None:
    torch.manual_seed(0)
    probs, y = torch.rand(60, 3), torch.randint(2, (60, 3))
    y[::4, 1], y[5] = -1, -1
    answer, known = BernoulliPrediction.from_probs(probs), (y != -1).any(1)
    filled = torch.where(y == -1, answer.labels, y)  # which is then never wrong
    loss, bad = answer.loss(filled)[known], answer.is_bad(filled)[known]
    curve = duda.evaluation.selective(answer, y, ignore_index=-1)
    assert curve.aurc == duda.evaluation.selective(answer.score[known], loss).aurc
    found = duda.evaluation.rank(answer, y, ignore_index=-1)
    assert found.auroc == duda.evaluation.rank(answer.score[known], bad).auroc
    gate = duda.Gate.risk(0.9).fit(answer, y, ignore_index=-1)
    assert gate.summary() == duda.Gate.risk(0.9).fit(answer.score[known], is_bad=bad).summary()
    assert int(known.sum()) == 59


def test_unknown_labels_add_nothing_to_the_joint_likelihood() -> None:
    torch.manual_seed(0)
    draws, y = torch.randn(7, 20, 3), torch.randint(2, (20, 3))
    y[::3, 0] = -1
    answer = Bernoulli().reduce(draws, keep_draws=True).with_joint(True)
    each = torch.where(
        y == -1,
        0,
        -F.binary_cross_entropy_with_logits(
            draws, y.clamp(min=0).expand(7, 20, 3).float(), reduction="none"
        ),
    )
    expected = duda.evaluation.joint_nll_of_draws(each.double())
    found = duda.evaluation.joint_nll(answer, y, ignore_index=-1)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("form", "dtype"),
    [
        ("row", torch.int64),
        ("row", torch.bool),
        ("row", torch.float32),
        ("row", torch.float64),
        ("column", torch.float32),
    ],
)
def test_labels_of_one_logit_are_taken_as_its_loss_takes_them(
    form: str, dtype: torch.dtype
) -> None:
    answer, y = Bernoulli().reduce(draws(3, N, 1)), truths(N)
    given = (y if form == "row" else y[:, None]).to(dtype)
    evaluation = duda.evaluation
    for metric in (evaluation.nll, evaluation.brier, evaluation.accuracy):
        assert metric(answer, given) == metric(answer, y)
    assert torch.equal(answer.is_bad(given), answer.is_bad(y))
    fitted = [duda.decisions.Isotonic().fit(answer, labels).knots for labels in (given, y)]
    assert torch.equal(*fitted)
    if dtype is not torch.bool:  # which says whether an answer is right
        unknown = given.clone()
        unknown[0] = -1
        kept = slice(1, None)
        found = evaluation.selective(answer, unknown, ignore_index=-1).aurc
        assert found == evaluation.selective(answer[kept], y[kept]).aurc
        found = evaluation.nll(answer, unknown, ignore_index=-1)
        assert found == pytest.approx(evaluation.nll(answer[kept], y[kept]))
        for odd in (given + 0.25, given.double() * torch.nan):
            with pytest.raises(ValueError, match="expected 0 or 1: give shares of votes for both"):
                evaluation.nll(answer, odd)


def test_classes_beside_several_labels_are_told() -> None:
    answer, y = Bernoulli().reduce(draws(3, N, LABELS)), torch.arange(N) % LABELS
    for call in (
        lambda: duda.evaluation.nll(answer, y),
        lambda: duda.evaluation.selective(answer, y),
        lambda: answer.loss(y),
        lambda: duda.decisions.Temperature().fit(answer, y),
        lambda: duda.Gate.risk(0.5).fit(answer, y),
    ):
        with pytest.raises(ValueError, match=r"a class for each example, .*F.one_hot\(y, 4\)"):
            call()


@pytest.mark.parametrize("shape", [(N, LABELS), (N, LABELS, 5), (N, 1)], ids=str)
@pytest.mark.parametrize("kind", [duda.decisions.Temperature, duda.decisions.Isotonic])
def test_recalibrated_labels_are_labels(shape: tuple[int, ...], kind: type) -> None:
    logits = draws(1, *shape)[0]
    y = torch.bernoulli((logits / 2).sigmoid(), generator=torch.Generator().manual_seed(3)).long()
    answer = BernoulliPrediction.from_probs(logits.sigmoid())
    recalibration = kind().fit(answer, y)
    found = recalibration(answer)
    assert isinstance(found, BernoulliPrediction)
    assert found.said_shape == shape[1:]
    flat = logits.flatten()
    arrays = kind().fit(torch.stack([1 - flat.sigmoid(), flat.sigmoid()], 1), y.flatten())
    expected = arrays(torch.stack([1 - flat.sigmoid(), flat.sigmoid()], 1))[:, 1]
    torch.testing.assert_close(found.probs.flatten(), expected)
    torch.testing.assert_close(found.entropy, found.aleatoric + found.epistemic)


def test_a_row_is_the_column_of_a_single_label() -> None:
    answer, y = BernoulliPrediction.from_probs(torch.rand(N, 1)), truths(N)
    assert torch.equal(answer.is_bad(y), answer.is_bad(y[:, None]))
    assert duda.evaluation.nll(answer, y) == duda.evaluation.nll(answer, y[:, None])
