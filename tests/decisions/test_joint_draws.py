"""Joint draws of real models: batches that are chosen together, and plans."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import duda
from duda.decisions import acquire, epig, thompson

PICTURES, CHOSEN = 100, 20


def network() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


@pytest.fixture(scope="module")
def digits() -> tuple[duda.MCDropout, torch.Tensor]:
    """A model that knows fifty digits, and each of a hundred others three times."""
    x, y = duda.datasets.load("digits", seed=0).train
    torch.manual_seed(0)
    model = duda.MCDropout(network(), duda.Categorical(), samples=200)
    duda.fit(model, (x[:50], y[:50]), epochs=300, lr=0.01, seed=0)
    return model, x[300 : 300 + PICTURES].repeat(3, 1, 1, 1)


def distinct(chosen: torch.Tensor) -> int:
    return len((chosen % PICTURES).unique())


def test_a_batch_of_repeated_digits_holds_few_copies(digits) -> None:
    model, pool = digits
    joint = model.predict(pool, keep_draws=True, joint=True, seed=0, batch_size=128)
    found = distinct(acquire(joint, CHOSEN, by="batch-bald", seed=0))
    # Draws that have nothing in common between a picture and its copy take them for two pictures.
    apart = model.predict(pool, keep_draws=True, seed=0)
    with pytest.raises(ValueError, match=r"'batch-bald' needs: call .*joint=True"):
        acquire(apart, CHOSEN, by="batch-bald", seed=0)
    believed = distinct(acquire(apart.with_joint(True), CHOSEN, by="batch-bald", seed=0))
    assert found >= 14
    assert believed <= 12
    assert distinct(acquire(joint, CHOSEN, by="bald")) <= 10


def test_a_label_tells_most_of_its_own_copy(digits) -> None:
    model, pool = digits
    answer = model.predict(pool, keep_draws=True, joint=True, seed=0)
    for place in answer.epistemic[:PICTURES].topk(3).indices.tolist():
        target = model.predict(pool[[place]], keep_draws=True, joint=True, seed=0)
        gain = epig(answer, target)
        assert gain[place] == pytest.approx(float(gain[place + PICTURES]), abs=1e-6)
        assert gain[place] > gain.quantile(0.95)


def test_draws_of_other_functions_are_told(digits) -> None:
    model, pool = digits[0], digits[1][:8]
    torch.manual_seed(7)  # which counts where there is no `seed`
    first, again, other, another = (
        model.predict(pool, keep_draws=True, joint=True, seed=seed) for seed in (0, 0, 1, None)
    )
    assert torch.equal(epig(first, again[:3].to("cpu")), epig(first, first[:3]))
    assert type(first).concatenate([first, again]).joint
    for target in (other[2:], another.to("cpu")):
        with pytest.raises(ValueError, match=r"draws of different functions.*same `seed`"):
            epig(first, target)
        with pytest.raises(ValueError, match=r"`prediction` and `target` have draws of different"):
            acquire(first, 2, "epig", target=target)
        assert not type(first).concatenate([first, target]).joint


def test_members_are_the_same_functions_always() -> None:
    model = duda.DeepEnsemble(lambda: nn.Linear(2, 3), duda.Categorical(), members=4)
    one, other = (model.predict(torch.randn(5, 2), keep_draws=True) for _ in range(2))
    assert (epig(one, other) >= 0).all()
    assert type(one).concatenate([one, other]).joint


def test_a_plan_decides_copies_alike() -> None:
    model = duda.MCDropout(
        nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4)),
        duda.FixedGaussian(),
        samples=50,
    )
    x = torch.randn(30, 2).repeat(2, 1)
    answer = model.predict(x, keep_draws=True, joint=True, seed=0, batch_size=7)
    for seed in range(10):
        first, second = thompson(answer, per="batch", seed=seed).chunk(2)
        assert torch.equal(first, second)
    with pytest.raises(ValueError, match=r"per='batch' needs: call .*joint=True"):
        thompson(model.predict(x, keep_draws=True, seed=0), per="batch")
