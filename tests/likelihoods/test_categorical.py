"""The cross-entropy against other libraries, and the errors that teach."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import log_loss
from torch import Tensor

from duda import Categorical

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0], [-4.0, 1.0, 1.0], [0.3, 0.2, 0.1]])
LABELS = torch.tensor([0, 1, 2, 0])


def test_loss_is_the_log_loss_of_scikit_learn() -> None:
    expected = log_loss(LABELS, LOGITS.double().softmax(1), labels=[0, 1, 2])
    assert float(Categorical().loss(LOGITS, LABELS)) == pytest.approx(expected, rel=1e-6)


def test_soft_labels_give_the_mean_cross_entropy() -> None:
    shares = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7], [0.0, 1.0, 0.0], [0.3, 0.3, 0.4]])
    expected = -(shares.numpy() * log_softmax(LOGITS.numpy(), axis=1)).sum(1).mean()
    assert float(Categorical().loss(LOGITS, shares)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("positions", [(), (5,), (3, 4)])
def test_one_hot_rows_are_labels(positions: tuple[int, ...]) -> None:
    logits, labels = torch.randn(6, 4, *positions), torch.randint(4, (6, *positions))
    one_hot = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).double()
    torch.testing.assert_close(
        Categorical().loss(logits, one_hot), Categorical().loss(logits, labels)
    )


def test_positions_are_averaged_like_examples() -> None:
    logits, labels = torch.randn(2, 4, 3, 5), torch.randint(4, (2, 3, 5))
    flat = Categorical().loss(logits.movedim(1, -1).reshape(-1, 4), labels.reshape(-1))
    torch.testing.assert_close(Categorical().loss(logits, labels), flat)


@pytest.mark.parametrize("ignored", [-100, 0, 255])
def test_ignored_labels_add_nothing(ignored: int) -> None:
    logits, labels = torch.randn(2, 4, 6), torch.randint(1, 4, (2, 6))
    labels[0, :3] = ignored
    counts = labels != ignored
    expected = Categorical().loss(logits.movedim(1, -1)[counts], labels[counts])
    torch.testing.assert_close(Categorical(ignore_index=ignored).loss(logits, labels), expected)


def test_a_batch_of_ignored_labels_has_loss_and_gradient_zero() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    loss = Categorical(ignore_index=-1).loss(logits, torch.full((3,), -1))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(3, 4))


def test_byte_labels_may_hold_the_255_of_segmentation_masks() -> None:
    labels = torch.tensor([0, 1, 2, 255], dtype=torch.uint8)
    torch.testing.assert_close(
        Categorical(ignore_index=255).loss(LOGITS, labels),
        Categorical().loss(LOGITS[:3], labels[:3].long()),
    )


def test_saturated_logits_have_a_finite_loss() -> None:
    loss = Categorical().loss(torch.tensor([[200.0, 0.0]]), torch.tensor([1]))
    assert float(loss) == 200


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats_are_summed_in_float32(dtype: torch.dtype) -> None:
    logits, labels = torch.randn(2000, 10).to(dtype), torch.randint(10, (2000,))
    loss = Categorical().loss(logits, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, Categorical().loss(logits.float(), labels))


@pytest.mark.parametrize(
    "y",
    [
        torch.tensor([0, 2, 1]),
        torch.tensor([0, -1, 1]),
        torch.tensor([[0.2, 0.3, 0.5]] * 3, dtype=torch.float64),
    ],
    ids=["labels", "ignored", "soft"],
)
def test_gradient_is_that_of_the_loss(y: Tensor) -> None:
    likelihood = Categorical(ignore_index=-1)
    logits = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda outputs: likelihood.loss(outputs, y), logits)


@pytest.mark.parametrize("soft", [False, True])
def test_vmap_runs_the_unchecked_loss(soft: bool) -> None:
    logits = torch.randn(4, 6, 3)
    y = torch.rand(4, 6, 3).softmax(2) if soft else torch.randint(-1, 3, (4, 6))
    likelihood = Categorical(ignore_index=-1)
    losses = torch.func.vmap(likelihood.negative_log_likelihood)(logits, y)
    looped = torch.stack([likelihood.loss(a, b) for a, b in zip(logits, y, strict=True)])
    torch.testing.assert_close(losses, looped)


def test_width_is_one_logit_a_class() -> None:
    assert Categorical().width(7) == 7


@pytest.mark.parametrize(
    ("outputs", "y", "message"),
    [
        (
            LOGITS,
            LABELS[:, None],
            r"`y` has shape \(4, 1\), expected \(4,\): call `y.squeeze\(1\)`",
        ),
        (LOGITS, LABELS[:3], r"`y` has shape \(3,\), expected \(4,\)"),
        (LOGITS, torch.tensor([0, 1, 3, 0]), "label 3, expected 0 to 2"),
        (LOGITS, torch.tensor([0, 1, -1, 0]), "label -1, expected 0 to 2.*ignore_index"),
        (LOGITS, LABELS.float(), r"expected integer labels.*call `y.long\(\)`"),
        (LOGITS, torch.tensor([[3.0, 2.0, 5.0]] * 4), "`y` lies in .*divide counts of votes"),
        (LOGITS, torch.full((4, 3), 0.2), "`y` sums over dimension 1.*divide counts of votes"),
        (LOGITS, torch.full((4, 3), torch.nan), "`y` has 12 NaN"),
        (LOGITS[:, :1], LABELS, "at least two classes: for two classes give two logits"),
        (LOGITS[0], LABELS, r"outputs have shape \(3,\), expected \(N, C, \*positions\)"),
        (LOGITS[:0], LABELS[:0], "empty, expected at least one example"),
    ],
)
def test_bad_targets_are_told(outputs: Tensor, y: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Categorical().loss(outputs, y)


def test_labels_beyond_the_classes_are_told_beside_ignored_ones() -> None:
    with pytest.raises(ValueError, match="label 9"):
        Categorical(ignore_index=-1).loss(LOGITS, torch.tensor([-1, 9, 0, 0]))


def test_crowd_votes_train_towards_their_shares() -> None:
    votes = torch.tensor([[7.0, 2.0, 1.0], [0.0, 5.0, 5.0]])
    shares = votes / votes.sum(1, keepdim=True)
    logits = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = Categorical().loss(logits, shares)
        loss.backward()
        return loss

    optimizer.step(step)
    np.testing.assert_allclose(logits.detach().softmax(1), shares, atol=1e-3)
